"""Transport methods against POT's own classes, linear programming and their optimality conditions."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import ot
import pytest
import scipy.optimize
import torch

from dazoo.core.errors import DazooError
from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import create_method
from dazoo.methods.transport._plan import check_size, entropic, entropic_plan
from dazoo.ops.classwise import one_hot
from dazoo.ops.linalg.linear import distances_between
from tests.test_subspace import arrays, context, toy


def scaled_cost(seen: Seen) -> torch.Tensor:
    cost = distances_between(seen.source.x, seen.target.x)
    return cost / cost.max()


def pots(cls, seen: Seen, **options):
    """A transport class of POT, fitted with the cost divided by its largest entry."""
    xs, xt, ys = arrays(seen)
    if cls is not ot.da.EMDLaplaceTransport:
        options["norm"] = "max"
    return cls(**options).fit(Xs=xs, ys=ys, Xt=xt)


def marginals_hold(plan: torch.Tensor, atol: float = 1e-7) -> bool:
    n, m = plan.shape
    return np.allclose(plan.sum(1), 1 / n, rtol=0, atol=atol) and np.allclose(plan.sum(0), 1 / m, rtol=0, atol=atol)


def additive(a: torch.Tensor) -> float:
    """How far ``a`` (n, m) is from the form u_i + v_j."""
    return float((a - a.mean(0) - a.mean(1, keepdim=True) + a.mean()).abs().max())


# -- plans --------------------------------------------------------------------------------------------------------


def test_emd_equals_pots_class():
    seen = toy(30, 25)
    theirs = pots(ot.da.EMDTransport, seen)
    mine = create_method("ot_emd").align(seen, context())
    assert np.allclose(mine.zs, theirs.transform(Xs=seen.source.x.numpy()))
    new = seen.source.x + 0.01
    moved = mine.source_steps[0](new)
    assert np.allclose(moved, theirs.transform(Xs=new.numpy()))


def test_sinkhorn_equals_pots_class():
    seen = toy(30, 25)
    theirs = pots(ot.da.SinkhornTransport, seen, reg_e=0.05, tol=1e-12, max_iter=5000)
    mine = create_method("ot_sinkhorn").align(seen, context())
    assert np.allclose(mine.zs, theirs.transform(Xs=seen.source.x.numpy()), atol=1e-5)


@pytest.mark.parametrize("name", ["ot_class_reg", "ot_group_lasso", "ot_unbalanced"])
def test_plans_on_tensors_equal_plans_on_arrays(name, monkeypatch):
    """On a GPU POT gets tensors, on the CPU arrays; the plans agree to 1e-6."""
    import importlib

    seen = toy(30, 25)
    arrays_plan = create_method(name).plan(seen, context())
    for module in ("dazoo.methods.transport._plan", f"dazoo.methods.transport.{name}"):
        loaded = importlib.import_module(module)
        if hasattr(loaded, "posed"):
            monkeypatch.setattr(loaded, "posed", lambda x, native=None: x if native is None else x.numpy())
    tensors_plan = create_method(name).plan(seen, context())
    assert torch.allclose(arrays_plan, tensors_plan, rtol=0, atol=1e-6)


@pytest.mark.parametrize("reg", [0.05, 0.004])
def test_sinkhorn_on_tensors_equals_sinkhorn_on_arrays(reg):
    cost = scaled_cost(toy(20, 15))
    plans = [entropic_plan(cost, reg, context(), 3000, native=native) for native in (False, True)]
    assert torch.allclose(*plans, rtol=0, atol=1e-6)


def test_plain_and_log_domain_scaling_agree():
    cost = scaled_cost(toy(12, 10))
    plain, scalings, settled = entropic(cost, 0.0051, 20000)
    log, _, settled_log = entropic(cost, 0.0049, 20000)
    assert settled and settled_log
    assert marginals_hold(plain) and marginals_hold(log)
    again, _, _ = entropic(cost, 0.0051, 1, start=scalings)
    assert torch.allclose(plain, again, rtol=0, atol=1e-8)
    assert torch.allclose(plain, log, rtol=0, atol=5e-3)


def test_lazy_sinkhorn_is_sinkhorn():
    seen = toy(40, 30)
    whole, mass = create_method("ot_sinkhorn").move(seen, context())
    lazy, lazy_mass = create_method("ot_sinkhorn", memory_gib=1e-9, large="lazy").move(seen, context())
    assert torch.allclose(whole, lazy, atol=1e-5)
    assert torch.allclose(mass, lazy_mass, atol=1e-7)


def test_too_large_problems_say_what_they_need_and_what_to_do():
    with pytest.raises(DazooError, match=r"4\.5 GiB.*memory_gib=4"):
        check_size(10_000, 10_000)
    with pytest.raises(DazooError, match="large='minibatch' or large='lazy'"):
        create_method("ot_sinkhorn", memory_gib=1e-6).fit(toy(), context())
    with pytest.raises(DazooError, match="large must be one of"):
        create_method("ot_emd", large="magic").fit(toy(), context())
    for name in ("jdot", "ot_label_prop"):
        with pytest.raises(DazooError, match="memory_gib"):
            create_method(name, memory_gib=1e-6).fit(toy(), context())


@pytest.mark.parametrize("name", ["ot_emd", "ot_sinkhorn", "ot_class_reg", "ot_partial"])
def test_minibatches_move_towards_the_exact_images(name):
    """Parts of half the samples come near the whole plan's images, nearer than staying or moving to the mean."""
    seen = toy(120, 100, move=1.5)
    small = {"memory_gib": 1e-6, "large": "minibatch", "batch": 60, "passes": 8}
    whole, _ = create_method(name).move(seen, context())
    parts, mass = create_method(name, **small).move(seen, context())
    again, _ = create_method(name, **small).move(seen, context())
    assert torch.equal(parts, again)
    assert (parts - whole).norm() < 0.5 * (whole - seen.target.x.mean(0)).norm()
    assert (parts - whole).norm() < 0.5 * (whole - seen.source.x).norm()
    assert np.isclose(float(mass.sum()), 0.9 if name == "ot_partial" else 1.0)


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


