"""Named vector transforms without labels: of one domain by itself, or of all domains by one common map.

``apply(domain, ["row_sum", "zscore"])`` transforms a domain and its test part. Statistics come from the domain's own
(training) part, never from its test part and never from another domain. ``apply_to_task`` also knows the transforms
that look at both domains, ``zscore_source``, ``zscore_pooled`` and ``zscore_within``, with statistics of what the task
shows; of samples on disk, of ``LOOKED_AT`` of them. A fitted transform is a ``Map``, a dataclass of tensors that a
model carries along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dazoo.core.blocks import Blocks, some_of
from dazoo.core.errors import DazooError, UnknownName, nearest
from dazoo.core.portable import Portable
from dazoo.data.domain import Domain

if TYPE_CHECKING:
    from dazoo.data.task import Task


@dataclass(frozen=True)
class Map(Portable):
    """A fitted transform of rows (n, d): ``(x - shift) * factor``, or what ``name`` does to every row by itself."""

    name: str
    shift: Tensor | None = None
    factor: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if self.shift is None or self.factor is None:
            return _ROWWISE[self.name](x)
        moved = (x - self.shift.to(x.device)) * self.factor.to(x.device)
        return moved.clamp(0.0, 1.0) if self.name == "scale" else moved


# -- row by row -------------------------------------------------------------------------------------------------------


def _row_sum(x: Tensor) -> Tensor:
    if bool((x < 0).any()):
        raise DazooError("the transform row_sum needs counts, but some values are negative; leave it out")
    return x / _or_one(x.sum(1, keepdim=True))


def _unit_norm(x: Tensor) -> Tensor:
    return x / _or_one(x.norm(dim=1, keepdim=True))


def _log1p(x: Tensor) -> Tensor:
    if bool((x < 0).any()):
        raise DazooError("the transform log1p needs non-negative values; leave it out or shift the features first")
    return torch.log1p(x)


_ROWWISE: dict[str, Callable[[Tensor], Tensor]] = {"row_sum": _row_sum, "unit_norm": _unit_norm, "log1p": _log1p}


# -- of one domain ----------------------------------------------------------------------------------------------------


def row_sum(train: Tensor) -> Map:
    """Histograms to proportions: x_ij / sum_j x_ij for non-negative rows (n, d); rows of zeros stay zero."""
    return Map("row_sum")


def zscore(train: Tensor) -> Map:
    """(x - m) / s with the mean m (d,) and the n-1 standard deviation s (d,) of ``train``.

    Features that are constant in ``train`` become 0, in the test part too; so does everything where ``train`` has one
    row.
    """
    mean = train.mean(0)
    std = train.std(0) if len(train) > 1 else torch.zeros_like(mean)
    return Map("zscore", mean, _inverse(std, _varies(train)))


def unit_norm(train: Tensor) -> Map:
    """x_i / ||x_i||_2 row by row (n, d); rows of zeros stay zero."""
    return Map("unit_norm")


def log1p(train: Tensor) -> Map:
    """log(1 + x) for counts."""
    return Map("log1p")


def scale(train: Tensor) -> Map:
    """(x - min) / (max - min) per feature of ``train``, which lands in [0, 1]; the test part is clipped to [0, 1].

    Features that are constant in ``train`` become 0.
    """
    low = train.amin(0)
    return Map("scale", low, _inverse(train.amax(0) - low, _varies(train)))


# -- of both domains --------------------------------------------------------------------------------------------------


def zscore_source(source: Tensor, target: Tensor) -> Map:
    """(x - m) / s with mean and n-1 standard deviation of the source, for both domains: what differs stays visible.

    Features that are constant in the source become 0.
    """
    x = source.to(torch.float64)
    size = _size(x)
    spread = (x / size).std(0) * size if len(x) > 1 else torch.zeros_like(size)
    return Map("zscore_source", _mean(x, size), _inverse(spread, _varies(x)))


def zscore_pooled(source: Tensor, target: Tensor) -> Map:
    """(x - m) / s with mean and n-1 standard deviation of all rows of both domains.

    Features that are constant in both become 0. Where a domain lies far away, what varies within the domains shrinks.
    """
    x = torch.cat([source, target]).to(torch.float64)
    size = _size(x)
    return Map("zscore_pooled", _mean(x, size), _inverse((x / size).std(0) * size, _varies(x)))


def zscore_within(source: Tensor, target: Tensor) -> Map:
    """(x - m) / s with the source's mean m and s^2 the mean of the variances within the source and within the target.

    A change of units and nothing else. Unlike ``zscore_pooled`` it does not shrink what varies within the domains where
    the target lies far away; unlike ``zscore_source`` it stays moderate where a feature hardly varies in the source.
    Features that are constant within both domains become 0.
    """
    parts = [part.to(torch.float64) for part in (source, target) if len(part) > 1]
    shift = _mean(source.to(torch.float64), _size(source.to(torch.float64)))
    if not parts:
        return Map("zscore_within", shift, torch.zeros_like(shift))
    size = _size(torch.cat(parts))
    variance = torch.stack([(p / size).var(0) * _varies(p) for p in parts]).mean(0)
    varies = torch.stack([_varies(p) for p in parts]).any(0)
    return Map("zscore_within", shift, _inverse(variance.sqrt() * size, varies))


OF_DOMAIN: dict[str, Callable[[Tensor], Map]] = {
    "row_sum": row_sum,
    "zscore": zscore,
    "unit_norm": unit_norm,
    "log1p": log1p,
    "scale": scale,
}
OF_TASK: dict[str, Callable[[Tensor, Tensor], Map]] = {
    "zscore_source": zscore_source,
    "zscore_pooled": zscore_pooled,
    "zscore_within": zscore_within,
}
TRANSFORMS = (*OF_DOMAIN, *OF_TASK)
OWN_STATISTICS = ("zscore", "scale")
"""Those that are fitted to each domain by itself, and so to the target."""


def check_names(names: str | Sequence[str] | None) -> list[str]:
    """Names of transforms as a list.

    Raises:
        UnknownName: no transform of that name.
    """
    listed = [] if names is None else [names] if isinstance(names, str) else list(names)
    for name in listed:
        if name not in TRANSFORMS:
            raise UnknownName(f"unknown transform {name!r}: {nearest(str(name), TRANSFORMS)}")
    return listed


def leading(names: Sequence[str]) -> list[str]:
    """The transforms before the first that looks at both domains; each domain can take them by itself."""
    return list(takewhile(lambda name: name in OF_DOMAIN, names))


def looks_at_target(name: str) -> str:
    """Why a transform of ``OWN_STATISTICS`` has no place where the target is unseen."""
    return f"the transform {name!r} takes statistics of the target, which is unseen here; take 'zscore_source'"


def apply(domain: Domain, names: str | Sequence[str]) -> Domain:
    """``domain`` under the named transforms of one domain, in order.

    Args:
        domain: vectors (n, d); integers become floating point, floats keep their precision.
        names: keys of ``OF_DOMAIN``.

    Raises:
        UnknownName: no transform of that name.
        DazooError: the domain does not hold vectors, or a transform does not suit its values.
    """
    listed = check_names(names)
    joint = [name for name in listed if name in OF_TASK]
    if joint:
        raise DazooError(f"the transform {joint[0]!r} looks at both domains, so it needs a task, not one domain")
    for name in listed:
        domain, _ = _fitted(domain, name)
    return domain


@dataclass(frozen=True)
class Preprocessing(Portable):
    """Fitted transforms of a task.

    Attributes:
        names: of the transforms, in order.
        target: maps of target samples. sources: maps of the samples of every source.
    """

    names: tuple[str, ...] = ()
    target: tuple[Map, ...] = ()
    sources: tuple[tuple[Map, ...], ...] = ()

    def of_target(self, x: Tensor) -> Tensor:
        """Target samples (n, d) as a model sees them."""
        return _run(self.target, x)

    def of_source(self, x: Tensor, source: int = 0) -> Tensor:
        """Samples (n, d) of a source, counted from 0, as a model sees them."""
        return _run(self.sources[source], x) if self.sources else x


def apply_to_task(task: Task, names: str | Sequence[str] | None) -> tuple[Task, Preprocessing]:
    """``task`` under the named transforms, in order, and the fitted transforms.

    Raises:
        UnknownName: no transform of that name.
        DazooError: the samples are no vectors, or a transform does not suit their values.
    """
    listed = check_names(names)
    if listed and task.words is not None:  # which would stay where they are
        raise DazooError(f"task {task.name!r} has features of its class names; give transform=None, or drop words")
    for name in listed:
        if name in OWN_STATISTICS and task.setting.target == "unseen":
            raise DazooError(looks_at_target(name))
    done: list[list[Map]] = [[] for _ in (*task.sources, task.target)]
    for name in listed:
        domains, maps = [], []
        joint = _joint(task, name) if name in OF_TASK else None
        for domain in (*task.sources, task.target):
            moved, fitted = _fitted(domain, name, joint)
            domains.append(moved)
            maps.append(fitted)
        task = task.change(sources=tuple(domains[:-1]), target=domains[-1])
        for chain, fitted in zip(done, maps):
            chain.append(fitted)
    if not listed:
        return task, Preprocessing()
    return task, Preprocessing(tuple(listed), tuple(done[-1]), tuple(tuple(chain) for chain in done[:-1]))


def _joint(task: Task, name: str) -> Map:
    """A map of both domains, fitted to what the task shows."""
    for domain in (*task.sources, task.target):
        _need_vectors(domain)
    if task.setting.spaces == "own":
        raise DazooError(
            f"the transform {name!r} is one map of both domains, but task {task.name!r} has different features in "
            "each; take 'zscore'"
        )
    seen = task.seen()
    if seen.origin is not None:
        if name != zscore_source.__name__:
            raise DazooError(
                f"the transform {name!r} is fitted to both domains at once, but task {task.name!r} hides the source; "
                "take 'zscore' or 'zscore_source'"
            )
        seen = seen.origin
    rows = [some_of(seen.target.x), *([] if seen.few is None else [some_of(seen.few.x)])]
    target = torch.cat(rows)
    source = target if seen.source is None else some_of(seen.source.x)
    return OF_TASK[name](_floats(source), _floats(target))


def _fitted(domain: Domain, name: str, joint: Map | None = None) -> tuple[Domain, Map]:
    _need_vectors(domain)
    x = _floats(domain.x)
    fitted = OF_DOMAIN[name](some_of(x)) if joint is None else joint
    if isinstance(x, Blocks):
        test = domain.test
        return domain.with_x(
            _run([fitted], x), test=None if test is None else test.with_x(_run([fitted], test.x))
        ), fitted
    try:
        moved = fitted(x).to(x.dtype)
        test = domain.test
        part = None if test is None else test.with_x(fitted(_floats(test.x)).to(x.dtype))
    except DazooError as error:
        raise DazooError(f"domain {domain.name!r}: {error}") from None
    return domain.with_x(moved, test=part), fitted


def _need_vectors(domain: Domain) -> None:
    if domain.kind != "vector" or domain.x.ndim != 2:
        raise DazooError(
            f"domain {domain.name!r} holds {domain.kind} samples; transforms work on vectors, so take frozen features "
            "first or leave the transforms out"
        )


def _run(maps: Sequence[Map], x: Tensor) -> Tensor:
    if isinstance(x, Blocks):  # in single precision at least: half has no room for what a change of units makes
        return x.through(lambda part: _run(maps, part.float() if part.dtype == torch.float16 else part)) if maps else x
    for fitted in maps:
        x = fitted(x).to(x.dtype)
    return x


def _floats(x: Tensor) -> Tensor:
    return (
        x if x.is_floating_point() else x.to(torch.float64 if x.dtype in (torch.int32, torch.int64) else torch.float32)
    )


def _or_one(x: Tensor) -> Tensor:
    return torch.where(x == 0, 1.0, x)


def _size(x: Tensor) -> Tensor:
    """Largest absolute value per feature, by which squares are kept within range."""
    return _or_one(x.abs().amax(0))


def _mean(x: Tensor, size: Tensor) -> Tensor:
    return (x / size).mean(0) * size


def _inverse(spread: Tensor, varies: Tensor) -> Tensor:
    """1 / spread per feature, 0 where nothing varies."""
    return torch.where(varies, 1 / torch.where(varies, spread, 1.0), 0.0)


def _varies(train: Tensor) -> Tensor:
    """Which features (d,) differ by more than rounding within ``train``."""
    spread = train.amax(0) - train.amin(0)
    return spread > 8 * torch.finfo(train.dtype).eps * train.abs().amax(0)
