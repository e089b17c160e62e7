"""Sentiment of tweets in four languages: negative, neutral, positive; one domain per language.

File below the data root: ``tweets/tweets.csv.gz`` with the columns ``domain``, ``split`` (train, val, test), ``label``
and ``text``; 1,839 training, 324 validation and 870 test tweets of each language, balanced. A domain has the training
tweets, and the test tweets as its official test part. Escapes such as ``\\u2019`` in the English part are decoded.
"""

from __future__ import annotations

import re
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

DOMAINS = ("english", "french", "german", "spanish")
CLASSES = ("negative", "neutral", "positive")
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def load(domain: str, root: Path | None) -> Domain:
    """The tweets of one language, in the order of the file.

    Raises:
        DazooError: the file is missing or has other columns.
    """
    place = (root or Path()) / "tweets" / "tweets.csv.gz"
    if not place.is_file():
        raise DazooError(f"the dataset tweets needs {place} (columns domain, split, label, text); put the file there")
    table = _table(place)
    mine = table[table.domain == domain]
    train, test = (_domain(domain, mine[mine.split == part]) for part in ("train", "test"))
    return Domain(domain, train.x, train.y, CLASSES, "text", test=test, schema=Schema("text", ()))


def decoded(text: str) -> str:
    """``text`` with escapes of characters decoded."""
    found = ESCAPE.sub(lambda m: chr(int(m.group(1), 16)), text)
    return found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _domain(name: str, rows: pd.DataFrame) -> Domain:
    y = torch.tensor([CLASSES.index(label) for label in rows.label])
    return Domain(name, Texts.of([decoded(t) for t in rows.text]), y, CLASSES, "text", schema=Schema("text", ()))


@lru_cache(maxsize=1)
def _table(place: Path) -> pd.DataFrame:
    import pandas as pd

    check_gzip(place)
    try:
        table = pd.read_csv(place, keep_default_na=False)
    except (OSError, ValueError, EOFError) as error:
        raise DazooError(f"{place} is damaged ({error}); copy it again") from error
    if not {"domain", "split", "label", "text"} <= set(table.columns) or not set(table.label) <= set(CLASSES):
        raise DazooError(f"{place} must have the columns domain, split, label and text; copy it again")
    return table


register_dataset(
    Dataset(
        name="tweets",
        domains=DOMAINS,
        load=load,
        description="sentiment of tweets, 3 classes, 4 languages with 1,839 training and 870 test tweets each",
        options={},
        needs_root=True,
        license="research only, never shipped; each corpus of UMSAB under its own terms",
        papers=(
            Paper(
                title="XLM-T: Multilingual Language Models in Twitter for Sentiment Analysis and Beyond",
                authors="Francesco Barbieri, Luis Espinosa Anke, Jose Camacho-Collados",
                year=2022,
                url="https://arxiv.org/abs/2104.12250",
                venue="Language Resources and Evaluation Conference",
            ),
        ),
        encoder="tfidf",
    )
)
