"""What labels mean, wherever they come from: arrays, tensors, frames, tables and archives all pass ``read``.

A class is its name. Text is a name as it is, bytes are decoded, whole numbers lose their point (``1``, ``1.0`` and
``True`` are the class ``"1"``). Missing is what numpy and pandas write for it: None, NaN, ``pd.NA``, NaT, a masked
entry, empty text, the text that these become (``"nan"``, ``"<NA>"``, ``"None"``, ``"NaT"``), and what the caller names
with ``unlabelled``. Missing is never a class and never a value: ``Domain.known`` is False there, and only a target may
have it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError, DazooWarning

TARGETS = ("auto", "classes", "values")
MANY = 20  # so many different whole-number floats, most of them once, make one doubt that they are classes
MISSING = frozenset({"", "nan", "NaN", "None", "<NA>", "NaT"})
_NUMBERS = (int, float, np.number, np.bool_, Decimal, Fraction)


@dataclass(frozen=True)
class Labels:
    """One label per sample as read, before it is known whether they are classes.

    Attributes:
        values: (n,) numbers of an integer or float type, or text as objects; rows without a label hold anything.
        known: (n,) bool, False where the label is missing.
    """

    values: np.ndarray
    known: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, rows: np.ndarray) -> Labels:
        """The labels of some samples, given by index or mask."""
        return Labels(self.values[rows], self.known[rows])

    @property
    def text(self) -> bool:
        """Whether labels are text."""
        return self.values.dtype == object and bool(self.known.any())

    @property
    def fractional(self) -> bool:
        """Whether some label is a number that is not whole, or so large that no float has a fraction there."""
        if not np.issubdtype(self.values.dtype, np.floating):
            return False
        numbers = self.values[self.known]
        return bool(((numbers != np.round(numbers)) | (np.abs(numbers) > 2.0**53)).any())

    @cached_property
    def names(self) -> np.ndarray:
        """Class names (n,) as objects; empty text where the label is missing."""
        out = np.full(len(self), "", dtype=object)
        if self.values.dtype == object:
            out[self.known] = self.values[self.known]
        elif self.known.any():
            distinct, which = np.unique(self.values[self.known], return_inverse=True)
            out[self.known] = np.array([name_of(v) for v in distinct], dtype=object)[which]
        return out

    @property
    def present(self) -> set[str]:
        """Names of the classes that occur."""
        return set(self.names[self.known])

    def coded(self, classes: tuple[str, ...]) -> Tensor | None:
        """Class indices (n,) int64 into ``classes``, -1 where missing; None where nothing is known."""
        if not self.known.any():
            return None
        index = {"": -1, **{c: i for i, c in enumerate(classes)}}
        return torch.tensor([index[name] for name in self.names], dtype=torch.int64)

    def numbers(self) -> Tensor | None:
        """Regression targets (n,) float64, NaN where missing; None where nothing is known."""
        if not self.known.any():
            return None
        out = np.full(len(self), np.nan)
        out[self.known] = self.values[self.known]
        return torch.from_numpy(out)


def read(y: Any, whose: str, unlabelled: Any = None) -> Labels:
    """Labels of any origin.

    Args:
        y: (n,) or (n, 1): a list, array, masked array, tensor, or a column of a frame.
        whose: whose labels they are, for messages, e.g. ``the labels of the source``.
        unlabelled: a value, or several in a list, tuple or set, that mean "no label" here.

    Raises:
        DazooError: several values per sample, one for all, infinite numbers, or things that are no labels.
    """
    raw, known = _column(y, whose)
    if raw.dtype.kind in "SO":
        values, found = _objects(raw, whose)
    elif raw.dtype.kind == "U":
        values = raw.astype(object)
        found = np.array([not _means_missing(v) for v in values], dtype=bool)
    elif raw.dtype.kind in "biuf":
        values = raw.astype(np.int64) if raw.dtype == bool else raw.astype(raw.dtype.newbyteorder("="))
        found = ~np.isnan(values) if raw.dtype.kind == "f" else np.ones(len(raw), dtype=bool)
    else:
        what = {"c": "complex numbers", "M": "dates", "m": "spans of time"}.get(raw.dtype.kind, str(raw.dtype))
        raise DazooError(f"{whose} are {what}; make them text, integers or floats")
    known = known & found
    if values.dtype != object and bool((bad := np.isinf(values) & known).any()):
        raise DazooError(
            f"{whose} hold infinite values in {bad.sum()} of {len(bad)} rows, first in row {bad.argmax()}; "
            "remove these samples"
        )
    return Labels(values, known & ~_among(values, known, unlabelled))


def need_all(known: np.ndarray | Tensor, whose: str) -> None:
    """Refuse labels (n,) of which some are missing, where every sample needs one.

    Raises:
        DazooError: how many are missing, where the first one is, and what to do.
    """
    rows = np.flatnonzero(~np.asarray(known))
    if len(rows):
        raise DazooError(
            f"{whose}: {len(rows)} of {len(known)} labels are missing values (the targets hold NaN, None or the like, "
            f"first in row {rows[0]}); label or remove these samples, only a target may be labelled in part"
        )


def are_classes(parts: Iterable[Labels], targets: str, whose: str) -> bool:
    """Whether labels are classes: text, whole numbers and truth values are, fractions are regression targets.

    Args:
        parts: all labels that belong together; one fraction among them makes all of them values.
        targets: ``auto``, or ``classes`` or ``values`` to decide by hand.
        whose: whose labels they are, for messages.

    Raises:
        DazooError: some labels are fractions and others text, or ``values`` is asked for and they are no numbers.
    """
    if targets not in TARGETS:
        raise DazooError(f"the option targets must be one of {', '.join(TARGETS)}, not {targets!r}")
    parts = list(parts)
    text = any(p.text for p in parts)
    if targets == "values" and text:
        raise DazooError(f"{whose} are no numbers, so they cannot be regression targets; use targets: classes")
    if targets == "auto" and any(p.fractional for p in parts):
        if text:
            raise DazooError(
                f"{whose} are text in one part and fractions in another; use one kind, or targets: classes"
            )
        return False
    if targets == "auto":
        _doubt(parts, whose)
    return targets != "values"


def _doubt(parts: list[Labels], whose: str) -> None:
    """Warn where whole-number floats are nearly as many classes as samples: counts and prices look like that."""
    found = [p.values[p.known] for p in parts if p.values.dtype != object]
    if not found or not any(np.issubdtype(v.dtype, np.floating) for v in found):
        return
    numbers = np.concatenate(found)
    classes = len(np.unique(numbers))
    if classes > MANY and 2 * classes > len(numbers):
        warnings.warn(
            f"{whose} are {classes} different whole numbers in {len(numbers)} samples and are taken as classes; say "
            "targets='values' if they are regression targets, or 'classes' if not",
            DazooWarning,
            stacklevel=4,
        )


def with_few(few: Any, yt: Labels | None, n: int, unlabelled: Any = None) -> tuple[Tensor, Labels]:
    """The rows (k,) of a target that its owner labelled, ascending, and all labels (n,) known of it.

    Args:
        few: ``(rows, labels)``: indices or a mask (n,), and the labels of these rows (or of all, beside a mask).
        yt: other labels of the target, for evaluation.
        n: number of target samples.

    Raises:
        DazooError: rows that are not there, named twice or without a label, or labels that contradict ``yt``.
    """
    if not isinstance(few, (list, tuple)) or len(few) != 2:
        raise DazooError("few must be a pair (rows, labels): which target samples are labelled, and their labels")
    rows, mask = few_rows(few[0], n)
    labels = read(few[1], "the labels in few", unlabelled)
    if mask and len(labels) == n:
        labels = labels.rows(rows)
    if len(labels) != len(rows):
        raise DazooError(f"few names {len(rows)} target samples but {len(labels)} labels; give one label for each row")
    need_all(labels.known, "few")
    if yt is not None and len(yt) != n:
        raise DazooError(f"target has {n} samples but {len(yt)} labels")
    order = np.argsort(rows)
    rows, labels = rows[order], labels.rows(order)
    known = np.zeros(n, dtype=bool) if yt is None else yt.known.copy()
    if yt is not None:
        unlike = known[rows] & (yt.names[rows] != labels.names)
        if unlike.any():
            at = rows[unlike][0]
            raise DazooError(
                f"few and yt give {unlike.sum()} target samples different labels, first row {at}: "
                f"{labels.names[unlike][0]!r} and {yt.names[at]!r}; correct one of them"
            )
    text = labels.text or (yt is not None and yt.text)
    values = np.zeros(n, dtype=object if text else np.result_type(labels.values, *([] if yt is None else [yt.values])))
    if yt is not None:
        values[known] = (yt.names if text else yt.values)[known]
    values[rows] = labels.names if text else labels.values
    known[rows] = True
    return torch.from_numpy(rows), Labels(values, known)


def few_rows(rows: Any, n: int) -> tuple[np.ndarray, bool]:
    """Indices (k,) of the rows named, and whether a mask named them."""
    try:
        found: np.ndarray = np.asarray(rows.detach().cpu() if isinstance(rows, Tensor) else rows)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DazooError(f"the rows in few are no array of row numbers and no mask ({error})") from error
    if found.dtype == bool:
        if found.shape != (n,):
            raise DazooError(f"the mask in few has the shape {found.shape}, but the target has {n} samples")
        found, mask = np.flatnonzero(found), True
    else:
        mask = False
    if found.ndim != 1 or not len(found):
        raise DazooError("few names no target sample; give row numbers (k,) or a mask, or leave few out")
    if found.dtype.kind not in "iu":
        raise DazooError(f"the rows in few must be whole numbers or a mask, not {found.dtype}")
    found = found.astype(np.int64)
    if found.min() < 0 or found.max() >= n:
        raise DazooError(
            f"few names rows from {found.min()} to {found.max()}, but the target has the rows 0 to {n - 1}"
        )
    if len(np.unique(found)) < len(found):
        raise DazooError("few names a target sample twice; name each once")
    return found, mask


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of classes without repetition: numbers in numerical order, then text in alphabetical order."""
    return tuple(sorted(set(names), key=_order))


