"""Plans, mini-batches and label propagation against POT's own classes and linear programming."""

from __future__ import annotations

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
from dazoo.ops.linalg.linear import distances_between
from tests.plans import marginals_hold, pots, scaled_cost
from tests.test_subspace import context, toy

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
        create_method("ot_sinkhorn", memory_gib=1e-6, large="error").fit(toy(), context())
    with pytest.raises(DazooError, match="large must be one of"):
        create_method("ot_emd", large="magic").fit(toy(), context())


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
