"""The nearest sample in single precision: settled answers are exact, the rest is left to double precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dazoo.methods.steps import nearest_rows
from dazoo.ops.neighbours import COLUMNS, ROWS, nearest_single


def by_differences(x: Tensor, anchors: Tensor) -> Tensor:
    return torch.stack([(anchors - row).square().sum(1).argmin() for row in x])


@pytest.mark.parametrize(("n", "m", "d"), [(1, 2, 1), (40, 30, 3), (ROWS + 3, 50, 2), (ROWS, 2 * COLUMNS + 5, 4)])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-30, 0.0), (1e60, 0.0), (1.0, 1e4)])
def test_settled_answers_are_exact(n: int, m: int, d: int, scale: float, offset: float) -> None:
    gen = torch.Generator().manual_seed(n + m)
    x = offset + scale * torch.randn(n, d, generator=gen, dtype=torch.float64)
    anchors = offset + scale * torch.randn(m, d, generator=gen, dtype=torch.float64)
    found, open_ = nearest_single(x, anchors)
    rows = torch.nonzero(~open_)[:60, 0]
    assert torch.equal(found[rows], by_differences(x[rows], anchors))
    if d > 1:
        assert len(rows) > 0.9 * min(n, 60)  # few answers are left open


def test_near_ties_are_left_open_and_decided_in_double_precision() -> None:
    gen = torch.Generator().manual_seed(0)
    anchors = torch.randn(20, 5, generator=gen, dtype=torch.float64)
    close = torch.cat([anchors, anchors + 1e-9])
    x = anchors + 1e-9 + 1e-3 * torch.eye(5, dtype=torch.float64)[torch.arange(20) % 5]
    _, open_ = nearest_single(x, close)
    assert bool(open_.all())
    assert torch.equal(nearest_rows(x, close, 1)[:, 0], by_differences(x, close))


def test_equal_anchors_give_the_lower_row() -> None:
    gen = torch.Generator().manual_seed(1)
    anchors = torch.randn(15, 4, generator=gen, dtype=torch.float64)
    assert torch.equal(nearest_rows(anchors, torch.cat([anchors, anchors]), 1)[:, 0], torch.arange(15))
    same = torch.ones(6, 3, dtype=torch.float64)
    assert torch.equal(nearest_rows(same, same, 1)[:, 0], torch.zeros(6, dtype=torch.int64))