def name_of(value: Any) -> str:
    """The class name of a label: whole numbers lose their point, truth values become 0 and 1."""
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    whole = isinstance(value, _NUMBERS) and not isinstance(value, (int, np.integer)) and isfinite(value)
    if whole and value == int(value):
        return str(int(value))
    return str(value)


def _column(y: Any, whose: str) -> tuple[np.ndarray, np.ndarray]:
    """``y`` as an array (n,) of any type, and which of its entries are not masked."""
    advice = "give one label per sample"
    if y is None or isinstance(y, (str, bytes, dict, set, frozenset)):
        raise DazooError(
            f"{whose} are a single {type(y).__name__}, not one value per sample; {advice} in a list or array"
        )
    if isinstance(y, Tensor):
        if y.is_meta:
            raise DazooError(f"{whose} are a tensor without values (device 'meta'); give one that holds them")
        y = y.detach().cpu()
        y = y.to_dense() if y.layout is not torch.strided else y
        y = (y.float() if y.dtype is torch.bfloat16 else y).numpy()
    raw: np.ndarray
    if isinstance(y, (list, tuple, range)):  # numpy would turn ["a", None] and [1, "a"] into text
        raw = np.empty(len(y), dtype=object)
        for i, item in enumerate(y):
            raw[i] = _single(item, i, whose)
        return raw, np.ones(len(raw), dtype=bool)
    if isinstance(y, Iterator):
        raise DazooError(f"{whose} are a {type(y).__name__}, which gives its values once; make a list of it: list(...)")
    masked = np.ma.getmaskarray(y) if isinstance(y, np.ma.MaskedArray) else None
    try:
        raw = np.asarray(y)
    except (TypeError, ValueError) as error:
        raise DazooError(f"{whose} are a {type(y).__name__} and no array ({error}); {advice}") from error
    if raw.ndim == 0:
        raise DazooError(
            f"{whose} are a single {type(y).__name__}, not one value per sample; {advice} in a list or array"
        )
    if raw.ndim == 2 and raw.shape[1] == 1:
        raw, masked = raw[:, 0], None if masked is None else masked[:, 0]
    if raw.ndim != 1:
        raise DazooError(f"{whose} must be one value per sample, not an array of shape {raw.shape}; {_hint(raw)}")
    return raw, np.ones(len(raw), dtype=bool) if masked is None else ~masked


