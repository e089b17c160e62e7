"""Scores of validators for runs that are finished, from their kept outputs and without training anything again.

``rescore`` appends what is missing, one line per run (or per group of runs), to a shard in ``scores/``; a run that was
stopped goes on where it was. Reading records joins these scores to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dazoo.bench.execute.evidence import evidence_of
from dazoo.bench.records.kept_files import kept_keys
from dazoo.bench.records.shape import fault
from dazoo.bench.records.store import FOLDER, SCORES, Damage, NotStored, Writer, records
from dazoo.core.errors import DazooError, UnknownName, nearest
from dazoo.validators.base import VALIDATORS, Candidate, score_all

Tick = Callable[[int], None]


@dataclass
class Unscored:
    """What lacks scores.

    Attributes:
        names: the validators. runs: records with the validators each lacks. groups: the records of each group of which
            some run lacks a score, and what is lacking.
        unkept: names of runs that lack scores and whose outputs were not kept; ``broken``: those of groups with such a
            run.
        total: runs that succeeded. damage: unusable lines.
    """

    folder: Path
    names: list[str]
    data_root: str | None = None
    runs: list[tuple[dict[str, Any], list[str]]] = field(default_factory=list)
    groups: list[tuple[list[dict[str, Any]], list[str]]] = field(default_factory=list)
    unkept: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    total: int = 0
    damage: Damage = field(default_factory=Damage)

    @property
    def size(self) -> int:
        """Number of steps that ``score`` reports."""
        return len(self.runs) + len(self.groups)


def find_unscored(
    folder: str | Path, validators: Iterable[str] = (), data_root: str | Path | None = None, again: bool = False
) -> Unscored:
    """Find out what is missing.

    Args:
        validators: names or patterns; by default all cheap ones.
        again: compute scores that are there already, too (after a validator was changed).

    Raises:
        DazooError: no records, or an unknown validator.
    """
    folder = Path(folder)
    if not (folder / FOLDER).is_dir():
        raise DazooError(f"{folder} holds no records; run a suite with --out {folder} first")
    unscored = Unscored(folder, chosen(validators), None if data_root is None else str(data_root))
    single = [n for n in unscored.names if not VALIDATORS.get(n).of_group]
    grouped = [n for n in unscored.names if VALIDATORS.get(n).of_group]
    kept = kept_keys(folder)
    found = {}
    for record in records(folder, unscored.damage):
        problem = fault(record)
        if problem:
            unscored.damage.places.append(f"the record of run {record['key']} {problem}")
        elif record["status"] == "ok" and record.get("checkpoints"):
            found[record["key"]] = _slim(record)
    unscored.total = len(found)
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for record in sorted(found.values(), key=_order):
        spec = record["spec"]
        groups.setdefault((spec["label"], spec["task"], spec["seed"], record["variant"]), []).append(record)
        missing = [n for n in single if again or n not in record["names"]]
        if missing and record["key"] in kept:
            unscored.runs.append((record, missing))
        elif missing:
            unscored.unkept.append(title(record))
    for group in groups.values() if grouped else ():
        missing = [n for n in grouped if again or any(n not in r["names"] for r in group)]
        if missing and all(r["key"] in kept for r in group):
            unscored.groups.append((group, missing))
        elif missing:
            spec = group[0]["spec"]
            unscored.broken.append(f"{spec['label']} on {spec['task']}, seed {spec['seed']}")
    return unscored


def chosen(patterns: Iterable[str]) -> list[str]:
    """Validators by name or pattern; all cheap ones where none is named."""
    wanted = list(patterns)
    if not wanted:
        return [n for n, v in VALIDATORS.items() if v.cost == "cheap"]
    names: list[str] = []
    for pattern in wanted:
        hits = VALIDATORS.names(pattern)
        if not hits:
            raise UnknownName(f"unknown validator {pattern!r}: {nearest(pattern, VALIDATORS.names())}")
        names += [h for h in hits if h not in names]
    return names


def title(record: dict[str, Any]) -> str:
    """A run in words."""
    spec = record["spec"]
    return f"{spec['label']} on {spec['task']}, trial {spec['trial']}, seed {spec['seed']}"


def _slim(record: dict[str, Any]) -> dict[str, Any]:
    """The fields that scoring needs: ten thousand whole records would be a gigabyte."""
    return {
        "key": record["key"],
        "spec": record["spec"],
        "variant": record["variant"],
        "names": frozenset(record["checkpoints"][0]["scores"]),
        "checkpoints": len(record["checkpoints"]),
    }


def _order(record: dict[str, Any]) -> tuple[Any, ...]:
    """Runs on the same data follow each other."""
    spec = record["spec"]
    return spec["task"], spec["setting"], spec["seed"], spec["label"], spec["trial"], record["key"]


def score(unscored: Unscored, tick: Tick | None = None) -> list[str]:
    """Compute and append what is missing; what went wrong, each once."""
    writer = Writer(unscored.folder, SCORES)
    problems: dict[str, None] = {}
    try:
        for record, names in unscored.runs:
            _try(partial(_score_run, unscored, record, names, writer), title(record), problems)
            if tick is not None:
                tick(1)
        for group, names in unscored.groups:
            _try(partial(_score_group, unscored, group, names, writer), title(group[0]), problems)
            if tick is not None:
                tick(1)
    finally:
        writer.close()
    return list(problems)


def rescore(folder: str | Path, validators: Iterable[str] = (), **options: Any) -> list[str]:
    """``find_unscored`` and ``score`` in one call; options as of ``find_unscored``."""
    return score(find_unscored(folder, validators, **options))


def _try(call: Callable[[], Iterable[str]], where: str, problems: dict[str, None]) -> None:
    """A run that cannot be scored (its data or its method are gone) leaves the others alone."""
    try:
        problems |= dict.fromkeys(call())
    except NotStored:
        raise
    except Exception as error:  # a method that changed since, a damaged file: whatever it is, the others go on
        told = str(error) if isinstance(error, DazooError) else f"{type(error).__name__}: {error}"
        problems[f"{where}: {told}"] = None


def _score_run(unscored: Unscored, record: dict[str, Any], names: Sequence[str], writer: Writer) -> list[str]:
    scores: dict[str, list[float | None]] = {n: [] for n in names}
    warnings: list[str] = []
    for i in range(record["checkpoints"]):
        made, problems = score_all(names, evidence_of(unscored.folder, record, i, unscored.data_root))
        for name in names:
            scores[name].append(made[name])
        warnings += problems
    writer.append(record["key"], "scores", {"scores": scores})
    return warnings


def _score_group(
    unscored: Unscored, group: Sequence[dict[str, Any]], names: Sequence[str], writer: Writer
) -> list[str]:
    """Score a group; its runs' lines are written after all is computed, so that a group is whole or missing."""
    places = [(record, i) for record in group for i in range(record["checkpoints"])]
    candidates = [
        Candidate(
            partial(evidence_of, unscored.folder, record, i, unscored.data_root),
            record["spec"]["hparams"],
            last=i == record["checkpoints"] - 1,
        )
        for record, i in places
    ]
    made = {name: VALIDATORS.get(name).of(candidates) for name in names}
    for record in group:
        mine = [k for k, (owner, _) in enumerate(places) if owner is record]
        scores = {name: [values[k] for k in mine] for name, values in made.items()}
        writer.append(record["key"], "scores", {"scores": scores})
    return []
