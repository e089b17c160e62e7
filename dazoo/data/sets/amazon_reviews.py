"""Amazon reviews: the sentiment of product reviews in four domains, as 5,000-d bags of words.

Files below the data root: ``amazon_reviews/<domain>_train.svmlight.gz`` and ``..._test.svmlight.gz`` with labels -1
and +1. Blitzer et al., ACL 2007, in the preparation of Chen et al., ICML 2012 (Ganin et al., JMLR 2016).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dazoo.core.archive import check_gzip, check_unpacked
from dazoo.core.errors import DazooError
from dazoo.core.paper import Paper
from dazoo.data.domain import Domain
from dazoo.data.registry import Dataset, register_dataset

DOMAINS = ("books", "dvd", "electronics", "kitchen")
CLASSES = ("negative", "positive")
WIDTH = 5000


def load(domain: str, root: Path) -> Domain:
    """The training part (2000, 5000) float32 of one domain, with its official test part as ``.test``.

    Raises:
        DazooError: a file is missing or damaged.
    """
    train, test = (_part(domain, root / "amazon_reviews" / f"{domain}_{p}.svmlight.gz") for p in ("train", "test"))
    return replace(train, test=test)


def _part(domain: str, path: Path) -> Domain:
    from sklearn.datasets import load_svmlight_file

    if not path.is_file():
        raise DazooError(f"amazon_reviews needs {path}; put the files there or name the data root by DAZOO_DATA")
    try:
        check_gzip(path)
        x, y = load_svmlight_file(str(path), n_features=WIDTH, dtype=np.float32)[:2]
        check_unpacked(path, 4 * WIDTH * x.shape[0], "its matrix")
    except DazooError:
        raise
    except Exception as error:
        raise DazooError(f"{path} is damaged or no svmlight file ({error}); copy it again") from error
    labels = torch.from_numpy((y > 0).astype(np.int64))
    return Domain(domain, torch.from_numpy(np.ascontiguousarray(x.toarray())), labels, CLASSES)


PAPERS = (
    Paper(
        title="Biographies, Bollywood, Boom-boxes and Blenders: Domain Adaptation for Sentiment Classification",
        authors="John Blitzer, Mark Dredze, Fernando Pereira",
        year=2007,
        url="https://aclanthology.org/P07-1056",
        venue="Annual Meeting of the Association of Computational Linguistics",
    ),
    Paper(
        title="Marginalized Denoising Autoencoders for Domain Adaptation",
        authors="Minmin Chen, Zhixiang Xu, Kilian Weinberger, Fei Sha",
        year=2012,
        url="https://arxiv.org/abs/1206.4683",
        venue="International Conference on Machine Learning",
    ),
)

register_dataset(
    Dataset(
        name="amazon_reviews",
        domains=DOMAINS,
        load=load,
        description="sentiment of product reviews: books, dvd, electronics, kitchen; 5,000-d word counts",
        options={},
        needs_root=True,
        license="research use; Blitzer et al. 2007, Chen et al. 2012",
        papers=PAPERS,
        where="get the processed 5,000-word reviews of Ganin et al.'s repository and save every domain's two parts as "
        "amazon_reviews/<domain>_train.svmlight.gz and _test.svmlight.gz below the data root",
    )
)