def _hint(raw: np.ndarray) -> str:
    if raw.ndim == 2 and raw.dtype.kind in "biuf":
        return "of one-hot rows or probabilities take the argmax of each row; of several targets take one"
    return "flatten them"


def _single(item: Any, i: int, whose: str) -> Any:
    """The label in a list's ``i``-th entry, which may be a scalar tensor or a list of one."""
    while isinstance(item, (list, tuple, np.ndarray, Tensor)):
        if isinstance(item, Tensor) and item.is_meta:
            raise DazooError(f"{whose} hold a tensor without values (device 'meta') in entry {i}; give one with values")
        if isinstance(item, (np.ndarray, Tensor)) and item.ndim == 0:
            return item.item()
        if len(item) != 1:
            raise DazooError(
                f"{whose} must be one value per sample, but entry {i} is a {type(item).__name__} of {len(item)}; of "
                "one-hot rows or probabilities take the argmax of each row"
            )
        item = item[0]
    return item


def _objects(raw: np.ndarray, whose: str) -> tuple[np.ndarray, np.ndarray]:
    """Objects and bytes as numbers or text, and which of them are labels."""
    known = np.array([not _means_missing(v) for v in raw], dtype=bool)
    items = [_decoded(v, i, whose) if known[i] else None for i, v in enumerate(raw)]
    known &= np.array([v is None or not _means_missing(v) for v in items], dtype=bool)
    odd = next((i for i, v in enumerate(items) if known[i] and not isinstance(v, (str, bool, *_NUMBERS))), None)
    if odd is not None:
        raise DazooError(
            f"{whose} hold a {type(raw[odd]).__name__} in row {odd}; labels are text, integers, truth values or floats"
        )
    if any(isinstance(v, str) for v, k in zip(items, known) if k):
        return np.array([str(v) if isinstance(v, str) else name_of(v or 0) for v in items], dtype=object), known
    fractions = any(not isinstance(v, (int, bool, np.integer, np.bool_)) for v, k in zip(items, known) if k)
    try:
        numbers = np.array([0 if not k else float(v) if fractions else int(v) for v, k in zip(items, known)])  # type: ignore[arg-type]
    except OverflowError as error:
        raise DazooError(f"{whose} hold a number beyond all floats ({error}); rescale them") from error
    if not fractions and numbers.dtype.kind not in "iu":  # integers that no type of 64 bits holds are names at most
        return np.array([name_of(v) if k else "" for v, k in zip(items, known)], dtype=object), known
    return numbers, known


