"""Mini-batch transport: plans that are optimal, balanced and finite, and losses that train through the cost."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from dazoo.core.errors import DazooError, NonFiniteError
from dazoo.ops import classwise, transport


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_exact_plan_is_the_best_assignment() -> None:
    cost = transport.feature_cost(normal(5, 3), normal(5, 3, seed=1))
    best = min(sum(float(cost[i, p[i]]) for i in range(5)) for p in itertools.permutations(range(5)))
    plan = transport.emd_plan(cost)
    assert float(transport.transport_loss(plan, cost)) == pytest.approx(best / 5, rel=1e-10)


def test_plan_of_equal_samples_is_that_of_the_network_simplex() -> None:
    import ot

    cost = transport.feature_cost(normal(12, 3), normal(12, 3, seed=1) + 1)
    torch.testing.assert_close(transport.emd_plan(cost), torch.from_numpy(ot.emd([], [], cost.numpy())))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_plans_have_their_marginals_at_any_scale(scale: float) -> None:
    cost = scale * transport.feature_cost(normal(6, 800), 3 * normal(9, 800, seed=1) + 2)
    a = torch.arange(1.0, 7.0, dtype=torch.float64) / 21
    for plan in (transport.emd_plan(cost, a), transport.sinkhorn_plan(cost, 0.02, a)):
        torch.testing.assert_close(plan.sum(1), a, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(plan.sum(0), torch.full((9,), 1 / 9, dtype=torch.float64), atol=1e-6, rtol=1e-6)
        assert float(plan.min()) >= 0.0
    assert float(transport.partial_plan(cost, 0.6).sum()) == pytest.approx(0.6, abs=1e-6)
    assert bool(torch.isfinite(transport.unbalanced_plan(cost, 0.01, 0.5)).all())


def test_entropic_plan_approaches_the_exact_one_and_independence() -> None:
    cost = transport.feature_cost(normal(5, 3), normal(5, 3, seed=1))
    exact = float(transport.transport_loss(transport.emd_plan(cost), cost))
    assert float(transport.transport_loss(transport.sinkhorn_plan(cost, 5e-3, iterations=2000), cost)) == pytest.approx(
        exact, rel=0.01
    )
    torch.testing.assert_close(transport.sinkhorn_plan(cost, 1e4), torch.full_like(cost, 1 / 25), rtol=1e-3, atol=1e-5)


def test_unbalanced_plan_approaches_the_balanced_one_and_drops_outliers() -> None:
    cost = transport.feature_cost(normal(5, 3), normal(5, 3, seed=1))
    cost = cost / cost.max()
    balanced = transport.sinkhorn_plan(cost, 0.1)
    torch.testing.assert_close(
        transport.unbalanced_plan(cost, 0.1, 1e3, iterations=5000), balanced, rtol=0.02, atol=1e-4
    )
    cost[0] += 100.0
    plan = transport.unbalanced_plan(cost, 0.05, 0.1)
    assert float(plan[0].sum()) < 0.2 * float(plan[1:].sum(1).min())


def test_transport_loss_has_gradients_through_the_cost_only() -> None:
    fs, ft = normal(4, 3).requires_grad_(), normal(4, 3, seed=1).requires_grad_()
    ws = classwise.one_hot(torch.tensor([0, 1, 1, 0]), 2, torch.float64)
    logits = normal(4, 2, seed=2).requires_grad_()
    cost = transport.joint_cost(fs, ft, ws, logits, 0.5, 2.0)
    i, j = 1, 2
    expected = 0.5 * (fs[i] - ft[j]).square().sum() - 2.0 * torch.log_softmax(logits[j], 0)[1]
    assert float(cost[i, j].detach()) == pytest.approx(float(expected.detach()))
    plan = transport.emd_plan(cost)
    assert not plan.requires_grad
    grads = torch.autograd.grad(transport.transport_loss(plan, cost), (fs, ft, logits))
    move = (plan.sum(1, keepdim=True) * fs - plan @ ft).detach()
    torch.testing.assert_close(grads[0], 2 * 0.5 * move)
    assert all(float(g.norm()) > 0 for g in grads)
    torch.testing.assert_close(transport.barycentric_map(plan, ft.detach()), 4 * plan @ ft.detach())


def test_transport_refuses_nonsense() -> None:
    cost = torch.ones(2, 2)
    cost[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="not finite"):
        transport.emd_plan(cost)
    with pytest.raises(DazooError, match="share of mass"):
        transport.partial_plan(torch.ones(2, 2), 1.5)
    assert transport.emd_plan(torch.zeros(2, 3)).dtype == torch.float32
    assert float(transport.emd_plan(torch.zeros(2, 3)).sum()) == pytest.approx(1.0)
