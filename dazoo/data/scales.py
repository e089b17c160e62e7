"""Whether the features of a task have comparable units, judged without labels.

Most methods compare features by distances, inner products or weights under one penalty and one learning rate, so a
column of scale 1e6, or one far from 0, decides everything, and where all columns are tiny or huge, so does the penalty
or the rate. Deep features, pixels and counts differ by a factor of less
than 15 on the data sets that come with dazoo, columns of raw tables by hundreds; the limit lies between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dazoo.core.blocks import some_of
from dazoo.core.types import Seen
from dazoo.data.task import Task
from dazoo.data.transform import Preprocessing, apply_to_task

LOOKED_AT = 1 << 14  # samples of a domain on disk
AUTO = "zscore_within"
ALONE = "zscore"
OF_SOURCE = "zscore_source"

RATIO = 30.0  # of the largest scale to the smallest
OFFSET = 30.0  # of the largest mean to the middle scale
SMALL = 1 / 30  # of the whole spread (rows of length 1 have about 1), below which penalties outweigh all features
LARGE = 300.0  # of the middle scale: pixels in 0..255 reach half of it
APART = 10.0  # of the distance of the domains' means to the spread within them


@dataclass(frozen=True)
class Scales:
    """What stands out in the features of a task; empty where they are comparable.

    Attributes:
        units: sentences about columns whose scales differ, whose means lie far from 0, or that are tiny or huge
            together. One common change of units mends all (``zscore_within``).
        apart: sentences about columns whose means lie far apart in source and target.
    """

    units: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every sentence."""
        return self.units + self.apart


def scales_of(seen: Seen, names: Sequence[str] = ()) -> Scales:
    """Judge the features of what a task shows; nothing is said of samples other than vectors.

    Args:
        names: of the features, for the sentences; columns are counted from 0 without them.
    """
    source = seen.source if seen.origin is None else seen.origin.source
    hidden = seen.origin is not None or not len(seen.target)  # what is fitted before the target is there
    target = source if hidden else seen.target
    if seen.kind != "vector" or seen.target.x.ndim != 2 or source is None or target is None:
        return Scales()
    if min(len(source), len(target)) < 2:
        return Scales()
    xs, xt = (some_of(part.x, LOOKED_AT).to(torch.float64) for part in (source, target))
    if seen.setting.spaces == "own":  # no column of one is a column of the other
        sides = (("source", judge(xs, xs)), ("target", judge(xt, xt)))
        return Scales(tuple(f"of the {side}, {text}" for side, found in sides for text in found.units))
    return judge(xs, xt, names)


def judge(xs: Tensor, xt: Tensor, names: Sequence[str] = ()) -> Scales:
    """Judge rows xs (n, d) and xt (m, d) in double precision.

    The scale of a column is its standard deviation within the domains, and of a column that is mostly 0 (counts, 0/1
    codes) the root mean square of its other values. A column that hardly varies beside its own mean is no small scale.
    """
    both = torch.cat([xs, xt])
    size = both.abs().amax(0)
    unit = torch.where(size > 0, size, 1.0)
    variance = ((xs / unit).var(0) + (xt / unit).var(0)) / 2
    spread = variance.sqrt() * unit
    present = (both != 0).to(torch.float64).mean(0)
    whole = ((both / unit).square().mean(0) / present.clamp(min=1e-300)).sqrt() * unit
    scale = torch.where(present >= 0.5, spread, whole)
    mean = (both / unit).mean(0).abs() * unit
    varies = spread > 1e-12 * unit
    if not bool(varies.any()):
        return Scales()
    largest, middle = scale[varies].max(), scale[varies].median()
    own = varies & ((mean <= OFFSET / 3 * spread) | (present < 0.5))
    called = [names[i] if i < len(names) else f"column {i}" for i in range(len(scale))]
    units: list[str] = []
    smaller = torch.sort(torch.where(own, scale, torch.inf))
    least = int(0.05 * int(own.sum()))  # a few dead units among many features are no other units
    if bool(own.any()) and float(largest / smaller.values[least]) > RATIO:
        big, small = int(torch.where(varies, scale, 0).argmax()), int(smaller.indices[least])
        units.append(
            f"columns differ in scale: from {float(scale[small]):.3g} ({called[small]}) to {float(scale[big]):.3g} "
            f"({called[big]})"
        )
    far = varies & (mean > OFFSET * middle) & (mean > OFFSET / 3 * spread)
    if bool(far.any()):
        worst = int(torch.where(far, mean, 0).argmax())
        units.append(
            f"columns lie far from 0: the mean of {called[worst]} is {float(mean[worst] / spread[worst]):.3g} times "
            "its spread"
        )
    whole_spread = largest * (torch.where(varies, spread, 0.0) / largest).square().sum().sqrt()
    if not units and (float(whole_spread) < SMALL or float(middle) > LARGE):
        word = "tiny" if float(middle) < 1 else "huge"
        units.append(f"all columns are {word}: they vary by {float(middle):.3g}, while penalties and rates suit 1")
    apart = [*_apart(xs / unit, xt / unit, variance.sqrt(), varies, called)]
    return Scales(tuple(units), tuple(apart))


