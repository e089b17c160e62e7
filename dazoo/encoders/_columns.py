"""What the columns of a table are, inferred from their values, and one map of numbers for each role."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.portable import Portable
from dazoo.encoders.base import Fitted, create_encoder

ROLES = ("number", "boolean", "category", "date", "text", "ignored")
YES, NO = {"true", "yes", "y", "t", "on"}, {"false", "no", "n", "f", "off"}
CLIP = 10.0  # robust standard deviations beyond which a number says no more
DATES = 0.95  # of the filled cells must read as dates
LONG, MANY = 4.0, 0.5  # words of a text on average; share of different values from which words are no levels
CODES = 10  # whole numbers with at most so many values may be codes


def role_in(source: Any, target: Any) -> tuple[str, str]:
    """The role of a column in both domains, as ``role_of``, each judged by itself: both may count their rows."""
    (one, said), (other, also) = role_of(source), role_of(target)
    if one == other or not len(target):
        return one, said
    for here, why, there, note in ((one, said, other, also), (other, also, one, said)):
        if here == "ignored":  # an identifier in one file is none of the other's numbers
            return (here, why) if "identifier" in why else (there, note)
    if {one, other} == {"boolean", "number"}:
        return "boolean", ""
    if {one, other} <= {"category", "text"}:
        return "text", ""
    return "category", f"holds {one} cells in the source but {other} cells in the target; read as a category"


def role_of(values: Any) -> tuple[str, str]:
    """The role of a column (a ``pandas.Series``) and, where that needs a word, a sentence after the column's name."""
    import pandas as pd

    filled = values.dropna()
    if not len(filled):
        return "ignored", "is empty and left out"
    kinds = pd.api.types
    if kinds.is_bool_dtype(values) or (values.dtype == object and all(isinstance(v, (bool, np.bool_)) for v in filled)):
        return "boolean", ""
    if kinds.is_datetime64_any_dtype(values):
        return "date", ""
    if kinds.is_timedelta64_dtype(values):
        return "number", "holds spans of time, read as days"
    if kinds.is_numeric_dtype(values):
        return _numeric(filled)
    texts = filled.astype(str).str.strip()
    numbers = pd.to_numeric(texts.str.replace(",", ".", regex=False), errors="coerce")
    if bool(numbers.notna().all()):
        comma = bool(texts.str.contains(",", regex=False).any())
        return "number", "holds numbers as text" + (" with a decimal comma" if comma else "") + "; read as numbers"
    folded = set(texts.str.casefold())
    if folded <= YES | NO and len(folded) > 1:
        return "boolean", ""
    if float(_dates(texts).notna().mean()) >= DATES:
        return "date", "holds dates as text; read as dates"
    different = texts.nunique() / len(texts)
    if different > MANY and texts.nunique() > CODES:
        if float(texts.str.split().str.len().mean()) >= LONG:
            return "text", ""
        if different == 1.0:
            return "ignored", "has another value in every row, as an identifier has, and is left out"
    return "category", ""


def _numeric(filled: Any) -> tuple[str, str]:
    whole = bool((filled == filled.round()).all())
    n = filled.nunique()
    if n == 1:
        return "ignored", "has the same value in every row and is left out"
    if whole and n == len(filled) > CODES and float(filled.max()) - float(filled.min()) == n - 1:
        return "ignored", "counts the rows, as an identifier does, and is left out"
    if whole and 2 < n <= CODES:
        return "number", f"holds {n} different whole numbers, read as numbers; if they are codes, call it a category"
    return "number", ""


def _dates(texts: Any) -> Any:
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about formats that differ from row to row
        return pd.to_datetime(texts, errors="coerce", utc=True)


class Column(Portable):
    """A fitted column: a ``pandas.Series`` of n cells to (n, k) numbers, which ``outputs`` names."""

    def __call__(self, values: Any) -> Tensor:
        raise NotImplementedError

    def outputs(self, name: str) -> list[str]:
        raise NotImplementedError


@dataclass(frozen=True)
class Number(Column):
    """(x - median) / spread, cut at 10 spreads; a missing cell is the median, and 1 in a column of its own where cells
    were missing when it was fitted. ``days``: cells are dates or spans of time, counted in days."""

    center: float
    spread: float
    gaps: bool
    days: bool = False

    def __call__(self, values: Any) -> Tensor:
        x = numbers_of(values, self.days)
        missing = ~np.isfinite(x)
        z = np.clip((np.where(missing, self.center, x) - self.center) / self.spread, -CLIP, CLIP)
        columns = [z, missing.astype(float)] if self.gaps else [z]
        return torch.from_numpy(np.stack(columns, 1)).float()

    def outputs(self, name: str) -> list[str]:
        return [name, f"{name} is missing"] if self.gaps else [name]


@dataclass(frozen=True)
class Date(Column):
    """Days as a ``Number``, and the place in the year as sine and cosine where dates span more than a year or so."""

    days: Number
    season: bool

    def __call__(self, values: Any) -> Tensor:
        if not self.season:
            return self.days(values)
        x = numbers_of(values, True)
        angle = np.where(np.isfinite(x), x, 0.0) * (2 * np.pi / 365.25)
        circle = np.stack([np.sin(angle), np.cos(angle)], 1) * np.isfinite(x)[:, None]
        return torch.cat([self.days(values), torch.from_numpy(circle).float()], 1)

    def outputs(self, name: str) -> list[str]:
        return self.days.outputs(name) + ([f"{name} (sine)", f"{name} (cosine)"] if self.season else [])


