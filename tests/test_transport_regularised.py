"""Regularised plans and fitted maps against POT's own classes and their optimality conditions."""

from __future__ import annotations

import itertools

import numpy as np
import ot
import pytest
import torch

from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import create_method
from dazoo.ops.classwise import one_hot
from dazoo.ops.linalg.linear import distances_between
from tests.plans import additive, marginals_hold, pots, scaled_cost
from tests.test_subspace import context, toy

# -- class regularisers -------------------------------------------------------------------------------------------


def class_reg_objective(plan: torch.Tensor, seen: Seen, reg: float, weight: float, epsilon: float = 1e-3) -> float:
    masses = plan.shape[1] * one_hot(seen.source.y, seen.n_classes, torch.float64).T @ plan
    entropy = (plan * (plan.clamp(min=1e-300).log() - 1)).sum()
    omega = (masses + epsilon).sqrt().sum() / plan.shape[1]
    return float((plan * scaled_cost(seen)).sum() + reg * entropy + weight * omega)


def test_class_reg_equals_pots_class():
    seen = toy(30, 25)
    theirs = pots(ot.da.SinkhornLpl1Transport, seen, reg_e=0.05, reg_cl=0.02, max_inner_iter=5000, tol=1e-12)
    mine = create_method("ot_class_reg", class_weight=0.02 * 25**0.5, epsilon=0.025, iterations=5000)
    plan = mine.plan(seen, context())
    assert np.allclose(plan, theirs.coupling_, rtol=0, atol=1e-7)
    assert np.allclose(mine.align(seen, context()).zs, theirs.transform(Xs=seen.source.x.numpy()), atol=1e-4)


def test_class_reg_objective_falls():
    seen = toy(40, 30, move=2.0)
    values = [
        class_reg_objective(create_method("ot_class_reg", rounds=r).plan(seen, context()), seen, 0.05, 0.1)
        for r in (1, 2, 3, 5, 8)
    ]
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(values))
    assert values[-1] < values[0]


def group_lasso_objective(plan: torch.Tensor, seen: Seen, reg: float, weight: float) -> float:
    norms = (one_hot(seen.source.y, seen.n_classes, torch.float64).T @ plan.square()).sqrt()
    entropy = (plan * plan.clamp(min=1e-300).log()).sum()
    return float((plan * scaled_cost(seen)).sum() + reg * entropy + weight * norms.sum())


def test_group_lasso_meets_its_optimality_conditions():
    """At the optimum C + reg log P + weight P / ||P_class|| has the form u_i + v_j, and the marginals hold."""
    seen = toy(30, 25)
    plan = create_method("ot_group_lasso", rounds=500, iterations=5000).plan(seen, context())
    members = one_hot(seen.source.y, 3, torch.float64)
    slope = plan / (members @ (members.T @ plan.square()).sqrt())
    heavy = scaled_cost(seen) + 0.05 * plan.log() + 0.1 * slope
    assert marginals_hold(plan, 1e-6)
    assert additive(heavy) < 1e-3


def test_group_lasso_is_at_least_as_good_as_pots_class():
    seen = toy(30, 25)
    theirs = pots(ot.da.SinkhornL1l2Transport, seen, reg_e=0.05, reg_cl=0.1, max_iter=200, max_inner_iter=5000)
    mine = create_method("ot_group_lasso", rounds=200).plan(seen, context())
    best = group_lasso_objective(mine, seen, 0.05, 0.1)
    assert best <= group_lasso_objective(torch.from_numpy(theirs.coupling_), seen, 0.05, 0.1) + 1e-6
    assert best < group_lasso_objective(create_method("ot_sinkhorn").plan(seen, context()), seen, 0.05, 0.1) - 1e-4


@pytest.mark.parametrize(("name", "weight"), [("ot_class_reg", 0.3), ("ot_group_lasso", 1.0)])
def test_class_regularisers_unmix_the_classes(name, weight):
    """The largest share one class holds of a target sample's mass rises with the weight."""
    seen = toy(60, 50, move=1.5)
    members = one_hot(seen.source.y, 3, torch.float64)

    def purity(plan: torch.Tensor) -> float:
        return float((members.T @ plan).amax(0).sum())

    free = purity(create_method("ot_sinkhorn").plan(seen, context()))
    bound = purity(create_method(name, class_weight=weight).plan(seen, context()))
    assert bound > free + 0.02


# -- relaxed marginals --------------------------------------------------------------------------------------------


def test_unbalanced_equals_pots_class():
    seen = toy(30, 25)
    theirs = pots(ot.da.UnbalancedSinkhornTransport, seen, reg_e=0.05, reg_m=0.5, max_iter=20000, tol=1e-14)
    mine = create_method("ot_unbalanced", mass=0.5, iterations=5000).plan(seen, context())
    assert np.allclose(mine, theirs.coupling_, rtol=0, atol=1e-7)


def test_unbalanced_meets_its_optimality_conditions():
    """C + reg log(P / a b') + mass log(P 1 / a) + mass log(P' 1 / b) = 0 for every pair."""
    seen, reg, mass = toy(30, 25), 0.05, 0.3
    plan = create_method("ot_unbalanced", mass=mass).plan(seen, context())
    gradient = scaled_cost(seen) + reg * torch.log(plan * 750)
    gradient += mass * torch.log(30 * plan.sum(1, keepdim=True)) + mass * torch.log(25 * plan.sum(0))
    assert gradient.abs().max() < 1e-5
    assert float(plan.sum()) < 1


def test_unbalanced_tends_to_sinkhorn():
    seen = toy(30, 25)
    balanced = create_method("ot_sinkhorn").plan(seen, context())
    gaps = [
        float((create_method("ot_unbalanced", mass=m, iterations=20000).plan(seen, context()) - balanced).abs().sum())
        for m in (0.1, 1.0, 100.0)
    ]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-2


