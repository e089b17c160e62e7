"""Windows of a long table of one's own: a row per moment, columns for time, subject, label and channels.

Every subject is a domain. Its rows are brought into the order of ``time`` and cut, wherever time jumps by more than
``GAP`` of its usual steps, into runs; of every run windows of ``length`` rows are taken each ``step`` rows, from its
start on, and what is left at its end is no window. A window's label is that of most of its rows (``crossing:
majority``), and it has none where most rows have none. So which windows there are depends on time alone and on no
label, in the target as little as later in use. With ``crossing: drop`` windows that hold two labels, or one label and
rows without, are left out of source and target alike: a cleaner question, but an easier one than will be met.

    load_task("windows/anna->bela", path="recordings.parquet", length=200, step=100)
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dazoo.core.archive import check_unpacked
from dazoo.core.errors import DazooError, DazooWarning, UnknownName, nearest
from dazoo.data.domain import Domain
from dazoo.data.generic import POLICIES, check_choice, check_whole, class_names, coded, content_of, domain_names, locate
from dazoo.data.labels import Labels, are_classes, in_order, read
from dazoo.data.registry import Dataset, register_dataset
from dazoo.data.samples import Schema
from dazoo.data.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

CROSSING = ("majority", "drop")
GAP = 5.0  # usual steps of time between two rows that are no neighbours any more
UNEVEN = 0.5  # share of the usual step by which nine of ten steps stay away from it where a clock is even
CELL = 4  # bytes


def names(root: Path | None, path: str | None = None, subject: str = "subject", **options: Any) -> tuple[str, ...]:
    """The values of the subject column."""
    place = locate(path, root, "windows")
    return domain_names(_subjects(read_table(place), subject, place).names, place)


def check(length: int, step: int | None, crossing: str, classes: str, **options: Any) -> None:
    """Refuse sizes and choices that are none."""
    check_whole("length", length, 2, 10_000_000)
    if step is not None:
        check_whole("step", step, 1, 10_000_000)
    check_choice("crossing", crossing, CROSSING)
    check_choice("classes", classes, POLICIES)


def load(
    domain: str,
    root: Path | None,
    path: str | None = None,
    time: str | None = "time",
    subject: str = "subject",
    label: str = "label",
    channels: Sequence[str] | None = None,
    length: int = 128,
    step: int | None = None,
    crossing: str = "majority",
    classes: str = "same",
) -> Domain:
    """The windows of one subject (n, channels, length) float32, in the order of time.

    Args:
        domain: a value of the subject column.
        root: the data root, where ``path`` is looked up if it does not exist as it is.
        path: the table: CSV, TSV, JSON lines or Parquet.
        time: the column of time, numbers or dates; None where rows are in order and have no gaps.
        subject: the column that says whose rows they are.
        label: the column of classes; empty cells have none.
        channels: the columns that are measured; all others that are numbers by default.
        length, step: rows of a window, and between the starts of two; half a window by default.
        crossing: what becomes of windows with two labels: ``majority`` or ``drop``.
        classes: ``same``, ``common`` or ``union``, see ``dazoo.data.generic``.

    Raises:
        UnknownName: a column does not exist.
        DazooError: the file is missing or damaged, channels have gaps, or no window fits.
    """
    place = locate(path, root, "windows")
    table = read_table(place)
    subjects, y = _subjects(table, subject, place), _column(table, label, place)
    if not are_classes([y.distinct], "auto", f"{place}: the entries of {label!r}"):
        raise DazooError(f"{place}: {label!r} holds fractions, and windows have classes; name a column of classes")
    wanted = _channels(table, place, channels, (time, subject, label))
    cut = Cut(length, step or max(1, length // 2), crossing)
    found = {
        d: _cut(_ordered(table, np.flatnonzero(subjects.codes == i), d, time, place), y, cut)
        for i, d in enumerate(subjects.names)
    }
    runs, labels = found[domain]
    _say(domain, runs, cut, place)
    present = {d: None if not part.known.any() else part.present for d, (_, part) in found.items()}
    rows, fields = coded(labels, class_names(present, domain, classes))
    starts = runs.starts if rows is None else runs.starts[rows]
    x = _samples(table, wanted, runs.rows, starts, length, place)
    return Domain(domain, x, kind="series", schema=Schema("series", tuple(x.shape[1:])), **fields)


@dataclass(frozen=True)
class Column:
    """Entries of a column as ``codes`` (n,) into ``names``, -1 where there is none; ``distinct`` is as it was read."""

    names: tuple[str, ...]
    codes: np.ndarray
    distinct: Labels


@dataclass(frozen=True)
class Cut:
    """How windows are cut."""

    length: int
    step: int
    crossing: str


@dataclass(frozen=True)
class Runs:
    """Rows (n,) of one subject in the order of time, the ``ends`` (r,) of its runs, and what was noticed.

    ``starts`` are those of its windows, as places in ``rows``; ``dropped`` windows held two labels.
    """

    rows: np.ndarray
    ends: np.ndarray
    notes: tuple[str, ...] = ()
    starts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    dropped: int = 0

    @property
    def lengths(self) -> np.ndarray:
        """Rows (r,) of every run."""
        return np.diff(np.concatenate([[0], self.ends]))


def _ordered(table: pd.DataFrame, rows: np.ndarray, domain: str, time: str | None, place: Path) -> Runs:
    """The rows of a subject in the order of time, cut where time jumps."""
    if time is None:
        return Runs(rows, np.array([len(rows)]))
    _need(table, time, place)
    when = _times(place, place.stat().st_mtime_ns, time)[rows]
    notes = []
    if bool((np.diff(when) < 0).any()):
        notes.append("its rows are not in the order of time and were sorted")
        order = np.argsort(when, kind="stable")
        rows, when = rows[order], when[order]
    steps = np.diff(when)
    usual = float(np.median(steps)) if len(steps) else 1.0
    if usual <= 0:
        raise DazooError(
            f"{place}: most rows of {domain!r} share their time with another; give every recording a subject of its "
            "own, or say time: null where rows are in order"
        )
    if bool((steps == 0).any()):
        notes.append(f"{int((steps == 0).sum())} rows have the time of the row before and follow it")
    breaks = np.flatnonzero(steps > GAP * usual) + 1
    if len(breaks):
        notes.append(f"{len(breaks)} jumps of time by more than {GAP:g} usual steps, and no window reaches across")
    within = steps[steps <= GAP * usual]
    if len(within) and float(np.quantile(np.abs(within / usual - 1), 0.9)) > UNEVEN:
        low, high = np.quantile(within, [0.05, 0.95])
        notes.append(
            f"its steps of time are uneven ({low:g} to {high:g}), and windows count rows; resample it if that matters"
        )
    return Runs(rows, np.append(breaks, len(rows)), tuple(notes))


@lru_cache(maxsize=2)
def _times(place: Path, changed: int, time: str) -> np.ndarray:
    import pandas as pd

    column = read_table(place)[time]
    found = column if pd.api.types.is_numeric_dtype(column) else pd.to_datetime(column, errors="coerce", utc=True)
    missing = int(found.isna().sum())
    if missing:
        raise DazooError(f"{place}: {missing} rows have no time in {time!r} that can be read; correct or drop them")
    if pd.api.types.is_numeric_dtype(found):
        when = found.to_numpy(np.float64)
        if not bool(np.isfinite(when).all()):
            raise DazooError(f"{place}: times in {time!r} are infinite; correct or drop these rows")
        return when
    seconds: np.ndarray = ((found - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(np.float64)
    return seconds


def _cut(runs: Runs, y: Column, cut: Cut) -> tuple[Runs, Labels]:
    """The windows of a subject and their labels; of two labels with as many rows, the first by name."""
    grids = [np.arange(b - n, b - cut.length + 1, cut.step) for b, n in zip(runs.ends, runs.lengths)]
    starts = np.concatenate(grids).astype(np.int64)
    mine = y.codes[runs.rows]
    counts = np.zeros((len(starts), len(y.names) + 1), np.int64)  # the last column counts rows without a label
    for c in np.unique(mine):
        total = np.concatenate([[0], np.cumsum(mine == c)])
        counts[:, c] = total[starts + cut.length] - total[starts]
    kept = counts.max(1, initial=0) == cut.length if cut.crossing == "drop" else np.ones(len(starts), bool)
    chosen = counts[kept].argmax(1)
    found = np.array([*y.names, ""], dtype=object)[chosen]
    return replace(runs, starts=starts[kept], dropped=int((~kept).sum())), Labels(found, chosen < len(y.names))


def _say(domain: str, runs: Runs, cut: Cut, place: Path) -> None:
    """What happened to the rows of a subject; refuses one without any window."""
    if not len(runs.starts) and not runs.dropped:
        raise DazooError(
            f"{place}: {domain!r} has no {cut.length} rows in a row, its longest run has {runs.lengths.max()}; take a "
            "smaller length, or leave the subject out"
        )
    if not len(runs.starts):
        raise DazooError(
            f"{place}: every window of {domain!r} holds two labels; take a smaller length, or crossing: majority"
        )
    short = int((runs.lengths < cut.length).sum())
    notes = [
        *runs.notes,
        *([f"{short} of {len(runs.ends)} runs are shorter than a window and give none"] if short else []),
        *([f"{runs.dropped} windows with two labels were dropped"] if runs.dropped else []),
    ]
    if notes:
        warnings.warn(f"{place}, {domain!r}: {'; '.join(notes)}", DazooWarning, stacklevel=4)


def _samples(
    table: pd.DataFrame, channels: list[str], rows: np.ndarray, starts: np.ndarray, length: int, place: Path
) -> torch.Tensor:
    check_unpacked(
        place, CELL * len(starts) * len(channels) * length, "its windows", "take a larger step or a smaller length"
    )
    values = table[channels].to_numpy(np.float64)[rows]
    bad = [c for c, ok in zip(channels, np.isfinite(values).all(0)) if not ok]
    if bad:
        raise DazooError(f"{place}: values are missing or infinite in {bad[:5]}; impute them, or name other channels")
    windows = np.lib.stride_tricks.sliding_window_view(values.astype(np.float32), length, axis=0)
    return torch.from_numpy(np.ascontiguousarray(windows[starts]))


def _channels(
    table: pd.DataFrame, place: Path, given: Sequence[str] | None, others: tuple[str | None, ...]
) -> list[str]:
    import pandas as pd

    if given is not None:
        chosen = [given] if isinstance(given, str) else list(given)
        for name in chosen:
            _need(table, name, place)
            if not pd.api.types.is_numeric_dtype(table[name]):
                raise DazooError(f"{place}: the channel {name!r} holds words; name columns of numbers")
        return chosen
    chosen = [c for c in table.columns if c not in others and pd.api.types.is_numeric_dtype(table[c])]
    if not chosen:
        raise DazooError(f"{place} has no column of numbers beside time, subject and label; name the channels")
    return chosen


def _need(table: pd.DataFrame, column: str, place: Path) -> None:
    if column not in table.columns:
        raise UnknownName(f"{place} has no column {column!r}: {nearest(column, map(str, table.columns))}")


def _subjects(table: pd.DataFrame, column: str, place: Path) -> Column:
    found = _column(table, column, place)
    missing = int((found.codes < 0).sum())
    if missing:
        raise DazooError(f"{place}: {missing} rows have no value in the subject column {column!r}; fill them in")
    return found


def _column(table: pd.DataFrame, column: str, place: Path) -> Column:
    """A column as names, each distinct entry read once."""
    import pandas as pd

    _need(table, column, place)
    codes, distinct = pd.factorize(table[column])
    if not len(distinct):
        return Column((), codes, Labels(np.zeros(0), np.zeros(0, bool)))
    read_in = read(list(distinct), f"{place}: the entries of {column!r}")
    names = in_order(read_in.present)
    index = {"": -1, **{name: i for i, name in enumerate(names)}}
    return Column(names, np.array([*(index[name] for name in read_in.names), -1])[codes], read_in)


register_dataset(
    Dataset(
        name="windows",
        domains=names,
        load=load,
        description="windows of your own long table: time, subject (the domain), label and channels",
        options={
            "path": None,
            "time": "time",
            "subject": "subject",
            "label": "label",
            "channels": None,
            "length": 128,
            "step": None,
            "crossing": "majority",
            "classes": "same",
        },
        license="yours",
        content=content_of,
        check=check,
    )
)
