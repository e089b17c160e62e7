"""What is wrong or doubtful about the data of an adaptation, in sentences that name the remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dazoo.core.errors import DazooError
from dazoo.data.labels import Labels
from dazoo.data.samples import content
from dazoo.data.tables import LINES, PARQUET, is_table_file, separator_of
from dazoo.data.task import Task

SEVERAL = 20
"""Different numbers from which labels may be amounts."""
FEWEST = 5
"""Rows from which the same rows in both files are no chance."""
OWN = 0.9
"""Share of different rows in the source from which one of them in the target is no chance."""
ROWS = 500_000


def check_classes(labels: Labels, remedy: Callable[[], str] = lambda: "") -> list[str]:
    """Sentences about labels of the source.

    Args:
        remedy: makes the lines of Python that fit values instead.

    Raises:
        DazooError: they are no classes, or not enough of them.
    """
    n, names = len(labels), labels.names
    different = len(labels.present)
    if not n:
        raise DazooError("the source has no labelled row; give rows with their labels")
    whole, fractions = _as_numbers(labels)
    if fractions or (whole and different > SEVERAL and 4 * different > n):
        code = remedy()
        raise DazooError(
            f"the labels look continuous ({different} different numbers in {n} rows); adapt chooses among classifiers "
            "so far: put them into ranges, or fit values" + (f":\n\n{code}\n" if code else " with dazoo.fit")
        )
    if different < 2:
        raise DazooError(f"the source has the one class {sorted(labels.present)}; classification needs at least two")
    if 2 * different > n:
        if n < 2 * SEVERAL:
            raise DazooError(f"the source has {n} labelled rows of {different} classes; give at least two of each")
        raise DazooError(f"the labels are {different} different texts in {n} rows; is that the right column?")
    said = []
    if whole and different > SEVERAL:
        said.append(f"the labels are {different} different whole numbers, taken as classes; amounts are for dazoo.fit")
    counts = Counter(names.tolist())
    rarest = min(counts, key=lambda c: counts[c])
    if counts[rarest] < 5:
        rows = "one labelled row" if counts[rarest] == 1 else f"{counts[rarest]} labelled rows"
        said.append(f"the rarest class, {rarest!r}, has {rows}; what is said of accuracy is unsure")
    return said


def _as_numbers(labels: Labels) -> tuple[bool, bool]:
    """Whether labels are numbers, be it as text, and whether some of them have fractions."""
    if labels.values.dtype != object:
        return True, labels.fractional
    try:
        found = np.array([float(v) for v in labels.present])
    except ValueError:
        return False, False
    finite = np.isfinite(found)
    return bool(finite.all()), bool(finite.all() and (found != np.round(found)).any())


def values_code(source: str, target: str, label: str) -> str:
    """Lines of Python that fit values of the column ``label`` of two table files, or frames, instead of classes."""
    places, read = [Path(source), Path(target)], ""
    if all(map(is_table_file, places)):
        one, other = (f"pd.{_reader(p).format(repr(str(p)))}" for p in places)
        read = f"    import pandas as pd\n    source, target = {one}, {other}\n"
    return (
        f"{read}    import dazoo\n"
        f"    columns = [c for c in target.columns if c in source.columns and c != {label!r}]\n"
        f"    task = dazoo.Task.from_arrays(source[columns], source[{label!r}].astype(float), target[columns], "
        "targets='values')\n"
        "    model = dazoo.fit('source_only', task, classifier='ridge')\n"
        "    values = model.predict(target[columns]).values"
    )


def _reader(place: Path) -> str:
    name = place.name.lower()
    if name.endswith(PARQUET):
        return "read_parquet({})"
    if name.endswith(LINES):
        return "read_json({}, lines=True)"
    separator = separator_of(place)
    return "read_csv({})" if separator == "," else f"read_csv({{}}, sep={separator!r})"


def read_classes(names: Sequence[str], classes: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Class indices (k,) of the target's labels, -1 for classes that the source does not have, and sentences.

    Names that differ from one class in capitals or spaces alone mean it.

    Raises:
        DazooError: none of the labels is a class of the source.
    """
    place = {c: i for i, c in enumerate(classes)}
    spelled = Counter(map(_key, classes))
    alike = {_key(c): i for i, c in enumerate(classes) if spelled[_key(c)] == 1}
    found = np.array([place.get(n, alike.get(_key(n), -1)) for n in names], dtype=np.int64)
    renamed = sorted({(n, classes[i]) for n, i in zip(names, found.tolist()) if i >= 0 and n != classes[i]})
    said = [f"labels {n!r} of the target are read as {c!r}" for n, c in renamed[:5]]
    new = sorted({n for n, i in zip(names, found.tolist()) if i < 0})
    if not new:
        return found, said
    known = ", ".join(map(repr, classes[:5])) + (" ..." if len(classes) > 5 else "")
    if (found < 0).all():
        raise DazooError(
            f"labels of the target name classes that the source has no sample of: {new[:5]}; the source has {known}: "
            "is that the right column? (dazoo.fit with setting='open_set' is for targets with unknown classes)"
        )
    return found, [
        *said,
        f"{int((found < 0).sum())} labelled target rows are of classes that the source has no sample of "
        f"({', '.join(map(repr, new[:5]))}; it has {known}): no model here can predict them, and they count as errors",
    ]


def _key(name: str) -> str:
    return " ".join(name.casefold().split())


def check_shared(task: Task, one: str = "the source", other: str = "the target") -> list[str]:
    """Sentences about target rows that are source rows too.

    Raises:
        DazooError: both hold the same rows.
    """
    source, target = task.sources[0].x, task.target.x
    if len(source) + len(target) > ROWS:
        return []
    here, there = content(source), content(target)
    if len(there) >= FEWEST and Counter(here) == Counter(there):
        raise DazooError(f"{one} and {other} hold the same rows; the target is the data without labels")
    known = set(here)
    shared = sum(row in known for row in there)
    if not shared or len(known) < OWN * len(here):
        return []
    return [
        f"{shared} of {len(there)} target rows are rows of the source too, whose labels the models learn from: what is "
        "said of accuracy is too good for new rows"
    ]


def check_columns(frame: Any, whose: str) -> None:
    """Refuse frames without rows, and columns that share a name."""
    names = list(map(str, frame.columns))
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise DazooError(f"{whose} has several columns called {twice[0]!r}; rename them, so that each has one meaning")
    if not len(frame):
        raise DazooError(f"{whose} has no rows; give data")


def about_columns(lacking: Sequence[str], whose: str, there: Sequence[str]) -> str:
    """A sentence about columns that one side lacks, with those that are spelled nearly alike."""
    near = spelled_alike(lacking, there)
    more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
    hint = f" ({near}: spell them alike)" if near else ""
    return f"columns that {whose} lacks are left out: {', '.join(map(str, lacking[:5]))}{more}{hint}"


def spelled_alike(lacking: Sequence[str], there: Sequence[str]) -> str:
    """Which names differ from those that are there in capitals or spaces alone; empty where none do."""
    alike = {_key(t): t for t in there}
    return ", ".join([f"{n!r} is perhaps {alike[_key(n)]!r}" for n in lacking if _key(n) in alike][:5])
