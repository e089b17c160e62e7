"""Deep transport methods: terms against slow transcriptions, distances against their definitions, phases."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from dazoo.engine.learner import Alone
from dazoo.methods.base import Progress
from dazoo.methods.deep_transport.etd import semi_dual, smooth_transform
from dazoo.methods.deep_transport.wdgrl import gradient_penalty
from dazoo.ops.draws import uniform, unit_directions
from dazoo.ops.sliced import sliced_wasserstein
from tests.stage import Stage, stage


def close(actual: torch.Tensor, expected: float, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(actual.item(), expected, rtol=rtol, atol=1e-12)


def joint_cost(st: Stage, a: float, b: float) -> np.ndarray:
    p = st.probs(st.ft)
    return np.array(
        [[a * ((st.s[i] - st.t[j]) ** 2).sum() - b * np.log(p[j, st.ys[i]]) for j in range(st.m)] for i in range(st.n)]
    )


def assert_phase_moves_only(st: Stage, index: int) -> None:
    """One descent step of a phase, through the learner that training uses, changes its parts and no other."""
    learner = Alone(st.method, st.net)
    phase = st.method.phases[index]
    moving = learner.phases[phase]
    terms = learner.terms(phase, st.batch, Progress(0.5, 3, 10, 1.0))
    grads = torch.autograd.grad(sum(terms.values()), [learner.parameters[n] for n in moving], allow_unused=True)
    parts = {n.split(".")[0] for n in moving}
    assert parts == set(phase.update)
    assert {n.split(".")[0] for n, g in zip(moving, grads) if g is not None and bool(g.any())} == parts


# -- plans --------------------------------------------------------------------------------------------------------


def test_deep_jdot_is_the_cheapest_joint_assignment():
    st = stage("deep_jdot", n=5, m=5, trade_off=2.0, feature_weight=0.3, label_weight=0.7)
    cost = joint_cost(st, 0.3, 0.7)
    best = min(sum(cost[i, j] for i, j in enumerate(order)) / 5 for order in itertools.permutations(range(5)))
    close(st.terms()["transport"], 2.0 * best)


def test_transport_gradient_pulls_partners_together():
    st = stage("deep_jdot", n=5, m=5, feature_weight=1.0, label_weight=0.0)
    cost = joint_cost(st, 1.0, 0.0)
    order = min(itertools.permutations(range(5)), key=lambda o: sum(cost[i, j] for i, j in enumerate(o)))
    gs, _ = st.grads(st.terms()["transport"])
    np.testing.assert_allclose(gs.numpy(), [2 * (st.s[i] - st.t[j]) / 5 for i, j in enumerate(order)], rtol=1e-9)


def test_deep_jdot_weights_reach_their_parts():
    st = stage("deep_jdot", label_weight=0.0)
    head = torch.autograd.grad(st.terms()["transport"], st.net.head.weight, allow_unused=True)[0]
    assert head is None or not head.any()
    st = stage("deep_jdot", feature_weight=0.0)
    gs, gt = st.grads(st.terms()["transport"])
    assert not gs.any() and gt.any()


def test_jumbot_solves_the_unbalanced_problem():
    """No perturbation of the plan lowers its objective, written out in full."""
    from dazoo.ops.transport import unbalanced_plan

    st = stage("jumbot", n=4, m=5, feature_weight=0.5, label_weight=0.2, reg=0.2, mass=0.7)
    cost = joint_cost(st, 0.5, 0.2)
    plan = unbalanced_plan(torch.tensor(cost), 0.2, 0.7).numpy()

    def kl(x: np.ndarray, y: np.ndarray) -> float:
        return (x * np.log(x / y) - x + y).sum()

    def objective(p: np.ndarray) -> float:
        a, b = np.full(4, 0.25), np.full(5, 0.2)
        return (p * cost).sum() + 0.2 * kl(p, np.outer(a, b)) + 0.7 * (kl(p.sum(1), a) + kl(p.sum(0), b))

    rng = np.random.default_rng(0)
    here = objective(plan)
    assert all(objective(plan * np.exp(1e-3 * rng.normal(size=plan.shape))) > here for _ in range(50))
    close(st.terms()["transport"], (plan * cost).sum())


def test_jumbot_leaves_outliers_alone():
    """A target row far from every source row keeps less mass than the marginal says; exact plans cannot do that."""
    from dazoo.ops.transport import unbalanced_plan

    cost = torch.rand(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cost[:, 3] = 5.0
    loose, tight = unbalanced_plan(cost, 0.05, 0.1).sum(0), unbalanced_plan(cost, 0.05, 1000.0).sum(0)
    assert loose[3] < 0.001 and tight[3] > 0.24
    torch.testing.assert_close(tight.sum(), torch.ones((), dtype=torch.float64), rtol=0.01, atol=0)
    middle = unbalanced_plan(cost, 0.05, 1.0).sum(0)
    assert loose[3] < middle[3] < tight[3] and middle.sum() < 1


# -- slices -------------------------------------------------------------------------------------------------------


def test_sliced_distance_of_equal_sizes_sorts():
    gen = torch.Generator().manual_seed(0)
    a, b = (torch.randn(6, 4, dtype=torch.float64, generator=gen) for _ in range(2))
    directions = unit_directions(4, 10, 0, a)
    expected = np.mean([((np.sort(a.numpy() @ d) - np.sort(b.numpy() @ d)) ** 2).mean() for d in directions.numpy().T])
    close(sliced_wasserstein(a, b, directions), expected)
    even = torch.full((6,), 1 / 6, dtype=torch.float64)
    close(sliced_wasserstein(a, b, directions, even, even), expected)


def test_sliced_distance_equals_weighted_quantiles():
    """Integer weights are repeated rows: the weighted distance of few equals the plain distance of many."""
    gen = torch.Generator().manual_seed(1)
    a, b = torch.randn(3, 4, dtype=torch.float64, generator=gen), torch.randn(4, 4, dtype=torch.float64, generator=gen)
    ka, kb = torch.tensor([1, 2, 3]), torch.tensor([3, 1, 0, 2])
    directions = unit_directions(4, 20, 0, a)
    many = sliced_wasserstein(a.repeat_interleave(ka, 0), b.repeat_interleave(kb, 0), directions)
    close(sliced_wasserstein(a, b, directions, ka.double() / 6, kb.double() / 6), many.item())


def test_sliced_distance_of_a_translation():
    """Along a direction m a shift v moves every quantile by <v, m>."""
    a = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    v = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    directions = unit_directions(3, 12, 1, a)
    close(sliced_wasserstein(a, a + v, directions), (v @ directions).square().mean().item())
    close(sliced_wasserstein(a, a.flip(0), directions), 0.0)
    sizes = torch.cat([a, a[:0]]), torch.cat([a, a]) + v
    close(sliced_wasserstein(*sizes, directions), (v @ directions).square().mean().item())


def test_sliced_alignment_adds_classes():
    st = stage("sliced_alignment", trade_off=1.0, class_weight=2.0, projections=8)
    terms = st.terms(ramp=0.5, step=4)
    directions = unit_directions(st.width, 8, 4, st.fs)
    p = torch.tensor(st.probs(st.ft))
    values = []
    for c in range(st.n_classes):
        mine = st.fs[st.ys == c].detach()
        even = torch.full((len(mine),), 1 / len(mine), dtype=torch.float64)
        values.append(sliced_wasserstein(mine, st.ft.detach(), directions, even, p[:, c] / p[:, c].sum()).item())
    close(terms["sliced_class"], 2.0 * 0.5 * np.mean(values))
    close(terms["sliced"], sliced_wasserstein(st.fs, st.ft, directions).item())


def test_sliced_alignment_ignores_classes_the_batch_lacks():
    st = stage("sliced_alignment", trade_off=0.0)
    st.ys = torch.zeros(st.n, dtype=torch.int64)
    value = st.terms()["sliced_class"]
    assert bool(torch.isfinite(value))
    directions = unit_directions(st.width, st.method.projections, 3, st.fs)
    p = torch.tensor(st.probs(st.ft))[:, 0]
    even = torch.full((st.n,), 1 / st.n, dtype=torch.float64)
    close(value, sliced_wasserstein(st.fs, st.ft, directions, even, p / p.sum()).item())


def test_swd_terms():
    st = stage("swd", trade_off=3.0, projections=16, n=6)
    p1, p2 = st.probs(st.ft), st.net.head2(st.ft).softmax(1).detach().numpy()
    total = 0.0
    for d in unit_directions(st.n_classes, 16, 3, st.fs).numpy().T:
        total += ((np.sort(p1 @ d) - np.sort(p2 @ d)) ** 2).mean() / 16
    apart, together = st.terms("apart"), st.terms("together")
    close(together["together"], 3.0 * total)
    close(apart["apart"], -3.0 * total)
    q = st.net.head2(st.fs).log_softmax(1).detach().numpy()
    close(st.terms("source")["cls2"], -np.mean([q[i, y] for i, y in enumerate(st.ys.tolist())]))
    close(apart["cls2"], st.terms("source")["cls2"].item())


def test_swd_of_equal_classifiers_is_zero():
    st = stage("swd")
    st.net.head2.load_state_dict(st.net.head.state_dict())
    close(st.terms("together")["together"], 0.0)


def test_swd_phases_move_what_they_say():
    st = stage("swd")
    for i in range(3):
        assert_phase_moves_only(st, i)
    gs, gt = st.grads(st.terms("together")["together"])
    assert not gs.any() and gt.any()


# -- critics and potentials ---------------------------------------------------------------------------------------


def test_wdgrl_terms():
    st = stage("wdgrl", trade_off=0.5, penalty_weight=2.0, disc_width=8)
    scores = [st.net.disc(f).detach().numpy().mean() for f in (st.fs, st.ft)]
    close(st.terms()["wasserstein"], 0.5 * (scores[0] - scores[1]))
    critic = st.terms("critic", step=3)
    close(critic["critic"], scores[1] - scores[0])
    u = uniform(6, 3, st.fs).numpy()[:, None]
    points = np.concatenate([st.s, st.t, u * st.s[:6] + (1 - u) * st.t])
    w1, b1 = (p.detach().numpy() for p in (st.net.disc[0].weight, st.net.disc[0].bias))
    w2 = st.net.disc[2].weight.detach().numpy()[0]
    slopes = [w1.T @ (w2 * (w1 @ h + b1 > 0)) for h in points]
    close(critic["penalty"], 2.0 * np.mean([(np.linalg.norm(g) - 1) ** 2 for g in slopes]))


def test_wdgrl_penalty_of_a_linear_critic():
    """A linear critic has the same slope everywhere: the penalty is (|w| - 1)^2, with gradient 2 (|w| - 1) w / |w|."""
    w = torch.tensor([3.0, 4.0], dtype=torch.float64, requires_grad=True)
    value = gradient_penalty(lambda h: h @ w, torch.randn(5, 2, dtype=torch.float64))
    close(value, 16.0)
    np.testing.assert_allclose(torch.autograd.grad(value, w)[0].numpy(), [2 * 4 * 0.6, 2 * 4 * 0.8])
    flat = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    at_zero = gradient_penalty(lambda h: h @ flat, torch.ones(3, 2, dtype=torch.float64))
    assert bool(torch.isfinite(torch.autograd.grad(at_zero, flat)[0]).all())


def test_wdgrl_critic_phase_moves_the_critic_alone():
    st = stage("wdgrl")
    assert st.method.phases[0].repeat == 5
    assert_phase_moves_only(st, 0)
    gs, gt = st.grads(sum(st.terms("critic").values()) + 0 * st.fs.sum())
    assert not gs.any() and not gt.any()


def test_wdgrl_critic_and_features_pull_in_opposite_directions():
    st = stage("wdgrl", trade_off=1.0)
    gap = st.terms()["wasserstein"]
    close(st.terms("critic")["critic"], -gap.item())


def test_smooth_transform_tends_to_the_minimum():
    cost = torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    v = torch.tensor([0.1, -0.3, 0.2], dtype=torch.float64)
    torch.testing.assert_close(smooth_transform(cost, v, 1e-4), (cost - v).min(1).values, rtol=0, atol=2e-4)
    close(semi_dual(cost, v + 7.0, 0.3), semi_dual(cost, v, 0.3).item())


@pytest.mark.parametrize("reg", [0.1, 1.0])
def test_semi_dual_optimum_is_entropic_transport(reg):
    import ot

    rng = np.random.default_rng(0)
    cost = rng.random((5, 4))
    a, b = np.full(5, 0.2), np.full(4, 0.25)
    plan = ot.sinkhorn(a, b, cost, reg, method="sinkhorn_log", numItermax=10000, stopThr=1e-12)
    primal = (plan * cost).sum() + reg * (plan * np.log(plan / np.outer(a, b))).sum()
    v = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [v], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = -semi_dual(torch.tensor(cost), v, reg)
        loss.backward()
        return loss

    solver.step(closure)
    close(semi_dual(torch.tensor(cost), v, reg), primal, rtol=1e-7)


def test_etd_terms():
    st = stage("etd", trade_off=0.7, entropy_weight=0.2, reg=0.3, hidden=8)
    qs, qt = (
        getattr(st.net, k)(st.net.head(f)).detach().numpy() for k, f in (("attend_s", st.fs), ("attend_t", st.ft))
    )
    pt = st.probs(st.ft)
    s = np.array([[1 / (1 + np.exp(-qs[i] @ qt[j])) for j in range(st.m)] for i in range(st.n)])
    c = np.array([[np.linalg.norm(st.s[i] - st.t[j]) for j in range(st.m)] for i in range(st.n)])
    c = c * s / s.mean()
    v = st.net.kantorovich(st.ft).detach().numpy()[:, 0]
    soft = [-0.3 * np.log(np.mean([np.exp((v[j] - c[i, j]) / 0.3) for j in range(st.m)])) for i in range(st.n)]
    w = np.mean(soft) + v.mean()
    terms = st.terms()
    close(terms["transport"], 0.7 * w, rtol=1e-8)
    close(terms["ent"], 0.2 * np.mean([-(p * np.log(p)).sum() for p in pt]))
    close(st.terms("potential")["potential"], -w, rtol=1e-8)


def test_etd_potential_phase_moves_the_potential_alone():
    st = stage("etd")
    assert_phase_moves_only(st, 0)
    gs, gt = st.grads(st.terms("potential")["potential"] + 0 * st.fs.sum())
    assert not gs.any() and not gt.any()
