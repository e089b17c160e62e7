"""Promises of methods trained by gradients: weight 0 is source-only, no inert term, stacking and restarts are exact."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from dazoo.contracts.failure import ContractFailure, difference, require, tensor_difference
from dazoo.contracts.toys import TINY, default_fit, fit_toy, is_gradient, options_for, task_for
from dazoo.core.hparam import configure, searchable, space
from dazoo.core.setting import UNSUPERVISED
from dazoo.engine import fit as engine
from dazoo.engine.learner import Alone
from dazoo.engine.predictor import NetPredictor
from dazoo.engine.train import Loop
from dazoo.methods.base import METHODS, GradientMethod, Method, Progress

BASELINE = "source_only"


@contextlib.contextmanager
def _swapped(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def has_trade_off(cls: type[Method]) -> bool:
    """Whether the method adapts without target labels and has a weight that can be set to 0."""
    return is_gradient(cls) and UNSUPERVISED in cls.settings and "trade_off" in space(cls)


def check_weight_zero(cls: type[Method]) -> None:
    """With adaptation weights 0 the shared parts are source-only's, bit for bit; with the defaults they are not."""
    assert issubclass(cls, GradientMethod)
    task = task_for(cls)
    zero: dict[str, Any] = {k: 0.0 for k in space(cls) if k == "trade_off" or k.endswith("_weight")}
    baseline = METHODS.get(BASELINE)
    reference = _state(fit_toy(baseline, task) if task.regression else default_fit(baseline))
    shared = [k for k in reference if k.startswith(("body.", "head.")) and "num_batches" not in k]
    only = {k: reference[k] for k in shared}
    if cls.start is None and cls.neutral is not None:
        off = _state(fit_toy(cls, task, **zero, **cls.neutral))
        weights = " and ".join(f"{k} = 0" for k in zero)
        missing = [k for k in shared if k not in off]
        require(not missing, f"the model has no {', '.join(missing)}; keep the parts body and head of the network")
        found = tensor_difference(only, {k: off[k] for k in shared})
        require(
            not found,
            f"{weights} must give exactly {BASELINE}'s parameters, but {found}. A term ignores its weight, or the "
            "source half goes through the network in another way than in net.features(b.xs, b.xt), or something else "
            "trains body or head; if the algorithm never reduces to it, say neutral = None, and if other "
            "hyper-parameters must be off too, neutral = {name: value}",
        )
    on = _state(default_fit(cls))
    require(
        bool(tensor_difference(only, {k: on[k] for k in shared})),
        f"with its defaults {cls.name} gives exactly {BASELINE}'s body and head: the adaptation moves nothing. Are its "
        "terms returned by losses, and do they depend on body or head?",
    )


def check_terms(cls: type[Method]) -> None:
    """No inert term: each named loss has a non-zero gradient on a parameter that its phase updates."""
    captured: dict[tuple[str, str], float] = {}

    class Watching(Loop):
        def _gradient_step(self, phase: Any, moving: Any, batch: Any, t: Progress, *more: Any) -> Any:
            assert isinstance(self.learner, Alone)
            if t.step >= self.steps // 2:
                leaves = [self.learner.parameters[n] for n in moving]
                later = Progress(t.fraction, t.step, t.steps, max(t.ramp, 0.5))
                for term, value in self.learner.terms(phase, batch, later).items():
                    size = 0.0
                    if value.requires_grad:
                        grads = torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=True)
                        size = sum(float(g.abs().sum()) for g in grads if g is not None)
                    key = (phase.losses, term)
                    captured[key] = max(captured.get(key, 0.0), size)
            return super()._gradient_step(phase, moving, batch, t, *more)

    with _swapped(engine, "Loop", Watching):
        # e.g. a confidence threshold that a toy run of a few steps can reach
        fit_toy(cls, **getattr(cls, "term_needs", {}))
    require(bool(captured), f"{cls.name} returned no loss term in the second half of training")
    inert = [f"{term!r} of {phase}" for (phase, term), size in captured.items() if not size > 0]
    require(
        not inert,
        f"no gradient comes from {' and '.join(inert)}: the term is detached, constant, or depends only on parts that "
        "its phase does not update; if a dozen steps do not reach it, declare term_needs = {name: value}",
    )


def check_stacked(cls: type[Method]) -> None:
    """Two runs trained as one batched model equal the two trained alone."""
    assert issubclass(cls, GradientMethod)
    task = task_for(cls)
    scalars = [k for k, m in space(cls).items() if not m.structural and searchable(m)]
    settings: list[dict[str, Any]] = [{}, {k: 0.7 * getattr(configure(cls, {}), k) for k in scalars[:1]}]
    methods = [configure(cls, s) for s in settings]
    # not by Adam, whose first steps are the signs of gradients: rounding decides about those near 0
    options = options_for(cls, dataclasses.replace(TINY, optimizer="sgd", lr=1e-2))
    advice = (
        "losses may not branch on values, draw its own random numbers or call .item(); where that cannot be avoided, "
        "say stackable = False"
    )
    try:
        together = engine.fit_group(methods, task.seen(), seeds=[0, 1], options=options)
    except RuntimeError as error:
        raise ContractFailure(f"two runs cannot be trained as one batched model: {error}. {advice}") from error
    for i, method in enumerate(methods):
        alone, stacked = _state(engine.fit(method, task.seen(), seed=i, options=options)), _state(together[i])
        for key, value in alone.items():
            close = torch.isclose(stacked[key].to(value), value, rtol=1e-4, atol=1e-5)
            if not bool(close.all()):
                gap = float((stacked[key].to(torch.float64) - value.to(torch.float64)).abs().max())
                raise ContractFailure(
                    f"trained as one of two stacked runs, {key!r} differs by {gap:.2g} from the run alone. {advice}"
                )


class _Killed(Exception):
    pass


def check_continues(cls: type[Method]) -> None:
    """A run killed in the middle and continued equals one that was not: weights, banks, random state, curves."""
    task = task_for(cls)
    options = options_for(cls, save_every=0.0)
    method = configure(cls, {})
    whole = engine.fit(method, task.seen(), seed=0, options=options)
    original = Loop._save

    def save_and_die(self: Loop, path: Path) -> None:
        original(self, path)
        if self.step == 7:
            raise _Killed

    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.pt"
        with _swapped(Loop, "_save", save_and_die), contextlib.suppress(_Killed):
            engine.fit(method, task.seen(), seed=0, options=options, state=state)
        require(state.is_file(), "the run left no state behind from which it could go on")
        resumed = engine.fit(method, task.seen(), seed=0, options=options, state=state)
        found = difference(whole.predictor, resumed.predictor)
        require(
            not found,
            f"a run killed at step 7 of 12 and continued ends elsewhere: {found}. What changes during training must be "
            "a parameter or buffer of a part (register it in build or setup), not an attribute of the method",
        )
        require(whole.curves == resumed.curves, "a killed and continued run reports other loss curves")
        require(not state.exists(), "the state of a finished run is left behind")


def _state(result: engine.FitResult) -> dict[str, torch.Tensor]:
    assert isinstance(result.predictor, NetPredictor)
    return result.predictor.state