def _decoded(value: Any, i: int, whose: str) -> Any:
    if not isinstance(value, (bytes, bytearray, np.bytes_)):
        return value
    try:
        return bytes(value).decode()
    except UnicodeDecodeError as error:
        raise DazooError(
            f"{whose} hold bytes in row {i} that are no UTF-8 text: {value!r}; decode them first"
        ) from error


def _means_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):  # of pandas, which need not be loaded
        return True
    if isinstance(value, str):
        return value.strip() in MISSING
    return isinstance(value, (float, np.floating, np.datetime64, Decimal)) and bool(value != value)


def _among(values: np.ndarray, known: np.ndarray, unlabelled: Any) -> np.ndarray:
    """Which labels (n,) are among the values that mean "no label"."""
    unlabelled = unlabelled.tolist() if isinstance(unlabelled, (np.ndarray, np.generic, Tensor)) else unlabelled
    several = isinstance(unlabelled, (list, tuple, set, frozenset))
    tokens = {name_of(v) for v in (unlabelled if several else [unlabelled]) if not _means_missing(v)}
    if not tokens:
        return np.zeros(len(values), dtype=bool)
    if values.dtype == object:
        return known & np.array([v in tokens for v in values], dtype=bool)
    if values.dtype.kind in "iu":  # as names, since floats cannot tell integers beyond 2**53 apart
        return known & np.isin(values.astype(str), [name_of(_order(t)[1]) if "." in t else t for t in tokens])
    numbers = [_order(t)[1] for t in tokens if _order(t)[0] == 0]
    return known & np.isin(values, numbers)


def _order(name: str) -> tuple[int, float, str]:
    try:
        number = float(name)
    except ValueError:
        return 1, 0.0, name
    return (0, number, name) if np.isfinite(number) else (1, 0.0, name)
