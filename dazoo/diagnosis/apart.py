"""A diagnosis where source and target have different features: each side is judged alone."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from dazoo.core.types import Labeled, Seen
from dazoo.diagnosis.advice import Advice
from dazoo.diagnosis.classes import judge, separability, skill_of
from dazoo.diagnosis.domains import DomainShift
from dazoo.diagnosis.finding import Diagnosis
from dazoo.diagnosis.transfer import scores_of
from dazoo.ops.across import gaussian_gw
from dazoo.ops.linalg.spectral import principal_components

NONE = DomainShift(*[float("nan")] * 7)
KEPT = 100


def diagnose_apart(
    name: str, seen: Seen, source: Labeled, classes: tuple[str, ...], limit: int, seed: int
) -> Diagnosis:
    """What each side shows by itself: how well classes separate on the source, how many dimensions both have."""
    began = time.perf_counter()
    rng = np.random.default_rng(seed)
    rows_s, rows_t = (torch.from_numpy(rng.permutation(len(p))[:limit]) for p in (source, seen.target))
    xs, y = _components(source.x[rows_s].to(torch.float64)), source.y[rows_s].numpy()
    xt = _components(seen.target.x[rows_t].to(torch.float64))
    judged = judge(xs.numpy(), y, xs.numpy(), seen.n_classes, rng, None)
    gap = float(gaussian_gw(xs, xt) / gaussian_gw(xs, xs[:2] * 0).clamp(min=1e-300))
    few = 0 if seen.few is None else len(seen.few)
    scores, scored_on = scores_of(xs.numpy(), y, judged.source), "the source, held-out predictions"
    return Diagnosis(
        task=name,
        setting=seen.setting.value,
        n_source=len(source),
        n_target=len(seen.target),
        dims=int(source.x.shape[1]),
        n_classes=seen.n_classes,
        class_names=classes,
        used_source=len(rows_s),
        used_target=len(rows_t),
        kind="apart",
        domains=NONE,
        sources=(),
        classes=separability(judged, y, classes),
        skill=skill_of(judged, y),
        r2=None,
        labels=None,
        scores=scores,
        scored_on=scored_on,
        advice=(_advice(few, seen.n_classes),),
        notes=(
            f"the target has {seen.target_shape[0]} features; half of its spread lies in {_half(xt)} principal "
            f"components, half of the source's in {_half(xs)}",
            f"the spectra differ by {gap:.2f} of the source's own size (Gaussian Gromov-Wasserstein distance)",
        ),
        thresholds="",
        seconds=time.perf_counter() - began,
    )


def _advice(few: int, n_classes: int) -> Advice:
    family, text = (
        ("heterogeneous",),
        "source and target have different features, and no column of one is one of the other",
    )
    if few:
        text += f"; {few} labelled target samples are there, and have to tell which class is which"
        return Advice("should help", family, ("labelled_target", "cdls", "dama", "entropic_gw"), text)
    text += (
        "; without any target label only distances within each side can be matched, which is seldom enough: label "
        f"three samples of each of the {n_classes} classes and take the setting heterogeneous_few"
    )
    return Advice("may help", family, ("coot", "entropic_gw"), text)


def _components(x: Tensor) -> Tensor:
    """The leading principal components, with a spread of 1 in all."""
    mean, variances, directions = principal_components(x, KEPT)
    return (x - mean) @ directions / variances.sum().clamp(min=1e-300).sqrt()


def _half(z: Tensor) -> int:
    """In how many components half of the spread lies."""
    shares = z.var(0).cumsum(0) / z.var(0).sum().clamp(min=1e-300)
    return int((shares < 0.5).sum()) + 1