@dataclass(frozen=True)
class Category(Column):
    """1 in the column of the cell's level, else 0; the last columns are all other levels and, where there were such,
    missing cells. ``other`` is there whether or not a level was rare, since new levels may come later."""

    levels: list[str]
    gaps: bool

    def __call__(self, values: Any) -> Tensor:
        place = {level: i for i, level in enumerate(self.levels)}
        other, width = len(self.levels), len(self.levels) + 1 + self.gaps
        missing = values.isna().to_numpy()
        where = np.array([place.get(level_of(v), other) for v in values.to_numpy(dtype=object)], dtype=np.int64)
        made = torch.zeros(len(where), width)
        rows = np.flatnonzero(~missing) if self.gaps else np.arange(len(where))
        made[rows, where[rows]] = 1.0
        if self.gaps:
            made[np.flatnonzero(missing), width - 1] = 1.0
        return made

    def outputs(self, name: str) -> list[str]:
        return (
            [f"{name} = {level}" for level in self.levels] + [f"{name} is another"] + [f"{name} is missing"] * self.gaps
        )


@dataclass(frozen=True)
class Words(Column):
    """Texts through TF-IDF; a missing cell is an empty text."""

    fitted: Fitted

    def __call__(self, values: Any) -> Tensor:
        return self.fitted(texts_of(values))

    def outputs(self, name: str) -> list[str]:
        return [f"{name} (direction {i})" for i in range(self.fitted([""]).shape[1])]


def texts_of(values: Any) -> list[str]:
    """Cells as texts, empty where there is none."""
    return ["" if v is None or v != v else str(v) for v in values.to_numpy(dtype=object)]


def level_of(value: Any) -> str:
    """A level as text; 3.0 and 3 are the same, since a gap makes floats of whole numbers."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def numbers_of(values: Any, days: bool) -> np.ndarray:
    """Cells (n,) as floats, NaN where there is none; dates in days since 1970, truth values as 0 and 1."""
    import pandas as pd

    kinds = pd.api.types
    if days:
        if kinds.is_timedelta64_dtype(values):
            return (values / pd.Timedelta(days=1)).to_numpy(float)
        read = values if kinds.is_datetime64_any_dtype(values) else _dates(values)
        if getattr(read.dt, "tz", None) is not None:
            read = read.dt.tz_convert(None)
        return ((read - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)).to_numpy(float)
    if kinds.is_numeric_dtype(values) and not kinds.is_bool_dtype(values):
        return values.to_numpy(float, na_value=np.nan)
    truth = {**dict.fromkeys(YES, "1"), **dict.fromkeys(NO, "0")}
    texts = values.map(lambda v: v if v is None or v != v else str(v).strip())
    texts = texts.map(lambda v: truth.get(v.casefold(), v.replace(",", ".")) if isinstance(v, str) else v)
    return pd.to_numeric(texts, errors="coerce").to_numpy(float, na_value=np.nan)


def fitted_column(values: Any, n_source: int, role: str, rare: int, most: int, words: int) -> Column | None:
    """The map of a column of that role; None where it holds nothing that varies.

    Gaps get a column of their own where they occur, but not everywhere, in the source (the first ``n_source`` rows) and
    in the target: elsewhere it would tell the domains apart and teach nothing.
    """
    import pandas as pd

    if role in ("number", "boolean"):
        spans = pd.api.types.is_timedelta64_dtype(values)
        return _number(numbers_of(values, spans), n_source, spans)
    if role == "date":
        days = numbers_of(values, True)
        made = _number(days, n_source, True)
        spread = np.nanmax(days) - np.nanmin(days) if made is not None else 0.0
        return None if made is None else Date(made, bool(spread > 400))
    if role == "category":
        counts = values.dropna().map(level_of).value_counts()
        kept = counts[counts >= min(rare, max(1, len(values) // 20))].index[:most]
        gaps = _worth_telling(values.isna().to_numpy(), n_source)
        return Category(sorted(map(str, kept)), gaps) if len(counts) > 1 or gaps else None
    if role == "text":
        try:
            return Words(create_encoder("tfidf", dims=words).fit(texts_of(values), []))
        except DazooError:
            return None
    return None


def _worth_telling(missing: np.ndarray, n_source: int) -> bool:
    parts = [part for part in (missing[:n_source], missing[n_source:]) if len(part)]
    return all(bool(part.any()) and not bool(part.all()) for part in parts)


def _number(x: np.ndarray, n_source: int, days: bool = False) -> Number | None:
    known = x[np.isfinite(x)]
    gaps = _worth_telling(~np.isfinite(x), n_source)
    if not len(known) or (len(np.unique(known)) == 1 and not gaps):
        return None
    low, center, high = np.quantile(known, [0.25, 0.5, 0.75])
    spread = (high - low) / 1.349 or known.std() or 1.0
    return Number(float(center), float(spread), gaps, days)
