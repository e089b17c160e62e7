"""The twelve SURF pairs of Office-Caltech10 under the protocol of the published tables, read from the files."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.io
import torch

from dazoo.core.memo import Memo
from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import Context, create_method
from dazoo.shallow.classifiers import classifier

DOMAINS = ("caltech10", "amazon", "webcam", "dslr")
MEMOS: dict[tuple[str, str], Memo] = {}
_PAIRS: dict[tuple[str, str], tuple[Seen, torch.Tensor]] = {}


def domain(root: pathlib.Path, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Histogram rows divided by their sum, then columns z-scored with n - 1."""
    file = scipy.io.loadmat(str(root / "office_caltech10" / "surf" / f"{name}.mat"))
    x = file["fts"].astype(np.float64)
    x /= x.sum(1, keepdims=True)
    scale = x.std(0, ddof=1)
    x = (x - x.mean(0)) / np.where(scale > 0, scale, 1)
    return torch.from_numpy(x), torch.from_numpy(file["labels"].ravel().astype(np.int64) - 1)


def pairs(root: pathlib.Path) -> Iterator[tuple[tuple[str, str], Seen, torch.Tensor]]:
    """(source, target), what is seen, and the hidden labels of all twelve pairs."""
    if not _PAIRS:
        data = {name: domain(root, name) for name in DOMAINS}
        for s, t in itertools.permutations(DOMAINS, 2):
            (xs, ys), (xt, yt) = data[s], data[t]
            source = Labeled(xs, ys, torch.zeros(len(ys), dtype=torch.int64))
            _PAIRS[s, t] = Seen(source, Unlabeled(xt), None, 10, "vector", UNSUPERVISED), yt
    for key, (seen, yt) in _PAIRS.items():
        yield key, seen, yt


def average(root: pathlib.Path, method: str, head: str = "1nn", **hparams: Any) -> float:
    """Mean accuracy in per cent over the twelve pairs."""
    hits = []
    for key, seen, yt in pairs(root):
        memo = MEMOS.setdefault(key, Memo())
        ctx = Context(torch.Generator().manual_seed(0), classifier(head), memo)
        model = create_method(method, **hparams).fit(seen, ctx)
        hits.append(float((model.predict(seen.target.x).labels == yt).double().mean()))
    return 100 * float(np.mean(hits))
