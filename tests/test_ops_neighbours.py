"""The nearest sample in single precision: settled answers are exact, the rest is left to double precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dazoo.ops.linalg import neighbours
from dazoo.ops.linalg.neighbours import COLUMNS, ROWS, nearest
from dazoo.shallow.steps import nearest_rows


def by_differences(x: Tensor, anchors: Tensor) -> Tensor:
    return torch.stack([(anchors - row).square().sum(1).argmin() for row in x])


@pytest.mark.parametrize(("n", "m", "d"), [(1, 2, 3), (40, 30, 3), (ROWS + 3, 50, 2), (ROWS, 2 * COLUMNS + 5, 4)])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-30, 0.0), (1e60, 0.0), (1.0, 1e4)])
def test_answers_are_exact(n: int, m: int, d: int, scale: float, offset: float) -> None:
    gen = torch.Generator().manual_seed(n + m)
    x = offset + scale * torch.randn(n, d, generator=gen, dtype=torch.float64)
    anchors = offset + scale * torch.randn(m, d, generator=gen, dtype=torch.float64)
    rows = torch.arange(0, n, max(1, n // 60))
    assert torch.equal(nearest(x, anchors)[rows], by_differences(x[rows], anchors))


def test_few_samples_need_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    left = []
    exact, among = neighbours._double, neighbours._among
    monkeypatch.setattr(neighbours, "_double", lambda x, *rest: left.append(len(x)) or exact(x, *rest))
    monkeypatch.setattr(neighbours, "_among", lambda *args: left.append(len(set(args[3]))) or among(*args))
    gen = torch.Generator().manual_seed(0)
    x, anchors = (torch.randn(n, 64, generator=gen, dtype=torch.float64) for n in (500, 400))
    assert torch.equal(nearest(x, anchors), torch.cdist(x, anchors).argmin(1))
    assert sum(left) < 10


def test_near_ties_are_decided_in_double_precision() -> None:
    gen = torch.Generator().manual_seed(0)
    anchors = torch.randn(20, 5, generator=gen, dtype=torch.float64)
    close = torch.cat([anchors, anchors + 1e-9])
    x = anchors + 1e-9 + 1e-3 * torch.eye(5, dtype=torch.float64)[torch.arange(20) % 5]
    assert torch.equal(nearest(x, close), by_differences(x, close))


@pytest.mark.parametrize("copies", [2, 30])
def test_samples_in_doubt_are_settled_among_few_anchors_or_all(copies: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anchors that coincide, as images of a transport plan do, leave every sample in doubt."""
    gen = torch.Generator().manual_seed(2)
    some = torch.randn(60 // copies, 8, generator=gen, dtype=torch.float64)
    anchors = some.repeat(copies, 1)[torch.randperm(60 // copies * copies, generator=gen)]
    x = torch.randn(50, 8, generator=gen, dtype=torch.float64)
    used = []
    for name in ("_double", "_among"):
        whole = getattr(neighbours, name)
        monkeypatch.setattr(neighbours, name, lambda *a, f=whole, n=name: used.append(n) or f(*a))
    assert torch.equal(nearest(x, anchors), by_differences(x, anchors))
    assert used == ["_among" if copies == 2 else "_double"]


def test_equal_anchors_give_the_lower_row() -> None:
    gen = torch.Generator().manual_seed(1)
    anchors = torch.randn(15, 4, generator=gen, dtype=torch.float64)
    assert torch.equal(nearest_rows(anchors, torch.cat([anchors, anchors]), 1)[:, 0], torch.arange(15))
    same = torch.ones(6, 3, dtype=torch.float64)
    assert torch.equal(nearest_rows(same, same, 1)[:, 0], torch.zeros(6, dtype=torch.int64))