def test_partial_plan_is_the_linear_programmes_optimum():
    seen = toy(9, 7)
    cost = distances_between(seen.source.x, seen.target.x)
    plan = create_method("ot_partial", share=0.6).plan(seen, context())
    rows, cols = np.kron(np.eye(9), np.ones(7)), np.kron(np.ones(9), np.eye(7))
    reference = scipy.optimize.linprog(
        cost.numpy().ravel(), A_ub=np.vstack([rows, cols]), b_ub=np.r_[np.full(9, 1 / 9), np.full(7, 1 / 7)],
        A_eq=np.ones((1, 63)), b_eq=[0.6],
    )  # fmt: skip
    assert np.isclose(float((plan * cost).sum()), reference.fun)
    assert np.isclose(float(plan.sum()), 0.6)
    assert (plan.sum(1) <= 1 / 9 + 1e-12).all() and (plan.sum(0) <= 1 / 7 + 1e-12).all()


def test_partial_leaves_out_what_has_no_counterpart():
    """A class far from all of the target is not moved, and does not train the classifier."""
    rng = np.random.default_rng(0)
    y = torch.arange(60) % 3
    centres = torch.tensor([[0.0, 0.0], [4.0, 0.0], [60.0, 60.0]], dtype=torch.float64)
    x = centres[y] + 0.3 * torch.from_numpy(rng.standard_normal((60, 2)))
    xt = centres[torch.arange(40) % 2] + 0.5 + 0.3 * torch.from_numpy(rng.standard_normal((40, 2)))
    seen = Seen(Labeled(x, y, torch.zeros(60, dtype=torch.int64)), Unlabeled(xt), None, 3, "vector", UNSUPERVISED)
    _, mass = create_method("ot_partial", share=2 / 3).move(seen, context())
    assert float(mass[y == 2].max()) < 1e-12 and float(mass[y < 2].sum()) > 2 / 3 - 1e-9
    model = create_method("ot_partial", share=2 / 3).fit(seen, context())
    assert torch.equal(model.predict(xt).labels, torch.arange(40) % 2)
    exact = create_method("ot_emd").fit(seen, context())
    assert (exact.predict(xt).labels == 2).float().mean() > 0.2


def test_partial_with_all_the_mass_is_emd():
    seen = toy(20, 15)
    plan = create_method("ot_partial", share=1.0).plan(seen, context())
    assert torch.equal(plan, create_method("ot_emd").plan(seen, context()))


# -- labels over the plan -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["emd", "sinkhorn"])
def test_label_prop_equals_pots_transform_labels(solver):
    seen = toy(30, 25)
    cls, options = ot.da.EMDTransport, {}
    if solver == "sinkhorn":
        cls, options = ot.da.SinkhornTransport, {"reg_e": 0.05, "tol": 1e-12, "max_iter": 5000}
    shares = pots(cls, seen, **options).transform_labels(ys=seen.source.y.numpy())
    model = create_method("ot_label_prop", solver=solver).fit(seen, context())
    assert np.allclose(model.predict(seen.target.x).probs, 0.999 * shares + 0.001 / 3, atol=1e-6)


def test_label_prop_follows_the_plan_of_a_monge_map():
    """A permuted shift of the source: every target sample gets its own pre-image's label, or value, exactly."""
    seen = toy(40, d=4)
    order = torch.from_numpy(np.random.default_rng(1).permutation(40))
    xt = (2 * seen.source.x + 3.0)[order]
    classes = Seen(seen.source, Unlabeled(xt), None, 3, "vector", UNSUPERVISED)
    assert torch.equal(create_method("ot_label_prop").fit(classes, context()).predict(xt).labels, seen.source.y[order])
    y = seen.source.x[:, 0].clone()
    values = Seen(Labeled(seen.source.x, y, seen.source.domain), Unlabeled(xt), None, 0, "vector", UNSUPERVISED)
    assert torch.allclose(create_method("ot_label_prop").fit(values, context("ridge")).predict(xt).values, y[order])


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


def test_a_plan_that_one_far_sample_flattens_is_said():
    """The largest cost sets the scale of reg: far from all others, one sample makes the plan nearly uniform."""
    seen = toy(60, 50, d=4, move=0.0)
    far = seen.source.x.clone()
    far[0] = 100.0
    for x, said in ((seen.source.x, False), (far, True)):
        ctx = context("logistic")
        create_method("ot_sinkhorn").fit(replace(seen, source=replace(seen.source, x=x)), ctx)
        assert any("nearly uniform" in w for w in ctx.warnings) is said


def test_frank_wolfe_says_how_far_it_stopped_from_the_optimum():
    for rounds, said in ((1, True), (2000, False)):
        ctx = context("logistic")
        create_method("ot_laplace", lap_weight=10.0, rounds=rounds, tolerance=1e-12).plan(toy(30, 25), ctx)
        assert any("duality gap" in w for w in ctx.warnings) is said
