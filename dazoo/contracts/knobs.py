"""Promises about hyper-parameters: each of them matters, and every value of the search ranges runs."""

from __future__ import annotations

from dazoo.contracts.failure import ContractFailure, difference, require
from dazoo.contracts.toys import default_fit, fit_toy, task_for
from dazoo.core.hparam import sample, searchable, space
from dazoo.methods.base import Method


def knobs(cls: type[Method]) -> list[str]:
    """The searchable hyper-parameters."""
    return [key for key, meta in space(cls).items() if searchable(meta)]


def check_knob(cls: type[Method], knob: str) -> None:
    """Some other value of the hyper-parameter gives another model."""
    meta = space(cls)[knob]
    others = [v for v in (meta.choices or (meta.low, meta.high)) if v != meta.default]
    if isinstance(meta.default, int) and meta.choices is None:
        others = [round(v) for v in others if v is not None]
    needs = dict(getattr(cls, "knob_needs", {}).get(knob, {}))
    base = (fit_toy(cls, **needs) if needs else default_fit(cls)).predictor
    require(
        any(difference(base, fit_toy(cls, **{**needs, knob: v}).predictor) for v in others),
        f"turning {knob} from {meta.default!r} to {' or '.join(map(repr, others))} leaves the model as it is, bit for "
        "bit: nothing reads it, or what it belongs to is switched off by other defaults (declare those as "
        f"knob_needs = {{{knob!r}: {{...}}}}), or a dozen steps do not reach it (declare toy_hparams)",
    )


def check_knobs(cls: type[Method]) -> None:
    """Every searchable hyper-parameter matters."""
    idle = []
    for knob in knobs(cls):
        try:
            check_knob(cls, knob)
        except ContractFailure as failure:
            idle.append(str(failure))
    require(not idle, "; ".join(idle))


def check_sampled_settings(cls: type[Method]) -> None:
    """Five random settings from the declared ranges run."""
    task = task_for(cls)
    for seed in range(5):
        drawn = sample(cls, seed)
        try:
            fit_toy(cls, task, **drawn)
        except Exception as error:
            shown = ", ".join(f"{k}={v!r}" for k, v in drawn.items())
            raise ContractFailure(
                f"the setting {shown}, drawn from the declared ranges, ends in {type(error).__name__}: {error}. Narrow "
                "the range, or make the method bear it: tuning would draw it too"
            ) from error
