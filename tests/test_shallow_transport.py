"""The first transport methods against linear programming, POT's closed form and their own optimality conditions."""

from __future__ import annotations

import itertools

import numpy as np
import ot
import pytest
import scipy.optimize
import torch

from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import create_method
from dazoo.methods.transport._plan import barycentric, entropic_plan, exact_plan
from dazoo.ops.classwise import one_hot
from dazoo.ops.linalg.linear import RidgeFit, distances_between
from tests.test_subspace import arrays, context, toy


def unlike(seen: Seen, xt: torch.Tensor) -> Seen:
    return Seen(seen.source, Unlabeled(xt), None, seen.n_classes, "vector", UNSUPERVISED)


def cost_of(seen: Seen) -> torch.Tensor:
    return distances_between(seen.source.x, seen.target.x)


def test_emd_plan_is_the_linear_programmes_optimum():
    seen = toy(9, 7)
    cost, plan = cost_of(seen), create_method("ot_emd").plan(toy(9, 7), context())
    rows = np.kron(np.eye(9), np.ones(7))
    cols = np.kron(np.ones(9), np.eye(7))
    reference = scipy.optimize.linprog(
        cost.numpy().ravel(), A_eq=np.vstack([rows, cols]), b_eq=np.r_[np.full(9, 1 / 9), np.full(7, 1 / 7)]
    )
    assert np.isclose(float((plan * cost).sum()), reference.fun)
    assert torch.allclose(plan.sum(1), torch.full((9,), 1 / 9, dtype=torch.float64))
    assert torch.allclose(plan.sum(0), torch.full((7,), 1 / 7, dtype=torch.float64))


def test_emd_undoes_a_shift_by_a_gradient_of_a_convex_function():
    """Brenier: x -> A x + b with A positive definite is optimal, so the plan pairs every sample with its own image."""
    seen = toy(40, d=4)
    rng = np.random.default_rng(1)
    half = rng.standard_normal((4, 4))
    a = torch.from_numpy(half @ half.T + 0.5 * np.eye(4))
    order = torch.from_numpy(rng.permutation(40))
    images = seen.source.x @ a + 3.0
    model = create_method("ot_emd").fit(unlike(seen, images[order]), context())
    assert torch.allclose(model.predict_source(seen.source.x).features, images)
    assert torch.equal(model.predict(images[order]).labels, seen.source.y[order])


def test_sinkhorn_plan_has_the_form_and_the_marginals_of_the_optimum():
    """P = diag(u) exp(-C / reg) diag(v): log P + C / reg has rank one structure a_i + b_j; both marginals hold."""
    for reg in (0.05, 0.0049):  # plain and log domain
        cost = cost_of(toy(9, 7)) + 500  # nearly flat, so that both converge quickly
        ctx = context()
        plan = entropic_plan(cost, reg, ctx, 2000)
        inner = torch.log(plan) + cost / cost.max() / reg
        residue = inner - inner.mean(0) - inner.mean(1, keepdim=True) + inner.mean()
        assert residue.abs().max() < 1e-6
        assert torch.allclose(plan.sum(1), torch.full((9,), 1 / 9, dtype=torch.float64), atol=1e-6)
        assert torch.allclose(plan.sum(0), torch.full((7,), 1 / 7, dtype=torch.float64), atol=1e-6)
        assert not ctx.warnings


def test_sinkhorn_tends_to_emd():
    cost = cost_of(toy(9, 9))
    exact = float((exact_plan(cost, context()) * cost).sum())
    regs = (0.5, 0.05, 0.01)
    gaps = [float((entropic_plan(cost, reg, context(), 5000) * cost).sum()) - exact for reg in regs]
    assert gaps[0] > gaps[1] > gaps[2] > -1e-6
    # the optimum's entropy is at least log 9, and no plan's is above log 81
    assert all(gap <= reg * float(cost.max()) * np.log(9) for gap, reg in zip(gaps, regs))


def test_sinkhorn_is_finite_on_wide_features_and_says_when_it_stops_early():
    rng = np.random.default_rng(0)
    seen = toy(60, 50, d=800)
    xt = torch.from_numpy(100 * rng.standard_normal((50, 800)))
    model = create_method("ot_sinkhorn", reg=0.005).fit(unlike(seen, xt), context())
    assert torch.isfinite(model.predict(xt).scores).all()
    ctx = context()
    create_method("ot_sinkhorn", reg=0.005, iterations=2).fit(toy(), ctx)
    assert any("converged" in w for w in ctx.warnings)


