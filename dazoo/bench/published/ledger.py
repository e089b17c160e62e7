"""The ledger: published averages beside ours, computed from records, a published table and a declaration."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dazoo.bench.analysis.read import read_runs
from dazoo.bench.analysis.runs import Run
from dazoo.bench.analysis.select import select
from dazoo.bench.plan.beside import suite_of
from dazoo.bench.plan.suite import LAST, ORACLE_RULE
from dazoo.bench.published.tables import (
    Declared,
    Published,
    Source,
    default_published,
    default_rows,
    read_declaration,
    read_published,
)
from dazoo.bench.records.store import FOLDER
from dazoo.core.errors import DazooError, nearest
from dazoo.data.names import dataset_of, split_name

RECIPE = ("optimizer", "lr", "momentum", "weight_decay", "schedule", "ramp", "steps", "batch", "bottleneck")


@dataclass(frozen=True)
class Line:
    """A declared row with its numbers; ``ours`` is None with the reason in ``verdict``.

    Where there was something to choose, ``bound`` is what choosing by target labels would give, and ``path`` the mean
    over all runs at every checkpoint. Both use target labels, and nothing is chosen by them.
    """

    declared: Declared
    published: Published
    ours: float | None
    per_pair: float | None
    verdict: str
    methods: str = ""
    hparams: str = ""
    protocol: str = ""
    chosen_by: str = ""
    bound: float | None = None
    path: tuple[float, ...] = ()

    @property
    def difference(self) -> float | None:
        return None if self.ours is None else self.ours - self.published.average


@dataclass(frozen=True)
class Results:
    """Runs of one result folder and the specification of each by key."""

    runs: Sequence[Run]
    specs: dict[str, dict[str, Any]]


def read_results(folders: Iterable[str | Path], wanted: Iterable[str]) -> dict[str, Results]:
    """The result folders of the suites ``wanted``, by suite; a folder of result folders stands for all of them.

    Raises:
        DazooError: a folder that holds no records.
    """
    found: dict[str, Results] = {}
    names = set(wanted)
    for folder in map(Path, folders):
        inner = [folder] if (folder / FOLDER).is_dir() else sorted(p.parent for p in folder.glob(f"*/{FOLDER}"))
        if not inner:
            raise DazooError(f"{folder} holds no records; run a suite first and name its result folder")
        for one in inner:
            suite, problem = suite_of(one)
            name = suite.name if suite is not None else one.resolve().name
            if problem and name in names:
                raise DazooError(f"{problem}; run the suite again to restore it")
            if name in names:
                specs: dict[str, dict[str, Any]] = {}
                runs = read_runs(one, lambda record, specs=specs: specs.__setitem__(record["key"], record["spec"]))  # type: ignore[misc]
                found[name] = Results(runs.runs, specs)
    return found


def ledger(
    declared: Sequence[Declared], published: dict[tuple[str, str, str], Published], results: dict[str, Results]
) -> list[Line]:
    """Every declared row with its numbers."""
    return [_line(row, _published(row, published), results) for row in declared]


def _published(row: Declared, table: dict[tuple[str, str, str], Published]) -> Published:
    key = (row.dataset, row.representation, row.method)
    if row.average is not None:
        return Published(row.average, {})
    if key not in table:
        known = [m for d, r, m in table if (d, r) == key[:2]]
        raise DazooError(f"the published table has no row {' '.join(key)}: {nearest(row.method, known)}")
    return table[key]


def _line(row: Declared, published: Published, results: dict[str, Results]) -> Line:
    runs, specs = _gather(row, results)
    if not runs:
        return Line(row, published, None, None, "not run")
    keys = {(r.task, r.trial, r.seed): r.key for r in runs}
    cells = {split_name(c.task)[1:]: c for c in select(runs, row.select_by, "accuracy")}
    good = {(s[0], t): c for (s, t), c in cells.items() if len(s) == 1 and len(c.values)}
    wanted = set(published.pairs) or set(good)
    chosen = [specs[keys[c.task, c.trial, s]] for p, c in sorted(good.items()) if p in wanted for s in c.seeds]
    shown: dict[str, Any] = {
        "methods": _counted([s["method"] for s in chosen]),
        "hparams": _hparams([s.get("hparams") or {} for s in chosen]),
        "protocol": _protocol([s.get("protocol") or {} for s in chosen]),
        "chosen_by": _counted([c.selected_by for p, c in good.items() if p in wanted]),
    }
    if not wanted <= set(good) or not good:
        return Line(row, published, None, None, f"incomplete: {len(wanted & set(good))} of {len(wanted)} pairs")
    values = {p: 100 * good[p].mean for p in sorted(wanted)}
    ours = float(np.mean(list(values.values())))
    gaps = [abs(values[p] - v) for p, v in published.pairs.items()]
    close = abs(ours - published.average) <= row.within + 1e-9
    return Line(
        row,
        published,
        ours,
        float(np.mean(gaps)) if gaps else None,
        verdict_of(row, close),
        **shown,
        **_hindsight(row, runs, wanted),
    )


def verdict_of(row: Declared, close: bool) -> str:
    """What a row with numbers shows."""
    if not close:
        return "not reproduced"
    return f"inferred, within {row.within:.1f}" if row.inferred else f"within {row.within:.1f}"


def _hindsight(row: Declared, runs: Sequence[Run], wanted: set[tuple[str, str]]) -> dict[str, Any]:
    """``bound`` and ``path`` of a line; nothing where there was nothing to choose."""
    if row.select_by == LAST:
        return {}
    of = [r for r in runs if r.ok and (split_name(r.task)[1], split_name(r.task)[2]) in {((s,), t) for s, t in wanted}]
    best = [c.mean for c in select(of, ORACLE_RULE, "accuracy") if len(c.values)]
    counts = {len(r.target) for r in of}
    points = np.array([r.metric("accuracy") for r in of]).mean(0) if len(counts) == 1 else np.empty(0)
    return {"bound": 100 * float(np.mean(best)), "path": tuple(100 * float(v) for v in points)}


def _gather(row: Declared, results: dict[str, Results]) -> tuple[list[Run], dict[str, dict[str, Any]]]:
    """The runs of a row under one label; every setting to choose from becomes a trial."""
    settings: dict[tuple[str, str, int], int] = {}
    found: list[Run] = []
    specs: dict[str, dict[str, Any]] = {}
    for source in row.runs:
        held = results.get(source.suite)
        for run in _on_dataset(source, row, held.runs) if held else ():
            if fnmatch.fnmatchcase(run.label, source.label):
                trial = settings.setdefault((source.suite, run.label, run.trial), len(settings))
                found.append(replace(run, label=row.method, trial=trial))
        specs |= held.specs if held else {}
    found.sort(key=lambda r: (r.task, r.trial, r.seed))
    return found, specs


def _on_dataset(source: Source, row: Declared, runs: Sequence[Run]) -> Sequence[Run]:
    """The runs on the dataset that a published row is of; pairs of others may have the same names.

    Raises:
        DazooError: the suite has several datasets, and none is called so.
    """
    names = sorted({dataset_of(r.task) for r in runs})
    wanted = source.dataset or row.dataset
    if not runs or (len(names) < 2 and not source.dataset):
        return runs
    if wanted not in names:
        raise DazooError(f"the suite {source.suite!r} has no dataset {wanted!r}: {nearest(wanted, names)}")
    return [r for r in runs if dataset_of(r.task) == wanted]


# -- words --------------------------------------------------------------------------------------------------------


def _counted(values: Sequence[str]) -> str:
    """The values, with how often each occurs where they differ."""
    counts = Counter(values)
    if len(counts) < 2:
        return next(iter(counts), "")
    return ", ".join(f"{v} ({n} of {len(values)})" for v, n in sorted(counts.items()))


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _hparams(settings: Sequence[dict[str, Any]]) -> str:
    names = dict.fromkeys(k for s in settings for k in s)
    return "; ".join(f"{k} {_counted([_text(s[k]) for s in settings if k in s])}" for k in names) or "none"


def _protocol(protocols: Sequence[dict[str, Any]]) -> str:
    return _counted([_one_protocol(p) for p in protocols])


def _one_protocol(p: dict[str, Any]) -> str:
    parts = [" then ".join(p.get("transform") or ()) or "features as they are"]
    if p.get("encoder"):
        parts.append("encoded by " + _spelled(p["encoder"]))
    if p.get("represent"):
        parts.append("represented by " + _spelled(p["represent"]))
    recipe, finish = p.get("recipe"), p.get("classifier")
    if recipe:
        parts.append("network: " + ", ".join(f"{k} {_text(recipe[k])}" for k in RECIPE if k in recipe))
    if finish:
        parts.append(_spelled(finish))
    if isinstance(p.get("source_holdout"), float) and p["source_holdout"]:
        parts.append(f"{100 * p['source_holdout']:g} % of the source held out")
    return "; ".join(parts)


def _spelled(entry: dict[str, Any]) -> str:
    return " ".join([str(entry.get("name")), *(f"{k}={_text(v)}" for k, v in entry.items() if k != "name")])


def make_ledger(
    folders: Sequence[str | Path], published: str | Path | None = None, rows: str | Path | None = None
) -> list[Line]:
    """Read everything and compare.

    Args:
        folders: result folders, or folders of such.
        published: CSV of published numbers; by default ``reference/published.csv`` beside the data root.
        rows: the declaration; by default that of ``benchmarks/``.
    """
    table = read_published(published if published is not None else default_published())
    declared = read_declaration(rows if rows is not None else default_rows())
    return ledger(declared, table, read_results(folders, {s.suite for row in declared for s in row.runs}))