def prepared(task: Task, transform: str | Sequence[str] | None) -> tuple[Task, Preprocessing, list[str]]:
    """A task under transforms, the fitted transforms, and what is to be said of its features.

    ``auto`` standardises vectors (``zscore_within``; ``zscore_source`` where a setting hides the source behind a model
    that exists before the target does, ``zscore`` where source and target have different features) where their units
    differ, and leaves all others as they are.

    Raises:
        DazooError: unknown transforms, or such that do not suit the samples.
    """
    if task.words is not None and transform == "auto":
        return task, Preprocessing(), []
    schema = task.sources[0].schema
    names = schema.names if schema is not None else ()
    if transform != "auto":
        done, fitted = apply_to_task(task, transform)
        return done, fitted, list(scales_of(done.seen(), names).all)
    found = scales_of(task.seen(), names)
    if not found.units:
        return task, Preprocessing(), list(found.apart)
    # the model of a hidden source exists before any target sample does
    chosen = AUTO if task.setting.source == "data" else OF_SOURCE
    chosen = ALONE if task.setting.spaces == "own" else chosen
    done, fitted = apply_to_task(task, chosen)
    said = [f"{u}; features were standardised (transform={chosen!r}, None leaves them)" for u in found.units[:1]]
    return done, fitted, [*said, *found.units[1:], *found.apart]


def _apart(xs: Tensor, xt: Tensor, spread: Tensor, varies: Tensor, called: list[str]) -> Iterator[str]:
    """What says that the same column has other units in the other domain."""
    advice = "other units, or transform='zscore' for each domain by itself?"
    gap = (xs.mean(0) - xt.mean(0)).abs()
    # a column that one of the domains hardly has, such as a word, is no matter of units
    frequent = torch.minimum((xs != 0).to(xs).mean(0), (xt != 0).to(xt).mean(0)) >= 0.5
    distant = torch.nonzero(varies & frequent & (gap > APART * spread))[:, 0].tolist()
    if distant:
        worst = max(distant, key=lambda i: float(gap[i] / spread[i]))
        yield (
            f"the means of source and target lie {float(gap[worst] / spread[worst]):.3g} standard deviations apart in "
            f"{called[worst]}{_more(distant)}; {advice}"
        )
    one, other = xs.std(0), xt.std(0)
    ratio = torch.maximum(one, other) / torch.minimum(one, other).clamp(min=1e-300)
    unlike = torch.nonzero(varies & frequent & (one > 1e-12) & (other > 1e-12) & (ratio > RATIO))[:, 0].tolist()
    if unlike:
        worst = max(unlike, key=lambda i: float(ratio[i]))
        yield (
            f"source and target differ {float(ratio[worst]):.3g} times in the spread of {called[worst]}{_more(unlike)}"
            f"; {advice}"
        )


def _more(columns: list[int]) -> str:
    return "" if len(columns) == 1 else f" and much in {len(columns) - 1} more"
