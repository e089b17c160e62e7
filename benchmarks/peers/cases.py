"""What a comparison of shallow methods consists of: pairs of samples, cases, and how a peer is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dazoo.core.setting import UNSUPERVISED, Setting
from dazoo.core.types import Seen

TARGET = -2  # skada marks target samples by negative domain numbers


@dataclass(frozen=True)
class Pair:
    """The arrays a peer gets: source (n_s, d), its labels (n_s,), target (n_t, d) to predict, and few labelled target
    samples (n_f, d) with labels (n_f,), or none of those. ``width`` is the median distance of dazoo's kernels,
    ``top`` the largest and ``mean`` the mean squared distance between source and target, given away for nothing so that
    both sides solve the same problem."""

    xs: np.ndarray
    ys: np.ndarray
    xt: np.ndarray
    fx: np.ndarray
    fy: np.ndarray
    width: float
    top: float
    mean: float


Peer = Callable[[Pair], np.ndarray]


@dataclass(frozen=True)
class Case:
    """One method on both sides.

    Attributes:
        name: of the row. method, hparams: dazoo's; hyper-parameters may depend on the pair.
        peer: fits and predicts the target's classes by the other library.
        classifier: what dazoo finishes with; the peer has the same.
        smallest: how many of the pairs, smallest first, where the peer would take many minutes on all.
        features: the kinds of features the case runs on.
        setting: which labels are visible. two: whether only the first two classes are kept.
        counted: whether both sides solve the same problem, so that the row enters the means.
    """

    name: str
    method: str
    peer: Peer
    hparams: Callable[[Pair], dict[str, Any]] = field(default=lambda pair: {})
    classifier: str = "1nn"
    smallest: int = 12
    features: tuple[str, ...] = ("SURF", "EfficientNet-Lite0")
    setting: Setting = UNSUPERVISED
    two: bool = False
    counted: bool = True


def fixed(**hparams: Any) -> Callable[[Pair], dict[str, Any]]:
    """Hyper-parameters that do not depend on the pair."""
    return lambda pair: hparams


def mean_one(model: type) -> type:
    """``model`` with sample weights scaled to mean 1, as dazoo scales them: what a penalty means depends on it."""

    class MeanOne(model):  # type: ignore[misc, valid-type]
        def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Any:
            total = None if sample_weight is None else np.sum(sample_weight)
            scaled = sample_weight if total is None or not total > 0 else sample_weight * (len(x) / total)
            return super().fit(x, y, sample_weight=scaled)

    return MeanOne


def pair_of(seen: Seen) -> Pair:
    """The arrays of a task's visible samples."""
    import torch

    from dazoo.methods.base import Context
    from dazoo.methods.reweighting._ratio import median_sigma
    from dazoo.ops.linalg.linear import distances_between

    assert seen.source is not None
    few = seen.few
    d = seen.target.x.shape[1]
    xs, xt = seen.source.x.double(), seen.target.x.double()
    cost = distances_between(xs, xt)
    return Pair(
        xs.numpy(), seen.source.y.numpy(), xt.numpy(),
        np.empty((0, d)) if few is None else few.x.double().numpy(),
        np.empty(0, dtype=np.int64) if few is None else few.y.numpy(),
        float(median_sigma(seen, Context(torch.Generator(), None))), float(cost.max()), float(cost.mean()),
    )  # fmt: skip
