"""The runs of a result folder, from columns: numbers as arrays of many runs at once, of which a ``Run`` is a view."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dazoo.bench.analysis.runs import (
    UNREADABLE,
    Run,
    Runs,
    choices,
    engine_flags,
    idle_terms,
    run_of,
    seconds_of,
    told_error,
    unreadable,
)
from dazoo.bench.plan.beside import suite_of
from dazoo.bench.records.shape import fault
from dazoo.bench.records.sound import sound
from dazoo.bench.records.store import join_scores, later_scores, tables
from dazoo.bench.records.table import Row, Table
from dazoo.data.names import dataset_of

Later = Mapping[str, Mapping[str, list[float | None]]]
PREDICTED = ("target", "source")


def read_runs(folder: str | Path, look: Callable[[Row], None] | None = None) -> Runs:
    """Runs of a result folder: one per key, for every label only its newest variant on each of the datasets, and of
    runs that differ in nothing but hyper-parameters, as after a change of a default, only the newest.

    Args:
        look: called with every record that counts when it is read; of several with one key, the last call counts.
    """
    out = Runs()
    best: dict[str, Run] = {}
    later = later_scores(folder, out.damage)
    for table in tables(folder, out.damage):
        quick = _quick_runs(table, later)
        for i in range(len(table)):
            try:
                run = quick[i] if i in quick else _slow_run(table, i, later)
                old = best.get(run.key)
                if old is None or (run.ok, run.started) > (old.ok, old.started):
                    if look is not None:
                        look(Row(table, i))
                    best[run.key] = run
            except UNREADABLE as error:
                out.damage.places.append(f"the record of run {table.values('key')[i]} {_told(error)}")
    suite, _ = suite_of(Path(folder))
    of_suite = {k: r for k, r in best.items() if suite is None or dataset_of(r.task) in suite.labels}
    newest: dict[tuple[str, str], tuple[str, str]] = {}
    for run in of_suite.values():
        place = (run.label, dataset_of(run.task))
        newest[place] = max(newest.get(place, ("", "")), (run.started, run.variant))
    # where a default has changed, the same trial with the same seed has a run at the old and one at the new value
    kept: dict[tuple[str, str, str, int, int], Run] = {}
    for run in of_suite.values():
        cell = (run.label, run.task, run.setting, run.seed, run.trial)
        current = run.variant == newest[run.label, dataset_of(run.task)][1]
        if current and (cell not in kept or run.started > kept[cell].started):
            kept[cell] = run
    out.runs = list(kept.values())
    out.superseded = len(best) - len(out.runs)
    out.runs.sort(key=lambda r: (r.label, r.task, r.trial, r.seed))
    return out


class _Faulty(ValueError):
    """A record without the shape of one."""


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, _Faulty) else unreadable(error)


def _slow_run(table: Table, i: int, later: Later) -> Run:
    """The run of a record that is looked at alone."""
    record = table.record(i)
    if record["key"] in later and record["status"] == "ok":
        join_scores(record, later[record["key"]])
    problem = fault(record)
    if problem:
        raise _Faulty(problem)
    return run_of(record, {})


def _quick_runs(table: Table, later: Later) -> dict[int, Run]:
    """The runs of the sound records of a table, by position."""
    good = sound(table)
    if later:
        good &= np.array([key not in later for key in table.values("key")], dtype=bool)
    if not good.any():
        return {}
    codes, layouts = table.coded("points") if "points" in table.names else (np.full(len(table), -1), [])
    found: dict[int, Run] = {}
    for code in np.unique(codes[good]):
        rows = np.flatnonzero(good & (codes == code))
        found |= _block(table, rows, layouts[code] if code >= 0 else {"n": 0})
    return found


def _block(table: Table, rows: np.ndarray, layout: dict[str, Any]) -> dict[int, Run]:
    """The runs of records whose checkpoints are laid out alike."""
    n = layout["n"]
    validators = tuple(map(sys.intern, layout.get("scores", ()))) if n else ()
    metrics = tuple(map(sys.intern, layout.get("target", ()))) if n else ()
    scores = _numbers(table, "scores", rows, n, len(validators))
    target = _numbers(table, "target", rows, n, len(metrics))
    predicted = np.full((len(rows), n, len(PREDICTED)), np.nan)
    names = layout.get("predicted", ())
    told = _numbers(table, "predicted", rows, n, len(names))
    for j, name in enumerate(PREDICTED):
        if name in names:
            predicted[:, :, j] = told[:, :, names.index(name)]
    chosen, tops = choices(scores)
    idle = _idle(table, rows)
    spec = {name: table.values(f"spec:{name}") for name in ("label", "method", "family", "task", "setting")}
    marked = table.values("spec:baseline") if "spec:baseline" in table.names else [None] * len(table)
    reads = table.values("spec:reads_source") if "spec:reads_source" in table.names else [None] * len(table)
    seeds, trials = table.values("spec:seed"), table.values("spec:trial")
    keys, status, variant, started = (table.values(n) for n in ("key", "status", "field:variant", "field:started"))
    return {
        i: Run(
            key=keys[i],
            **{name: values[i] for name, values in spec.items()},
            seed=seeds[i],
            trial=trials[i],
            variant=variant[i],
            ok=status[i] == "ok" and n > 0,
            error=told_error(table.get(i, "error") or {}),
            started=started[i],
            seconds=float(table.get(i, "seconds") or 0.0),
            validators=validators,
            metrics=metrics,
            scores=scores[j],
            target=target[j],
            predicted=predicted[j],
            idle=idle[j],
            flags=engine_flags({"info": table.get(i, "info")}),
            cpu_seconds=seconds_of(table.get(i, "cpu_seconds")),
            device_seconds=seconds_of(table.get(i, "device_seconds")),
            baseline=marked[i],
            reads_source=bool(reads[i]),
            chosen=chosen[j],
            tops=tops[j],
        )
        for j, i in enumerate(rows.tolist())
    }


def _numbers(table: Table, part: str, rows: np.ndarray, n: int, width: int) -> np.ndarray:
    """The numbers (rows, n, width) of a part of checkpoints."""
    if not n * width:
        return np.empty((len(rows), n, width))
    values, starts = table.numbers(f"points_{part}")
    size = n * width
    if starts[rows[-1]] - starts[rows[0]] == size * (len(rows) - 1):  # one after the other
        found = values[starts[rows[0]] : starts[rows[0]] + size * len(rows)]
    else:
        found = values[starts[rows][:, None] + np.arange(size)]
    return found.astype(np.float64).reshape(len(rows), n, width)


def _idle(table: Table, rows: np.ndarray) -> list[tuple[str, ...]]:
    """``idle_terms`` of some records."""
    if "curves" not in table.names:
        return [idle_terms({"curves": table.get(i, "curves")}) for i in rows.tolist()]
    values, starts = table.numbers("curves_value")
    logged = np.concatenate([[0], np.cumsum((values != 0) & (values == values))])  # null counts as zero
    found = []
    for i, layout in ((i, table.values("curves")[i]) for i in rows.tolist()):
        if layout is None:
            found.append(idle_terms({"curves": table.get(i, "curves")}))
            continue
        at, idle = starts[i], []
        for name, length in layout:
            if length >= 5 and logged[at + length] == logged[at]:
                idle.append(name)
            at += length
        found.append(tuple(sorted(idle)))
    return found
