"""Product reviews as texts: title and body, positive or negative, one domain per kind of product.

File below the data root: ``reviews_text/reviews.csv.gz`` with the columns ``domain``, ``label`` and ``text``; 1,000
positive and 1,000 negative reviews of each domain.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from dazoo.core.archive import check_gzip
from dazoo.core.errors import DazooError
from dazoo.core.paper import Paper
from dazoo.data.domain import Domain
from dazoo.data.raw import Texts
from dazoo.data.registry import Dataset, register_dataset
from dazoo.data.samples import Schema

if TYPE_CHECKING:
    import pandas as pd

DOMAINS = ("books", "dvd", "electronics", "kitchen")
CLASSES = ("negative", "positive")


def load(domain: str, root: Path | None) -> Domain:
    """The reviews of one kind of product, in the order of the file.

    Raises:
        DazooError: the file is missing or has other columns.
    """
    place = (root or Path()) / "reviews_text" / "reviews.csv.gz"
    if not place.is_file():
        raise DazooError(f"the dataset reviews_text needs {place} (columns domain, label, text); put the file there")
    table = _table(place)
    rows = table[table.domain == domain]
    y = torch.tensor([CLASSES.index(label) for label in rows.label])
    return Domain(domain, Texts.of(rows.text.tolist()), y, CLASSES, "text", schema=Schema("text", ()))


@lru_cache(maxsize=1)
def _table(place: Path) -> pd.DataFrame:
    import pandas as pd

    check_gzip(place)
    try:
        table = pd.read_csv(place, keep_default_na=False)
    except (OSError, ValueError, EOFError) as error:
        raise DazooError(f"{place} is damaged ({error}); copy it again") from error
    if not {"domain", "label", "text"} <= set(table.columns) or not set(table.label) <= set(CLASSES):
        raise DazooError(f"{place} must have the columns domain, label (negative, positive) and text; copy it again")
    return table


register_dataset(
    Dataset(
        name="reviews_text",
        domains=DOMAINS,
        load=load,
        description="Amazon product reviews as texts, 2 classes, 4 kinds of product with 2,000 reviews each",
        options={},
        needs_root=True,
        license="research use; collected by Blitzer et al. 2007",
        papers=(
            Paper(
                title="Biographies, Bollywood, Boom-boxes and Blenders: Domain Adaptation for Sentiment Classification",
                authors="John Blitzer, Mark Dredze, Fernando Pereira",
                year=2007,
                url="https://aclanthology.org/P07-1056",
                venue="Annual Meeting of the Association of Computational Linguistics",
            ),
        ),
        encoder="tfidf",
    )
)
