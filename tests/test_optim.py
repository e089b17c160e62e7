"""Optimisers of the training loop."""

from __future__ import annotations

import pytest
import torch

from dazoo.engine.optim import make_optimizer
from dazoo.engine.recipe import Recipe


@pytest.mark.parametrize("name", ["frozen", "digits"])
def test_a_parameter_may_get_its_first_gradient_late(name: str) -> None:
    """Parameters that rest at first move like ones that an optimiser of their own starts at that step."""
    recipe = Recipe.named(name)
    gen = torch.Generator().manual_seed(0)
    a, b = torch.randn(4, 3, generator=gen), torch.randn(5, generator=gen)
    params = {"head.a": a.clone(), "head.b": b.clone()}
    late = {"head.b": b.clone()}
    both, alone = make_optimizer(params, list(params), {}, recipe), make_optimizer(late, list(late), {}, recipe)
    for step in range(4):
        params["head.a"].grad = torch.randn(4, 3, generator=gen)
        if step >= 2:
            params["head.b"].grad = torch.randn(5, generator=gen)
            late["head.b"].grad = params["head.b"].grad.clone()
            alone.step()
        both.step()
    assert torch.equal(params["head.b"], late["head.b"])
    assert not torch.equal(params["head.b"], b) and not torch.equal(params["head.a"], a)


def test_momentum_from_zeros_is_the_step_of_plain_sgd() -> None:
    recipe = Recipe.named("frozen")
    gen = torch.Generator().manual_seed(1)
    start = torch.randn(6, generator=gen)
    ours, plain = start.clone(), start.clone()
    one = make_optimizer({"head.a": ours}, ["head.a"], {}, recipe)
    two = torch.optim.SGD(
        [plain], lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, weight_decay=recipe.weight_decay
    )
    for _ in range(3):
        ours.grad = torch.randn(6, generator=gen)
        plain.grad = ours.grad.clone()
        one.step(), two.step()
    torch.testing.assert_close(ours, plain)
