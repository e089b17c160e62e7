"""Runs of exact plans among priced pairs, against the network simplex among all pairs."""

from __future__ import annotations

import numpy as np
import ot
import torch

from dazoo.methods.base import create_method
from dazoo.methods.reweighting import kde_ratio
from dazoo.methods.transport import _simplex
from dazoo.methods.transport._simplex import Plans, conditional_gradient, plan_cost
from tests.test_subspace import context, toy
from tests.test_transport_sources import sources


def test_priced_pairs_give_the_plans_of_all_pairs(monkeypatch):
    monkeypatch.setattr(_simplex, "SMALL", 0)
    monkeypatch.setattr(_simplex, "NEAR", 1)
    rng = np.random.default_rng(0)
    plans, a, b = Plans(context()), ot.unif(30), ot.unif(45)
    for scale in (1.0, 1.0, 1e6, 1e-6):
        cost = scale * rng.standard_normal((30, 45))
        plan = plans(cost)
        assert abs(plan_cost(plan, cost) - ot.emd2(a, b, cost)) < 1e-9 * scale
        assert np.allclose(plan.sum(axis=1), a) and np.allclose(plan.sum(axis=0), b)


def test_conditional_gradients_reach_the_projection_of_a_plan():
    """The plan nearest to one that is a plan already is that one; the gap bounds what is missing."""
    rng = np.random.default_rng(1)
    wanted = ot.sinkhorn(ot.unif(12), ot.unif(9), rng.random((12, 9)), 0.5)
    plans = Plans(context())
    found = conditional_gradient(-wanted, lambda p: p.toarray(), plans(rng.random((12, 9))), plans, 400, 0.0)
    best = -0.5 * float((wanted**2).sum())
    assert -1e-12 < found.values[-1] - best <= found.gap + 1e-12
    assert all(b <= a + 1e-15 for a, b in zip(found.values, found.values[1:]))
    assert np.abs(found.plan.toarray() - wanted).max() < 0.01


def test_mapping_of_few_samples_is_pots_after_as_many_rounds():
    seen = toy(20, 15, d=40)
    us, ut = (x - x.mean(0) for x in (seen.source.x, seen.target.x))
    us, ut = us / 10, ut / 10
    _, theirs = ot.mapping.joint_OT_mapping_linear(
        us.numpy(), ut.numpy(), mu=1.0, eta=1e-3, numItermax=3, numInnerItermax=10, stopThr=1e-5, stopInnerThr=1e-6
    )
    mine, _ = create_method("ot_mapping", rounds=3).joint(us, ut, torch.tensor(1.0), context())
    assert np.abs(mine.numpy() - theirs).max() < 1e-6


def test_densities_of_rows_with_few_terms(monkeypatch):
    rng = torch.Generator().manual_seed(0)
    x, data = (5 * torch.randn(n, 12, generator=rng, dtype=torch.float64) for n in (40, 300))
    exact = kde_ratio.log_sums(x, data)
    found = torch.from_numpy(kde_ratio._few_terms(x.numpy(), data.numpy()))
    assert bool(torch.isfinite(found).any())
    some = torch.isfinite(found)
    torch.testing.assert_close(found[some], exact[some], rtol=0, atol=1e-4)
    alike = torch.zeros(5, 12, dtype=torch.float64)
    assert bool(torch.from_numpy(kde_ratio._few_terms(alike.numpy(), 0.1 * data.numpy())).isnan().all())


def test_a_far_sample_is_said_to_flatten_the_plans_of_several_sources():
    seen, _ = sources([[8, 8, 8], [8, 8, 8]], [9, 9, 9])
    seen.source.x[0] += 1e3
    for name in ("jcpot", "wbt"):
        ctx = context()
        create_method(name, reg=0.5).fit(seen, ctx)
        assert any("nearly uniform" in w for w in ctx.warnings), name
