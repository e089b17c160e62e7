"""How the table per task is shaded: steps away from a reference, the same for every column, robust against outliers.

The reference of a column is the best baseline that sees no target label, or the column's median where there is none.
A step is a quarter of the 90 % quantile of the absolute differences in that column, so that a few collapsed methods
do not take the whole scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dazoo.bench.analysis.findings import BASELINES
from dazoo.bench.analysis.table import Leaderboard

STEPS = 4
QUANTILE = 0.9


@dataclass(frozen=True)
class Shades:
    """``reference`` is a label, or empty for the median; ``steps[i, j]`` from -4 (worse) to 4 (better), NaN if unknown.

    ``best`` marks the best of each column among the rows of equal sight of target labels.
    """

    reference: str
    steps: np.ndarray
    best: np.ndarray


def shades(board: Leaderboard) -> Shades:
    """Steps and best cells of a leaderboard, rows by its columns."""
    columns = board.columns
    values = np.array([[board.value(r, c) for c in columns] for r in board.rows]).reshape(len(board.rows), len(columns))
    signed = values if board.higher_is_better else -values
    marks = [r.mark for r in board.rows]
    base = [i for i, r in enumerate(board.rows) if r.family == BASELINES and not r.mark and not math.isnan(r.mean)]
    steps = np.full(signed.shape, np.nan)
    for j, column in enumerate(signed.T):
        steps[:, j] = column_steps(column, column[base[0]] if base else math.nan)
    return Shades(board.rows[base[0]].label if base else "", steps, _best(signed, marks))


def column_steps(column: np.ndarray, reference: float) -> np.ndarray:
    """Whole steps in [-4, 4] from ``reference``, or from the median where that is NaN."""
    known = column[~np.isnan(column)]
    if not len(known):
        return column
    away = column - (float(np.median(known)) if math.isnan(reference) else reference)
    scale = float(np.quantile(np.abs(away[~np.isnan(away)]), QUANTILE)) or float(np.nanmax(np.abs(away))) or 1.0
    found: np.ndarray = np.clip(np.sign(away) * np.ceil(np.abs(away) / scale * STEPS - 0.5), -STEPS, STEPS) + 0.0
    return found


def _best(signed: np.ndarray, marks: Sequence[str]) -> np.ndarray:
    best = np.zeros(signed.shape, bool)
    for mark in set(marks):
        rows = [i for i, m in enumerate(marks) if m == mark]
        part = np.where(np.isnan(signed[rows]), -np.inf, signed[rows])
        best[rows] = (part == part.max(0)) & np.isfinite(part)
    return best
