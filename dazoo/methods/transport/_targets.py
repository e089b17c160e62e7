"""Labels as the rows that a regression is fitted to."""

from __future__ import annotations

from torch import Tensor, float64

from dazoo.ops.classwise import one_hot


def regression_targets(y: Tensor, n_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Centre, scale and rows (n, C) or (n, 1) of labels (n,) to be regressed: one-hot, or values of variance 1."""
    if n_classes:
        rows = one_hot(y, n_classes, float64)
        return rows.new_zeros(()), rows.new_ones(()), rows
    values = y.to(float64)[:, None]
    centre, spread = values.mean(), values.std(correction=0)
    spread = spread.where(spread > 0, spread.new_ones(()))
    return centre, spread, (values - centre) / spread
