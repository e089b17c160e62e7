"""Promises where the source is hidden: after its model is trained, nothing of it is read, and of a black box no number
but its answers."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from dazoo.contracts.failure import difference, require
from dazoo.contracts.toys import options_for, setting_of, toy_task
from dazoo.core.hparam import configure
from dazoo.core.memo import Domains, Memo
from dazoo.core.types import Seen
from dazoo.engine.fit import fit
from dazoo.engine.predictor import NetPredictor
from dazoo.engine.start import starting
from dazoo.methods.base import Method

HIDDEN = ("model", "black_box")


def hides_source(cls: type[Method]) -> bool:
    """Whether the method runs where the source is hidden and its samples are classes, and needs no look at it."""
    if getattr(cls, "needs_source_stats", False):
        return False
    return "classes" in cls.targets and cls.start is not None and bool(set(cls.handles.source) & set(HIDDEN))


def check_source_gone(cls: type[Method]) -> None:
    """Other source samples, once the source's model is trained, give the same model; the method sees none of them."""
    source = next(s for s in reversed(HIDDEN) if s in cls.handles.source)
    seen = toy_task(setting_of(cls).change(source=source)).seen()
    method = configure(cls, getattr(cls, "toy_hparams", {}))
    options, domains = options_for(cls), Domains()
    first = fit(method, seen, seed=0, options=options, memo=Memo(domains)).predictor
    second = fit(method, _spoiled(seen), seed=0, options=options, memo=Memo(domains)).predictor
    found = difference(first, second)
    require(
        not found,
        f"other samples of the source change the model after the source's own model is trained: {found}. A method of "
        f"source={source!r} starts from that model and may read nothing else of the source",
    )
    _, left = starting(method, seen, 0, options, Memo(domains), fit)
    kept = [name for name in ("source", "source_val", "origin") if getattr(left, name) is not None]
    require(not kept, f"the method can look at the source through {' and '.join(kept)} of what it sees")


def _spoiled(seen: Seen) -> Seen:
    """The same task with other source samples under the same names: what is kept of the source's model is found, and
    whoever looks at the samples themselves sees others."""
    assert seen.origin is not None

    def spoil(origin: Seen) -> Seen:
        assert origin.source is not None
        source = dataclasses.replace(origin.source, x=-3.0 * origin.source.x, y=origin.source.y.flip(0))
        return dataclasses.replace(origin, source=source, source_val=None, each=tuple(map(spoil, origin.each)))

    return dataclasses.replace(seen, origin=spoil(seen.origin))


def check_black_box(cls: type[Method]) -> None:
    """No tensor of the fitted model is one of the source's model: it was asked, not copied."""
    task = toy_task(setting_of(cls).change(source="black_box"))
    method, options = configure(cls, getattr(cls, "toy_hparams", {})), options_for(cls)
    memo = Memo()
    start, seen = starting(method, task.seen(), 0, options, memo, fit)
    assert start is not None and seen.teacher is not None
    model = fit(method, task.seen(), seed=0, options=options, memo=memo).predictor
    if not isinstance(model, NetPredictor) or not isinstance(start.predictor, NetPredictor):
        return
    theirs = [v for v in start.predictor.state.values() if _says_something(v)]
    copied = [k for k, v in model.state.items() if any(v.shape == o.shape and torch.equal(v, o) for o in theirs)]
    require(not copied, f"{', '.join(copied)} of the model are those of the source's, which may only be asked")


def _says_something(tensor: Tensor) -> bool:
    """Whether it is not one number throughout, as buffers are before training."""
    return tensor.numel() > 1 and bool((tensor != tensor.reshape(-1)[0]).any())
