"""The backward pass without what torch.autograd.grad does around it."""

from __future__ import annotations

import pytest
import torch

from dazoo.nets import gradients as module
from dazoo.nets.gradients import engine_agrees, gradients


def test_this_version_of_torch_takes_the_short_call() -> None:
    assert engine_agrees()


@pytest.mark.parametrize("agrees", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_those_of_autograd(monkeypatch, agrees: bool, dtype: torch.dtype) -> None:
    monkeypatch.setattr(module, "engine_agrees", lambda: agrees)
    gen = torch.Generator().manual_seed(0)
    w = torch.randn(4, 3, generator=gen, dtype=dtype).requires_grad_()
    b, unused = torch.zeros(4, dtype=dtype, requires_grad=True), torch.ones(2, requires_grad=True)
    y = torch.randn(5, 3, generator=gen, dtype=dtype) @ w.T + b
    roots, leaves = [y.square().mean(), y.sin().sum()], [w, unused, b]
    for starts in (None, [torch.full_like(r, 0.5) for r in roots]):
        found = gradients(roots, leaves, starts, keep=True)
        wanted = torch.autograd.grad(roots, [w, b], starts, retain_graph=True)
        assert found[1] is None and torch.equal(found[0], wanted[0]) and torch.equal(found[2], wanted[1])
    assert all(p.grad is None for p in leaves)
    gradients(roots, leaves)
    with pytest.raises(RuntimeError, match="second time"):
        gradients(roots, leaves)
