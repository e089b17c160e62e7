"""Reading what a practitioner has: labelled samples here, unlabelled ones there, and what was understood of them.

Labels in the target never reach the task. Where some of its rows have one, these few judge candidates; where all have,
they only enter the report.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dazoo.adaptation.checks import (
    about_columns,
    check_classes,
    check_columns,
    check_shared,
    read_classes,
    spelled_alike,
    values_code,
)
from dazoo.core.errors import DazooError, UnknownName, nearest
from dazoo.data.labels import need_all, read
from dazoo.data.raw import Table, Texts
from dazoo.data.raw_input import is_table
from dazoo.data.registry import load_task
from dazoo.data.tables import is_table_file, read_table
from dazoo.data.task import Task

LEAST = 20
"""Target samples below which nothing is adapted: means, votes and interval would be those of chance."""
HOLDOUT = 0.2
"""Share of the labelled source that no candidate learns from: temperatures and expected accuracy are measured on it."""
WIDE = 100
"""Numeric columns from which a table without gaps is taken as vectors: features of a network, not columns of people."""
WORDS = 3.0


@dataclass(frozen=True)
class Given:
    """What is adapted from and to.

    Attributes:
        task: unsupervised, without any target label that could be seen.
        known: rows (k,) of the target that have a label. labels: their class indices (k,), -1 for a class that the
            source does not have.
        notes: sentences about what was understood.
        columns: of tables, those that models are fitted on, by name.
    """

    task: Task
    known: np.ndarray
    labels: np.ndarray
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def few(self) -> bool:
        """Whether the labels are those of some target rows, which judge candidates; all of them only report."""
        return 0 < len(self.known) < len(self.task.target)


def given(
    source: Any,
    target: Any,
    label: str | None = None,
    task: str | Task | None = None,
    ignore: Sequence[str] = (),
    **options: Any,
) -> Given:
    """From files, folders, frames, ``(samples, labels)`` and samples, or a task.

    Raises:
        DazooError: nothing is there, labels are missing or no classes, or source and target are swapped or the same.
    """
    if ignore and (task is not None or label is None):
        raise DazooError("ignore names columns of tables, and these are none")
    if task is not None:
        if source is not None or target is not None:
            raise DazooError("give either a task or a source and a target, not both")
        return _of_task(load_task(task, **options) if isinstance(task, str) else task)
    if source is None or target is None:
        raise DazooError("adapt needs --source (labelled) and --target (unlabelled), or --task dataset/source->target")
    if options:
        raise DazooError(f"adapt has no option {next(iter(options))!r}; options of a dataset go with a task")
    if _is_path(source) and _is_path(target):
        return _of_paths(Path(source), Path(target), label, ignore)
    if label is not None and (hasattr(source, "columns") or hasattr(target, "columns")):
        source, target = (_framed(x) if _is_path(x) else x for x in (source, target))
        if not hasattr(source, "columns") or not hasattr(target, "columns"):
            raise DazooError("source and target must both be frames or table files, with columns of the same names")
        return _of_frames(source, target, label, ignore)
    if not isinstance(source, tuple) or len(source) != 2:
        raise DazooError("the source is a file, a folder, a frame with label='its column', or a pair (samples, labels)")
    _no_column(label, "the source is a pair (samples, labels)")
    return _assembled(source[0], source[1], target, None, [])


def _no_column(label: str | None, why: str) -> None:
    """Refuse the name of a column where there are no columns."""
    if label is not None:
        raise DazooError(f"--label names a column of a table, but {why}; leave it out")


def features_of(frame: Any, names: Sequence[str], whose: str, ignored: Sequence[str] = ()) -> Any:
    """The columns of a frame that a model was fitted on, by name; those that it ignores may lack."""
    there = list(map(str, frame.columns))
    check_columns(frame, whose)
    lacking = [n for n in names if n not in there and n not in ignored]
    if lacking:
        near = spelled_alike(lacking, there)
        hint = f" ({near}: spell them alike)" if near else ""
        raise DazooError(f"{whose} lacks the columns {lacking[:5]}{hint}, which the model was fitted on; add them")
    return frame.set_axis(there, axis=1).reindex(columns=list(names))


def _framed(place: str | Path) -> Any:
    if not Path(place).is_file():
        raise DazooError(f"there is no file {place}; correct the path")
    return read_table(Path(place))


def _is_path(x: Any) -> bool:
    return isinstance(x, (str, Path))


def _of_paths(source: Path, target: Path, label: str | None, ignore: Sequence[str]) -> Given:
    for place in (source, target):
        if not place.exists():
            raise DazooError(f"there is no file or folder {place}; correct the path")
    if source.resolve() == target.resolve():
        raise DazooError(f"source and target are the same: {source}; the target is the data without labels")
    if source.is_dir() and target.is_dir():
        from dazoo.adaptation.folders import read_folders

        _no_column(label, f"{source} is a folder, and labels are the names of its class folders")
        x, y, xt, yt, notes = read_folders(source, target)
        return _assembled(x, y, xt, yt, notes)
    if source.suffix == target.suffix == ".npz":
        _no_column(label, f"{source} is an archive, and labels are its array y")
        (x, y), (xt, yt) = _archive(source), _archive(target)
        if y is None:
            raise DazooError(
                f"{source} holds no labels y{'; are source and target swapped?' if yt is not None else ''}"
            )
        return _assembled(x, y, xt, yt, [])
    for place in (source, target):
        if not is_table_file(place):
            if place.is_dir() or place.suffix == ".npz":
                what = "a folder" if place.is_dir() else "an archive"
                rest = target if place == source else source
                raise DazooError(f"{place} is {what}, but {rest} is not; give source and target in the same form")
            raise DazooError(
                f"{place} is no table; export it as .csv, .tsv, .jsonl or .parquet, or give a folder or an .npz file"
            )
    if label is None:
        raise DazooError(f"which column of {source} holds the labels? say --label COLUMN")
    return _of_frames(read_table(source), read_table(target), label, ignore, str(source), str(target))


def _archive(place: Path) -> tuple[Any, Any]:
    """The arrays x and y of an archive; y is None where there is none."""
    from dazoo.core.archive import read_given

    arrays = read_given(place)
    if "x" not in arrays:
        raise DazooError(f"{place} holds no array x (and y for the labels), but {', '.join(arrays) or 'nothing'}")
    return arrays["x"], arrays.get("y")


def _of_frames(
    source: Any, target: Any, label: str, ignore: Sequence[str], one: str = "the source", other: str = "the target"
) -> Given:
    for frame, whose in ((source, one), (target, other)):
        check_columns(frame, whose)
    source, target = (f.set_axis(list(map(str, f.columns)), axis=1) for f in (source, target))
    if label not in source.columns:
        there = label in target.columns
        swapped = f"; {other} has it: are source and target swapped?" if there else ""
        raise UnknownName(f"{one} has no column {label!r}: {nearest(label, source.columns)}{swapped}")
    column = target[label] if label in target.columns else None
    missing = int(source[label].isna().sum())
    if missing and column is not None and not bool(column.isna().any()):
        raise DazooError(
            f"{missing} rows of {one} have no label and all of {other} have one: are source and target swapped?"
        )
    notes = []
    if missing == len(source):
        raise DazooError(f"no row of {one} has a label in the column {label!r}; is that the right column?")
    if missing:
        source = source[source[label].notna()]
        notes.append(f"{missing} rows of {one} have no label and are left out")
    x, xt = source.drop(columns=label), target.drop(columns=label, errors="ignore")
    for name in ignore:
        if name not in x.columns and name not in xt.columns:
            raise UnknownName(f"there is no column {name!r} to ignore: {nearest(name, x.columns)}")
    x, xt = (f.drop(columns=list(ignore), errors="ignore") for f in (x, xt))
    alone = [n for n in x.columns if n not in xt.columns]
    if len(alone) == x.shape[1]:
        raise DazooError(f"{one} and {other} have no column in common beside the label; columns are matched by name")
    if alone:
        x = x.drop(columns=alone)
        notes.append(about_columns(alone, other, list(xt.columns)))
    if extra := [n for n in xt.columns if n not in x.columns]:
        notes.append(about_columns(extra, one, ()))
    xt = xt[list(x.columns)]

    def remedy() -> str:
        return values_code(one, other, label)

    made = _assembled(_samples(x), source[label], _samples(xt), column, notes, remedy, (one, other))
    return replace(made, columns=tuple(x.columns))


def _samples(x: Any) -> Any:
    """A frame as texts where its one column holds such, as vectors where it is wide and dense, else as a table."""
    if x.shape[1] == 1 and _is_text(x.iloc[:, 0]):
        return Texts.of(["" if v is None or v != v else str(v) for v in x.iloc[:, 0]])
    if x.shape[1] >= WIDE and not is_table(x):
        return x
    return Table(x.reset_index(drop=True))


def _is_text(column: Any) -> bool:
    """Whether the cells of a column are texts and no names of levels: several words each, hardly any twice."""
    filled = column.dropna()
    if not len(filled) or not all(isinstance(v, str) for v in filled):
        return False
    return bool(filled.str.split().str.len().mean() >= WORDS and 2 * filled.nunique() > len(filled))


def _assembled(
    x: Any,
    y: Any,
    xt: Any,
    yt: Any,
    notes: list[str],
    remedy: Callable[[], str] = lambda: "",
    whose: tuple[str, str] = ("the source", "the target"),
) -> Given:
    labels = read(y, "the labels of the source")
    need_all(labels.known, "the labels of the source")
    notes = [*notes, *check_classes(labels, remedy)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        task = Task.from_arrays(
            x, labels.names.tolist(), xt, targets="classes", name="given/source->target", source_holdout=HOLDOUT
        )
    notes += [str(w.message) for w in caught]
    notes += check_shared(task, *whose)
    found = None if yt is None else read(yt, "the labels of the target")
    rows = np.array([], dtype=np.int64) if found is None else np.flatnonzero(found.known)
    names = [] if found is None else found.names[rows].tolist()
    return _checked(task, rows, names, notes)


def _of_task(task: Task) -> Given:
    if task.regression:
        raise DazooError(f"task {task.name!r} is a regression; adapt chooses among classifiers so far, see dazoo.fit")
    if len(task.sources) > 1 or task.setting.name not in ("unsupervised", "few_labels"):
        raise DazooError(f"adapt takes one source and one target so far, not the setting {task.setting.name!r}")
    y = task.target.y
    rows = task.target.labelled.numpy()
    names = [] if y is None else [task.target.classes[int(y[r])] for r in rows]
    bare = replace(task.target, y=None, classes=(), known=None, few=None, test=None)
    return _checked(Task(task.name, task.sources, bare, source_holdout=HOLDOUT, seed=task.seed), rows, names, [])


def _checked(task: Task, rows: np.ndarray, names: list[str], notes: list[str]) -> Given:
    labels, said = read_classes(names, task.classes)
    n = len(task.target)
    if n < 2:
        raise DazooError("the target has one row; adapt needs at least two, better hundreds")
    if len(names) == n:
        said += ["every target row has a label: they play no part in any choice and only enter the report"]
    elif names:
        said += [f"{len(names)} labelled target rows judge the candidates; no candidate learns from them"]
    if n < LEAST:
        said += [f"the target has {n} rows, too few to adapt to (at least {LEAST}); the source's model is kept"]
    return Given(task, rows, labels, (*notes, *said))
