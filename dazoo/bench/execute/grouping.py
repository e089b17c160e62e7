"""Runs that train together as one batched model, each with a record of its own.

Which runs do is the engine's business and changes no key. A group that fails is run again one by one, so that a single
bad member costs time and nothing else; one that does not fit into a device's memory is halved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from dazoo.bench.execute.clock import Spent, Stopwatch
from dazoo.bench.plan.plan import RunSpec
from dazoo.core import hparam
from dazoo.engine.fit import fit_group
from dazoo.methods.base import METHODS, Domains, GradientMethod, Memo

if TYPE_CHECKING:
    from dazoo.bench.execute.runner import Runner

Outcome = tuple[str, dict[str, Any]]


class Memos:
    """The memo of each data that the runs at hand see; what belongs to a domain outlives the pair it was needed for."""

    def __init__(self) -> None:
        self._task: str | None = None
        self._kept: dict[Any, Memo] = {}
        self._domains = Domains()

    def leave(self, task: str | None) -> None:
        """Forget everything that is not of ``task``; with None, everything."""
        if task is None or task != self._task:
            self._task, self._kept = task, {}

    def __call__(self, spec: RunSpec) -> Memo:
        return self._kept.setdefault(spec.data_key, Memo(self._domains))


def grouped(specs: Iterable[RunSpec], size: int) -> list[list[RunSpec]]:
    """``specs`` in groups of at most ``size`` that may train together, in the order of their first members."""
    found: list[list[RunSpec]] = []
    open_groups: dict[Any, list[RunSpec]] = {}
    for spec in specs:
        key = _kind(spec) if size > 1 else None
        group = open_groups.get(key) if key is not None else None
        if group is None or len(group) == size:
            group = []
            found.append(group)
            if key is not None:
                open_groups[key] = group
        group.append(spec)
    return found


def _kind(spec: RunSpec) -> Any:
    """What runs of one group have in common; None for a run that trains alone."""
    if spec.protocol.recipe is None or spec.method not in METHODS:
        return None
    cls = METHODS.get(spec.method)
    if not issubclass(cls, GradientMethod) or not cls.stackable or spec.protocol.represent is not None:
        return None
    if cls.after_step is not GradientMethod.after_step or cls.resting is not GradientMethod.resting:
        return None
    free = {name for name, meta in hparam.space(cls).items() if not meta.structural}
    fixed = {k: repr(v) for k, v in spec.hparams.items() if k not in free or not isinstance(v, float)}
    rates = cast(GradientMethod, hparam.configure(cls, spec.hparams)).part_lr()
    return (spec.task, spec.protocol.hash, spec.label, spec.setting, spec.code, str(fixed), str(rates))


def run_group(runner: Runner, specs: list[RunSpec], memos: Memos) -> list[Outcome]:
    """Status and record of each run."""
    if len(specs) == 1:
        return [runner.run(specs[0], memos(specs[0]))]
    try:
        return _together(runner, specs, memos)
    except (KeyboardInterrupt, SystemExit):
        raise
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        half = len(specs) // 2
        done = run_group(runner, specs[:half], memos) + run_group(runner, specs[half:], memos)
        return [_warned(o, f"out of CUDA memory as one of a group of {len(specs)}, which was halved") for o in done]
    except Exception as error:  # whichever member it was: alone, the others are as they would have been
        why = f"trained alone, since its group of {len(specs)} failed: {type(error).__name__}: {str(error)[:200]}"
        return [_warned(runner.run(s, memos(s)), why) for s in specs]


def _together(runner: Runner, specs: list[RunSpec], memos: Memos) -> list[Outcome]:
    from dazoo.bench.execute.runner import machine, opening, peak_memory, reset_peak, warm_up

    device = runner.place.device
    warm_up()
    reset_peak(device)
    opened = [opening(s, runner.place) for s in specs]
    keepers = [runner.keeper(s) for s in specs]
    name = hashlib.sha256("".join(s.key for s in specs).encode()).hexdigest()[:32]
    state = Path(runner.place.out) / "state" / f"{name}.pt"
    try:
        sittings = [runner.sit(s, [], keeper) for s, keeper in zip(specs, keepers)]
        watch = Stopwatch(device)
        results = fit_group(
            [cast(GradientMethod, s.method) for s in sittings],
            [s.seen for s in sittings],
            seeds=[s.seed for s in specs],
            options=runner.options(specs[0].protocol),
            on_checkpoint=lambda i, point: sittings[i].look(point),
            memo=[memos(s) for s in specs],
            state=state,
            notes=[s.notes for s in sittings],
        )
        looks = sum((s.looking + s.keeping for s in sittings), Spent())
        spent = (watch.spent() - looks).share(len(specs))
    except BaseException as error:
        if isinstance(error, Exception):  # not where the process is told to stop: then the group goes on from its state
            state.unlink(missing_ok=True)
            for keeper in keepers:
                keeper.discard()
        raise
    state.unlink(missing_ok=True)
    rest = {"peak_memory_mb": peak_memory(device)} | machine(device)
    return [
        ("ok", opened[i] | s.close(results[i], spent) | {"checkpoints": s.notes} | rest) for i, s in enumerate(sittings)
    ]


def _warned(outcome: Outcome, text: str) -> Outcome:
    status, body = outcome
    return status, body | {"warnings": [*body.get("warnings", []), text]}
