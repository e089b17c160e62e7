"""Promises of methods that meet the target as a stream: nothing is known beforehand, nothing of other episodes is kept,
a method that does not adapt is the source's model, and a killed run goes on with the same bits."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dazoo.contracts.failure import difference, require
from dazoo.contracts.toys import options_for, setting_of, toy_task
from dazoo.core.hparam import configure
from dazoo.core.types import Prediction, Seen, Stream
from dazoo.engine.fit import fit
from dazoo.engine.outcome import FitResult
from dazoo.methods.base import Method, StreamMethod, StreamState


class _Killed(Exception):
    pass


def is_stream(cls: type[Method]) -> bool:
    return issubclass(cls, StreamMethod)


def stands_still(cls: type[Method]) -> bool:
    """Whether the class says with which hyper-parameters it adapts nothing."""
    return getattr(cls, "still", None) is not None


def check_later_batches(cls: type[Method]) -> None:
    """An answer does not depend on batches that come later."""
    seen = toy_task(setting_of(cls)).seen()
    whole, first = (_answers(cls, s) for s in (seen, _with(seen, _stream(seen).x[:32])))
    require(
        torch.equal(whole[:32], first),
        "the answers to the first two batches differ where others follow: answer in step, from the batch at hand and "
        "what came before, and compute nothing of the whole stream",
    )


def check_episodes(cls: type[Method]) -> None:
    """Where every batch meets the source's model, an answer does not depend on batches that came before."""
    seen = toy_task(setting_of(cls)).seen()
    x = _stream(seen).x
    whole, last = (_answers(cls, _with(seen, part, episodic=True)) for part in (x, x[32:]))
    require(
        torch.equal(whole[32:], last),
        "in episodes, the answers depend on earlier batches: keep what changes in parameters and buffers of the "
        "network or in state.memory, and draw from state.gen alone",
    )


def check_still(cls: type[Method]) -> None:
    """With the hyper-parameters ``still`` the answers are those of a network that never changes."""
    assert issubclass(cls, StreamMethod) and cls.still is not None
    seen = toy_task(setting_of(cls)).seen()
    # not configured: a rate of 0 or a strength without bound may lie outside of what a user can set
    method = cls(**cls.still)
    found = _run(method, seen).predictor.recorded
    plain = _run(_never_steps(method), seen).predictor.recorded
    assert found is not None and plain is not None
    gap = float((found.probs.double() - plain.probs.double()).abs().max())
    require(
        gap < 1e-5,
        f"with {cls.still} the probabilities differ by {gap:.2g} from those of the network before the stream under the "
        "method's normalisation: declare in still what switches adaptation off, or let answer give what step gives",
    )


def check_stream_continues(cls: type[Method]) -> None:
    """A stream killed in the middle and continued gives the answers and the model of one that was not."""
    seen, options = toy_task(setting_of(cls)).seen(), dataclasses.replace(options_for(cls), save_batches=1)
    method = _configured(cls)
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.pt"
        with contextlib.suppress(_Killed):
            fit(_dies(method, 2), seen, seed=0, options=options, state=state)
        require(state.is_file(), "the stream left no state behind from which it could go on")
        # in between, so that what a method keeps outside of its state is not that of the killed run
        whole = fit(method, seen, seed=0, options=options).predictor
        resumed = fit(method, seen, seed=0, options=options, state=state).predictor
    found = difference(whole, resumed)
    require(
        not found,
        f"a stream killed at batch 2 and continued ends elsewhere: {found}. What changes must be a parameter or buffer "
        "of a part (register it in build or setup) or lie in state.memory, not be an attribute of the method",
    )


def _configured(cls: type[Method]) -> Method:
    made: Method = configure(cls, getattr(cls, "toy_hparams", {}))
    return made


def _run(method: Method, seen: Seen) -> FitResult:
    return fit(method, seen, seed=0, options=options_for(type(method)))


def _answers(cls: type[Method], seen: Seen) -> Tensor:
    given = _run(_configured(cls), seen).predictor.recorded
    assert given is not None
    return given.scores


def _stream(seen: Seen) -> Stream:
    assert seen.stream is not None
    return seen.stream


def _with(seen: Seen, x: Tensor, **more: Any) -> Seen:
    return dataclasses.replace(seen, stream=dataclasses.replace(_stream(seen), x=x, **more))


def _changed(method: Method, step: Any) -> Method:
    """The same method with another ``step``."""
    made: Method = object.__new__(type(type(method).__name__, (type(method),), {"step": step}))
    made.__dict__.update(vars(method))
    return made


def _never_steps(method: StreamMethod) -> Method:
    def step(self: StreamMethod, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        return self.answer(net, x)

    return _changed(method, step)


def _dies(method: Method, at: int) -> Method:
    original: Any = type(method).step  # type: ignore[attr-defined]

    def step(self: StreamMethod, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        if t == at:
            raise _Killed
        out: Prediction = original(self, net, x, state, t)
        return out

    return _changed(method, step)