def test_barycentric_map_in_sparse_and_dense_form_is_the_same():
    seen = toy(30, 25)
    plan = exact_plan(cost_of(seen), context())
    assert (plan > 0).sum() < 0.1 * plan.numel()
    assert torch.allclose(barycentric(plan, seen.target.x), 30 * plan @ seen.target.x)
    plan[0] = 0
    assert torch.allclose(barycentric(plan, seen.target.x)[0], seen.target.x.mean(0))


@pytest.mark.parametrize("shape", [(200, 150, 6), (20, 12, 15)])
def test_linear_map_equals_pots_gaussian_map(shape):
    seen = toy(*shape)
    xs, xt, _ = arrays(seen)
    cs, ct = (np.cov(x.T) + 1e-3 * np.trace(np.cov(x.T)) / shape[2] * np.eye(shape[2]) for x in (xs, xt))
    a, b = ot.gaussian.bures_wasserstein_mapping(xs.mean(0), xt.mean(0), cs, ct)
    assert np.allclose(create_method("ot_linear").align(seen, context()).zs, xs @ a + b)


def test_linear_map_carries_mean_and_covariance_over():
    seen = toy(300, 200)
    zs = create_method("ot_linear", reg=1e-9).align(seen, context()).zs
    assert torch.allclose(zs.mean(0), seen.target.x.mean(0))
    assert torch.allclose(torch.cov(zs.T), torch.cov(seen.target.x.T), atol=1e-6)


@pytest.mark.parametrize("shape", [(30, 6), (8, 20)])
def test_ridge_fit_solves_the_normal_equations(shape):
    rng = np.random.default_rng(0)
    x, y, s = rng.standard_normal(shape) + 2, rng.standard_normal((shape[0], 3)), rng.random(shape[0]) + 0.1
    w, b = (v.numpy() for v in RidgeFit(torch.from_numpy(x), 0.7, torch.from_numpy(s)).fit(torch.from_numpy(y)))
    residue = (y - x @ w - b) * (s / s.mean())[:, None]
    assert np.allclose(x.T @ residue, 0.7 * w)
    assert np.allclose(residue.sum(0), 0)


def jdot_objective(seen: Seen, model, alpha: float, ridge: float) -> float:
    cost = cost_of(seen)
    loss = distances_between(one_hot(seen.source.y, 3, torch.float64), model.predict(seen.target.x).scores)
    total = alpha * cost / cost.max() + loss
    plan = exact_plan(total, context())
    return float((plan * total).sum()) + ridge * float(model.head.weight.square().sum()) / len(seen.target)


def test_jdot_objective_never_rises():
    seen = toy(60, 50, move=1.5, seed=4)
    values = [
        jdot_objective(seen, create_method("jdot", rounds=r, ridge=1.0).fit(seen, context()), 1.0, 1.0)
        for r in range(1, 6)
    ]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(values))
    assert values[-1] < values[0]


def test_jdot_with_a_large_alpha_is_emd_label_transfer():
    seen = toy(60, 60)
    model = create_method("jdot", alpha=1e9, ridge=1.0).fit(seen, context())
    plan = exact_plan(cost_of(seen), context())
    w, b = RidgeFit(seen.target.x, 1.0).fit(60 * plan.T @ one_hot(seen.source.y, 3, torch.float64))
    assert torch.allclose(model.predict(seen.target.x).scores, seen.target.x @ w + b, atol=1e-8)


def test_jdot_regression_follows_labels_that_move_with_the_features():
    """Target values are the source's, at features moved far away: source-only extrapolates, JDOT follows the plan."""
    rng = np.random.default_rng(0)
    xs = torch.from_numpy(rng.standard_normal((120, 2)))
    ys = xs @ torch.tensor([2.0, -1.0], dtype=torch.float64) + 5.0
    xt = xs[torch.from_numpy(rng.permutation(120))] + torch.tensor([6.0, 6.0], dtype=torch.float64)
    source = Labeled(xs, ys, torch.zeros(120, dtype=torch.int64))
    seen = Seen(source, Unlabeled(xt), None, 0, "vector", UNSUPERVISED)
    model = create_method("jdot", ridge=1e-2).fit(seen, context("ridge"))
    truth = (xt - 6.0) @ torch.tensor([2.0, -1.0], dtype=torch.float64) + 5.0
    assert (model.predict(xt).values - truth).abs().mean() < 0.1 * ys.std()
