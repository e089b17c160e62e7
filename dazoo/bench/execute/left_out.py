"""The further runs of a run that is judged on sources left out of training."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from dazoo.bench.execute.clock import Stopwatch
from dazoo.bench.execute.tasks import Tasks
from dazoo.bench.plan.plan import RunSpec
from dazoo.core.errors import DazooError
from dazoo.core.setting import Setting
from dazoo.data.names import split_name
from dazoo.engine.fit import Options
from dazoo.engine.left_out import LeftOut, leave_out
from dazoo.methods.base import Method
from dazoo.validators.base import VALIDATORS


@dataclass(frozen=True)
class Inner:
    """What models without one of the sources say; ``keys`` are those of the runs that train them, by left-out source.

    ``problem`` says why there are none.
    """

    parts: list[LeftOut] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """What a run's record says of them."""
        if not self.parts:
            return {}
        told = {
            p.domain: {"key": self.keys[p.domain], "accuracy": [_accuracy(p, i) for i in range(len(p.scores))]}
            for p in self.parts
        }
        return {"left_out": told, "seconds_left_out": self.seconds}


def inner_specs(spec: RunSpec) -> dict[str, RunSpec]:
    """The runs that leave out each source of ``spec`` in turn, with all else as it is; empty where no validator of the
    run asks for them, or there is but one source."""
    if not any(VALIDATORS.get(n).needs_left_out for n in spec.protocol.validators):
        return {}
    dataset, sources, _ = split_name(spec.task)
    label = spec.task.partition("/")[0] or dataset
    found = {}
    for one in sources if len(sources) > 1 else ():
        rest = [s for s in sources if s != one]
        setting = Setting.of(spec.setting)
        setting = setting.change(n_sources=setting.n_sources if len(rest) > 1 else "one")
        found[one] = replace(spec, task=f"{label}/{'+'.join(rest)}->{one}", setting=setting.value)
    return found


def inner_of(spec: RunSpec, tasks: Tasks, method: Method, options: Options) -> Inner:
    """Train the models that leave out each source in turn."""
    specs, watch, parts = inner_specs(spec), Stopwatch(), []
    try:
        for inner in specs.values():
            parts.append(leave_out(tasks(inner), method, spec.seed, options))
    except DazooError as error:
        return Inner(problem=f"no model without one of the sources: {error}")
    return Inner(parts, {k: s.key for k, s in specs.items()}, watch.spent().wall)


def _accuracy(part: LeftOut, i: int) -> float | None:
    """Of a checkpoint; None for regression."""
    if part.labels.is_floating_point():
        return None
    return round(float((part.scores[i].argmax(1) == part.labels).double().mean()), 6)
