"""Named vector transforms that look at one domain at a time, without labels.

``apply(domain, ["row_sum", "zscore"])`` transforms a domain and its test part. Statistics always come from the
domain's own (training) part, never from its test part and never from another domain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dazoo.core.errors import DazooError, UnknownName, nearest
from dazoo.data.domain import Domain

Map = Callable[[Tensor], Tensor]


def row_sum(train: Tensor) -> Map:
    """Histograms to proportions: x_ij / sum_j x_ij for non-negative rows (n, d); rows of zeros stay zero."""

    def map_rows(x: Tensor) -> Tensor:
        if bool((x < 0).any()):
            raise DazooError("the transform row_sum needs counts, but some values are negative; leave it out")
        return x / _or_one(x.sum(1, keepdim=True))

    return map_rows


def zscore(train: Tensor) -> Map:
    """(x - m) / s with the mean m (d,) and the n-1 standard deviation s (d,) of ``train``.

    Features that are constant in ``train`` become 0, in the test part too; so does everything where ``train`` has one
    row.
    """
    mean = train.mean(0)
    varies = _varies(train)
    std = train.std(0) if len(train) > 1 else torch.zeros_like(mean)
    factor = torch.where(varies, 1 / torch.where(varies, std, 1.0), 0.0)
    return lambda x: (x - mean) * factor


def unit_norm(train: Tensor) -> Map:
    """x_i / ||x_i||_2 row by row (n, d); rows of zeros stay zero."""
    return lambda x: x / _or_one(x.norm(dim=1, keepdim=True))


def log1p(train: Tensor) -> Map:
    """log(1 + x) for counts."""

    def map_values(x: Tensor) -> Tensor:
        if bool((x < 0).any()):
            raise DazooError("the transform log1p needs non-negative values; leave it out or shift the features first")
        return torch.log1p(x)

    return map_values


def scale(train: Tensor) -> Map:
    """(x - min) / (max - min) per feature of ``train``, which lands in [0, 1]; the test part is clipped to [0, 1].

    Features that are constant in ``train`` become 0.
    """
    low = train.amin(0)
    varies = _varies(train)
    factor = torch.where(varies, 1 / torch.where(varies, train.amax(0) - low, 1.0), 0.0)
    return lambda x: ((x - low) * factor).clamp(0.0, 1.0)


TRANSFORMS: dict[str, Callable[[Tensor], Map]] = {
    "row_sum": row_sum,
    "zscore": zscore,
    "unit_norm": unit_norm,
    "log1p": log1p,
    "scale": scale,
}


def apply(domain: Domain, names: Sequence[str]) -> Domain:
    """``domain`` under the named transforms, in order.

    Args:
        domain: vectors (n, d); integers become float32, floats keep their precision.
        names: keys of ``TRANSFORMS``.

    Raises:
        UnknownName: no transform of that name.
        DazooError: the domain does not hold vectors, or a transform does not suit its values.
    """
    if isinstance(names, str):
        names = [names]
    for name in names:
        if name not in TRANSFORMS:
            raise UnknownName(f"unknown transform {name!r}: {nearest(name, TRANSFORMS)}")
    if not names:
        return domain
    if domain.kind != "vector" or domain.x.ndim != 2:
        raise DazooError(
            f"domain {domain.name!r} holds {domain.kind} samples; transforms work on vectors, so take frozen features "
            "first or leave the transforms out"
        )
    x, test = _floats(domain.x), None if domain.test is None else _floats(domain.test.x)
    for name in names:
        fitted = TRANSFORMS[name](x)
        try:
            x, test = fitted(x), None if test is None else fitted(test)
        except DazooError as error:
            raise DazooError(f"domain {domain.name!r}: {error}") from None
    part = None if domain.test is None or test is None else domain.test.with_x(test)
    return domain.with_x(x, test=part)


def _floats(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.to(torch.float32)


def _or_one(x: Tensor) -> Tensor:
    return torch.where(x == 0, 1.0, x)


def _varies(train: Tensor) -> Tensor:
    """Which features (d,) differ by more than rounding within ``train``."""
    spread = train.amax(0) - train.amin(0)
    return spread > 8 * torch.finfo(train.dtype).eps * train.abs().amax(0)
