"""One map of numbers for each role of a column of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.portable import Portable
from dazoo.encoders._cells import GAPS, day_first, level_of, numbers_of, spelled, texts_of
from dazoo.encoders.base import Fitted, create_encoder

CLIP = 10.0  # robust standard deviations beyond which a number says no more
LARGEST = 1e140  # beyond it squares overflow


class Column(Portable):
    """A fitted column: a ``pandas.Series`` of n cells to (n, k) numbers, which ``outputs`` names."""

    def __call__(self, values: Any) -> Tensor:
        raise NotImplementedError

    def outputs(self, name: str) -> list[str]:
        raise NotImplementedError


@dataclass(frozen=True)
class Number(Column):
    """(x - median) / spread, cut at 10 spreads; a missing cell is the median, and 1 in a column of its own where cells
    were missing when it was fitted. ``days``: cells are dates or spans of time, counted in days; ``day_first``: in
    texts the day comes before the month."""

    center: float
    spread: float
    gaps: bool
    days: bool = False
    day_first: bool = False

    def numbers(self, values: Any) -> np.ndarray:
        return numbers_of(values, self.days, self.day_first)

    def __call__(self, values: Any) -> Tensor:
        x = self.numbers(values)
        missing = ~np.isfinite(x)
        far = np.clip(np.where(missing, self.center, x), -LARGEST, LARGEST) - self.center
        z = np.clip(far / self.spread, -CLIP, CLIP)
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
        x = self.days.numbers(values)
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


def unread(values: Any, column: Column) -> np.ndarray:
    """Cells (n,) of a column of numbers or dates that hold something which is none."""
    number = column.days if isinstance(column, Date) else column
    if not isinstance(number, Number):
        return np.zeros(len(values), bool)
    strange = ~np.isfinite(number.numbers(values)) & values.notna().to_numpy()
    rows = np.flatnonzero(strange)
    words = values.iloc[rows].astype(str).str.strip().str.casefold()
    strange[rows[words.isin(GAPS).to_numpy()]] = False
    return strange


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
        first = day_first(spelled(values).dropna()) if not pd.api.types.is_datetime64_any_dtype(values) else False
        days = numbers_of(values, True, first)
        made = _number(days, n_source, True, first)
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


def _number(x: np.ndarray, n_source: int, days: bool = False, first: bool = False) -> Number | None:
    known = np.clip(x[np.isfinite(x)], -LARGEST, LARGEST)
    gaps = _worth_telling(~np.isfinite(x), n_source)
    if not len(known) or (len(np.unique(known)) == 1 and not gaps):
        return None
    low, center, high = np.quantile(known, [0.25, 0.5, 0.75])
    spread = (high - low) / 1.349 or known.std() or 1.0
    return Number(float(center), float(spread), gaps, days, first)