# -- neighbours and maps ------------------------------------------------------------------------------------------


def laplace_objective(plan: torch.Tensor, seen: Seen, weight: float, share: float, keep: str = "position") -> float:
    """Written out over all pairs of neighbours."""
    from sklearn.neighbors import kneighbors_graph

    cost = distances_between(seen.source.x, seen.target.x)
    us, ut = seen.source.x / cost.max().sqrt(), seen.target.x / cost.max().sqrt()
    total = float((plan * cost / cost.max()).sum())
    for part, x, images in ((share, us, len(us) * plan @ ut), (1 - share, ut, len(ut) * plan.T @ us)):
        graph = torch.from_numpy(kneighbors_graph(x.numpy(), 3).toarray())
        moved = images - x if keep == "displacement" else images
        total += weight * part * float((graph * distances_between(moved, moved)).sum() / graph.sum())
    return total


def test_laplace_equals_pots_class():
    """The same convex problem in POT's units: its optimum has the same value."""
    seen = toy(30, 25)
    cost = distances_between(seen.source.x, seen.target.x)
    us, ut = (x / cost.max().sqrt() for x in (seen.source.x, seen.target.x))
    for share, keep, kind in ((0.5, "position", "pos"), (0.8, "displacement", "disp")):
        total = 2 * (share * 30 + (1 - share) * 25) / 3
        theirs = ot.da.EMDLaplaceTransport(
            reg_type=kind, reg_lap=total, reg_src=2 * share * 30 / 3 / total, max_iter=600, tol=1e-12, inner_tol=1e-12
        ).fit(Xs=us.numpy(), Xt=ut.numpy())
        mine = create_method("ot_laplace", source_share=share, keep=keep, rounds=600, tolerance=0.0).plan(
            seen, context()
        )
        value = laplace_objective(mine, seen, 1.0, share, keep)
        assert marginals_hold(mine)
        assert abs(value - laplace_objective(torch.from_numpy(theirs.coupling_), seen, 1.0, share, keep)) < 3e-5


def test_laplace_without_weight_is_emd():
    seen = toy(30, 25)
    plan = create_method("ot_laplace", lap_weight=0.0).plan(seen, context())
    assert torch.allclose(plan, create_method("ot_emd").plan(seen, context()))


def test_laplace_keeps_neighbours_together():
    seen = toy(40, 40, move=2.0)
    options = {"source_share": 1.0, "tolerance": 1e-7}
    plans = [create_method("ot_laplace", lap_weight=w, **options).plan(seen, context()) for w in (1e-3, 1.0, 20.0)]
    energies = [laplace_objective(p, seen, 1.0, 1.0) - float((p * scaled_cost(seen)).sum()) for p in plans]
    assert energies[0] > 1.05 * energies[1] > 1.05**2 * energies[2]


def test_linear_mapping_equals_pots_class():
    """Centring both domains gives the map that POT finds with a bias."""
    seen = toy(40, 30)
    scale = distances_between(seen.source.x, seen.target.x).max().sqrt()
    us, ut = (seen.source.x / scale).numpy(), (seen.target.x / scale).numpy()
    theirs = ot.da.MappingTransport(mu=1, eta=1e-2, bias=True, max_iter=300, max_inner_iter=50, tol=1e-10)
    theirs.fit(Xs=us, Xt=ut)
    new = us + 1e-3
    aligned = create_method("ot_mapping", eta=1e-2, rounds=300).align(seen, context())
    moved = aligned.source_steps[0](torch.from_numpy(new) * scale)
    assert np.abs(moved.numpy() / float(scale) - theirs.transform(new)).max() < 2e-3


def test_kernel_mapping_equals_pots_class():
    seen = toy(30, 25)
    scale = distances_between(seen.source.x, seen.target.x).max().sqrt()
    us, ut = seen.source.x / scale, seen.target.x / scale
    us, mean_t = us - us.mean(0), ut.mean(0)
    from dazoo.ops.linalg.linear import median_gamma

    sigma = float((0.5 / median_gamma(us)).sqrt())
    theirs = ot.da.MappingTransport(kernel="gaussian", sigma=sigma, mu=1, eta=0.1, max_iter=20)
    theirs.fit(Xs=us.numpy(), Xt=(ut - mean_t).numpy())
    new = us + 1e-3
    aligned = create_method("ot_mapping", kernel="gaussian", eta=0.1, rounds=20).align(seen, context())
    moved = aligned.source_steps[0](seen.source.x + 1e-3 * scale)
    assert np.allclose((moved / scale - mean_t).numpy(), theirs.transform(new.numpy()), atol=1e-8)


def test_mapping_recovers_an_affine_map():
    """A symmetric positive definite map plus a shift is its own optimal transport; the map extends to new samples."""
    rng = np.random.default_rng(1)
    xs = torch.from_numpy(rng.standard_normal((80, 3)))
    half = rng.standard_normal((3, 3))
    a = torch.from_numpy(half @ half.T / 3 + 0.5 * np.eye(3))
    xt = (xs @ a + 4.0)[torch.from_numpy(rng.permutation(80))]
    seen = Seen(Labeled(xs, torch.arange(80) % 2, torch.zeros(80)), Unlabeled(xt), None, 2, "vector", UNSUPERVISED)
    step = create_method("ot_mapping", eta=1e-6).align(seen, context()).source_steps[0]
    new = torch.from_numpy(rng.standard_normal((10, 3)))
    assert torch.allclose(step(new), new @ a + 4.0, atol=1e-3)
