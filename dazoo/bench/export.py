"""The fitted model behind a number of a leaderboard: from kept outputs where the model was kept, else fitted again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dazoo.bench.analysis.select import Cell
from dazoo.bench.execute.evidence import spec_of
from dazoo.bench.execute.runner import options_of
from dazoo.bench.execute.tasks import Tasks
from dazoo.bench.records.kept import Kept
from dazoo.bench.records.kept_files import path_of
from dazoo.bench.records.store import records
from dazoo.bench.report.model import Report, load_report
from dazoo.core import portable
from dazoo.core.errors import DazooError, nearest
from dazoo.core.hparam import configure
from dazoo.core.types import Predictor
from dazoo.engine.fit import Checkpoint, fit
from dazoo.methods.base import METHODS


@dataclass(frozen=True)
class Exported:
    """What was written; ``prepared`` says what the suite did to samples before the model saw them, if anything."""

    path: Path
    label: str
    task: str
    seed: int
    step: int
    again: bool
    prepared: str


def export_model(
    folder: str | Path,
    out: str | Path,
    *,
    method: str | None = None,
    task: str | None = None,
    seed: int | None = None,
    select_by: str | None = None,
    data_root: str | Path | None = None,
) -> Exported:
    """Write the model of the best method of a result folder, as its rule selected it, for ``dazoo.load``.

    Args:
        method: a label instead of the best one that sees no target label. task: needed where there are several.
        seed: one of the run's seeds; the first by default. select_by: a rule instead of the suite's.
        data_root: of the datasets, where the model was not kept and is fitted again.

    Raises:
        DazooError: nothing is selected there, or the run cannot be repeated.
    """
    made = load_report(folder, select_by)
    cell = _cell(made, method, task)
    seed = cell.seeds[0] if seed is None else seed
    if seed not in cell.seeds:
        raise DazooError(f"{cell.label} on {cell.task} has no seed {seed}: {', '.join(map(str, cell.seeds))}")
    point = cell.picks[cell.seeds.index(seed)]
    wanted = (cell.label, cell.task, cell.trial, seed)
    key = next(r.key for r in made.runs.runs if r.ok and (r.label, r.task, r.trial, r.seed) == wanted)
    record = [r for r in records(folder) if r["key"] == key and r["status"] == "ok"][-1]
    model = None
    if path_of(folder, key).is_file():
        with Kept(folder, key) as kept:
            model = kept.model(point)
    again = model is None
    if model is None:
        model = _fitted_again(record, point, None if data_root is None else str(data_root))
    portable.save(model, out)
    step = record["checkpoints"][point]["step"]
    return Exported(
        Path(out), cell.label, cell.task, seed, step, again, _prepared(record["spec"].get("protocol") or {})
    )


def _cell(made: Report, method: str | None, task: str | None) -> Cell:
    tasks = made.board.tasks
    if task is None and len(tasks) > 1:
        raise DazooError(f"name one of the {len(tasks)} tasks with --task: {', '.join(tasks)}")
    chosen = [t for t in tasks if task is None or task in (t, t.partition("/")[2])]
    if len(chosen) > 1:
        raise DazooError(f"{task!r} is a task of several datasets: name one of {', '.join(chosen)}")
    if not chosen:
        raise DazooError(f"no task {task!r} has a selected model: {nearest(str(task), tasks)}")
    cells = {label: c for (label, t), c in made.board.cells.items() if t == chosen[0] and len(c.values)}
    order = [r.label for r in made.board.rows if r.label in cells and (method is not None or not r.mark)]
    if method is not None and method not in cells:
        raise DazooError(f"{method!r} has no selected model on {chosen[0]}: {nearest(method, order)}")
    if not order:
        raise DazooError(f"no method that sees no target label has a selected model on {chosen[0]}; name one")
    if method is None:
        sign = 1.0 if made.board.higher_is_better else -1.0
        method = max(order, key=lambda label: sign * cells[label].mean)
    return cells[method]


def _fitted_again(record: dict[str, Any], point: int, data_root: str | None) -> Predictor:
    """The model of a checkpoint, from the same data, seed and settings; nothing is recorded."""
    spec = spec_of(record)
    found: list[Predictor] = []

    def watch(checkpoint: Checkpoint) -> None:
        found.append(checkpoint.predictor)

    method = configure(METHODS.get(spec.method), spec.hparams)
    fit(method, Tasks(data_root)(spec).seen(), seed=spec.seed, options=options_of(spec.protocol), on_checkpoint=watch)
    return found[point]


def _prepared(protocol: dict[str, Any]) -> str:
    parts = [f"encoder {protocol['encoder']['name']}"] if protocol.get("encoder") else []
    parts += [f"transform {', '.join(protocol['transform'])}"] if protocol.get("transform") else []
    if protocol.get("frozen"):
        parts.append(f"frozen features of {protocol.get('backbone')}")
    if protocol.get("represent"):
        parts.append(f"represented by {protocol['represent']['name']}")
    return ", ".join(parts)
