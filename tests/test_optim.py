"""Optimisers of the training loop."""

from __future__ import annotations

import copy

import pytest
import torch

from dazoo.engine.optim import make_optimizer
from dazoo.engine.recipe import Recipe
from dazoo.nets.update import Update, kernels_agree


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


@pytest.mark.parametrize("name", ["frozen", "digits"])
@pytest.mark.parametrize(
    "change", [{}, {"momentum": 0.0, "nesterov": False, "optimizer": "sgd"}, {"optimizer": "adamw"}]
)
def test_the_direct_step_is_the_optimisers_own_step_bit_for_bit(name: str, change: dict[str, object]) -> None:
    recipe = Recipe.named(name, weight_decay=0.01, backbone_lr=0.1, **change)
    gen = torch.Generator().manual_seed(2)
    start = {"body.backbone.w": torch.randn(4, 3, generator=gen), "head.b": torch.randn(5, generator=gen)}
    ours, torchs = ({k: v.clone() for k, v in start.items()} for _ in range(2))
    one, two = (make_optimizer(p, list(p), {}, recipe) for p in (ours, torchs))
    update = Update(one)
    for step in range(6):
        if step == 3:  # as a killed run goes on: the state comes from a file
            one.load_state_dict(copy.deepcopy(one.state_dict()))
            update.forget()
        grads = [torch.randn(4, 3, generator=gen), torch.randn(5, generator=gen) if step % 2 else None]
        update(list(ours.values()), grads)
        for p, grad in zip(torchs.values(), grads):
            p.grad = None if grad is None else grad.clone()
        two.step()
        assert all(torch.equal(ours[k], torchs[k]) for k in ours)
    assert not any(torch.equal(ours[k], start[k]) for k in ours)


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_without_torchs_private_kernels_the_public_step_is_taken(kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are tried before use: one that is gone or computes something else is not called again."""
    assert kernels_agree.__wrapped__(kind)
    for name in ("_fused_sgd_", "_fused_adam_", "_fused_adamw_"):
        monkeypatch.setattr(torch, name, lambda *lists, **options: None)  # leaves the parameters where they are
    assert not kernels_agree.__wrapped__(kind)
    for name in ("_fused_sgd_", "_fused_adam_", "_fused_adamw_"):
        monkeypatch.delattr(torch, name)
    assert not kernels_agree.__wrapped__(kind)


@pytest.mark.parametrize("name", ["frozen", "digits"])
def test_the_public_step_is_the_direct_step(name: str) -> None:
    recipe, gen = Recipe.named(name, weight_decay=0.01), torch.Generator().manual_seed(3)
    start = {"head.a": torch.randn(4, 3, generator=gen), "head.b": torch.randn(5, generator=gen)}
    moved = []
    grads = [[torch.randn(4, 3, generator=gen), None if i == 0 else torch.randn(5, generator=gen)] for i in range(3)]
    for direct in (True, False):
        params = {k: v.clone() for k, v in start.items()}
        update = Update(make_optimizer(params, list(params), {}, recipe), direct)
        for grad in grads:
            update(list(params.values()), grad)
        moved.append(params)
    assert all(torch.equal(moved[0][k], moved[1][k]) and not torch.equal(moved[0][k], start[k]) for k in start)


@pytest.mark.parametrize("make", [
    lambda p: torch.optim.Adam(p, lr=0.1),
    lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.01),
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    lambda p: torch.optim.SGD(p, lr=0.1),
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5),
    lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True),
    lambda p: torch.optim.RMSprop(p, lr=0.1),
])  # fmt: skip
def test_an_optimiser_that_anybody_made_steps_as_torch_does(make) -> None:
    """Stream methods bring optimisers of their own, with whatever options."""
    gen = torch.Generator().manual_seed(3)
    start = torch.randn(6, generator=gen)
    ours, plain = start.clone(), start.clone()
    update, two = Update(make([ours])), make([plain])
    for _ in range(3):
        plain.grad = torch.randn(6, generator=gen)
        update([ours], [plain.grad.clone()])
        two.step()
    assert torch.allclose(ours, plain, atol=1e-6) and not torch.equal(ours, start)
