"""Methods that tell several sources apart: their terms, what they reduce to, and how sources are weighed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dazoo.contracts.toys import TINY, toy_task
from dazoo.core.setting import MULTI_SOURCE, UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import create_method
from dazoo.methods.multi_source._by_source import sources_of
from dazoo.ops import moments
from dazoo.ops.batches import even_groups
from dazoo.ops.sources import (
    aggregation_weights,
    coral_by_source,
    hard_worst,
    moment_distance,
    perplexity_vote,
    relation_gap,
    smooth_worst,
)
from tests.stage import Stage
from tests.test_subspace import context


def stage(name: str, **options) -> Stage:
    keys = {k: options.pop(k) for k in ("n", "m", "n_sources", "ds", "memory", "n_classes") if k in options}
    return Stage(create_method(name, **options), **{"n": 9, "n_sources": 3, **keys})


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def losses(st: Stage, score=None) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropy per source by the head, and the discriminators' losses, row by row."""
    ds = np.arange(st.n) % st.n_sources
    ce = -torch.log_softmax(st.net.head(st.fs), 1)[torch.arange(st.n), st.ys].detach().numpy()
    h = []
    for k, disc in enumerate(st.net.discs):
        zs, zt = (torch.sigmoid(disc(f).squeeze(-1)).detach().numpy() for f in (st.fs, st.ft))
        h.append(-np.log(zs[ds == k]).mean() - np.log(1 - zt).mean())
    return np.array([ce[ds == k].mean() for k in range(st.n_sources)]), np.array(h)


def test_batches_hold_as_many_rows_of_each_source() -> None:
    domain = torch.tensor([0] * 50 + [1] * 4 + [2] * 11)
    rows = {"s": torch.arange(12), "t": torch.arange(12)}
    drawn = even_groups(rows, domain, torch.Generator().manual_seed(0))
    assert domain[drawn["s"]].bincount().tolist() == [4, 4, 4] and torch.equal(drawn["t"], rows["t"])
    assert len(drawn["s"].unique()) == 12


# -- MDAN -------------------------------------------------------------------------------------------------------------


def test_mdan_terms() -> None:
    st = stage("mdan", trade_off=0.3, gamma=4.0)
    e, h = losses(st)
    assert st.terms()["worst"].item() == pytest.approx(np.log(np.exp(4 * (e - 0.3 * h)).sum()) / 4)
    assert stage("mdan", trade_off=0.3, form="hard").terms()["worst"].item() == pytest.approx(e.max() + 0.3 * h.min())
    program = stage("mdan", trade_off=0.3, gamma=4.0, as_program=True).terms()["worst"]
    assert program.item() == pytest.approx(np.log(np.exp(4 * (e + 0.3 * h)).sum()) / 4)
    # features climb the discriminators' losses by the weights of the smooth maximum
    share = np.exp(4 * (e - 0.3 * h)) / np.exp(4 * (e - 0.3 * h)).sum()
    gt = st.grads(st.terms(ramp=0.5)["worst"])[1]
    by_hand = sum(
        a * torch.autograd.grad(torch.nn.functional.softplus(d(st.ft).squeeze(-1)).mean(), st.ft)[0]
        for a, d in zip(share, st.net.discs)
    )
    torch.testing.assert_close(gt, -0.5 * 0.3 * by_hand)


def test_mdan_becomes_the_maximum() -> None:
    e, h, every = random(4).abs(), random(4, seed=1).abs(), torch.ones(4, dtype=torch.float64)
    worst = (e - 0.5 * h).max()
    gaps = [float(smooth_worst(e, -h, every, 0.5, gamma) - worst) for gamma in (1.0, 10.0, 1e4)]
    assert gaps[0] > gaps[1] > gaps[2] >= 0 and gaps[2] < 1e-3
    assert torch.isfinite(smooth_worst(1e6 * e, h, every, 0.5, 100.0))
    one = torch.ones(1, dtype=torch.float64)
    assert smooth_worst(e[:1], h[:1], one, 0.5, 7.0).item() == pytest.approx(float(e[0] + 0.5 * h[0]))
    assert hard_worst(e[:1], h[:1], one, 0.5).item() == pytest.approx(float(e[0] + 0.5 * h[0]))
    there = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    kept = there.bool()
    assert smooth_worst(e, h, there, 0.5, 3.0).item() == pytest.approx(
        smooth_worst(e[kept], h[kept], every[:3], 0.5, 3.0).item()
    )
    assert hard_worst(e, h, there, 0.5).item() == pytest.approx(float(e[kept].max() + 0.5 * h[kept].min()))


# -- DARN -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.1, 1.0, 5.0])
def test_darn_weights_solve_their_problem(tau: float) -> None:
    """No other point of the simplex does better, and what is left out has no weight."""
    every = torch.ones(5, dtype=torch.float64)
    for seed in range(5):
        g = 2 * random(5, seed=seed) + 100 * seed
        a = aggregation_weights(g, every, tau)
        assert a.min() >= 0 and a.sum().item() == pytest.approx(1.0)
        others = torch.distributions.Dirichlet(0.5 * torch.ones(5, dtype=torch.float64)).sample((300,))
        others = torch.cat([others, 0.999 * a + 0.001 * others])
        assert (others @ g + tau * others.norm(dim=1)).min() >= a @ g + tau * a.norm() - 1e-9
    there = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    part = aggregation_weights(g, there, tau)
    assert part[2] == 0
    torch.testing.assert_close(part[there.bool()], aggregation_weights(g[there.bool()], every[:4], tau))
    torch.testing.assert_close(aggregation_weights(0 * g, every, tau), every / 5)


def test_darn_terms() -> None:
    st = stage("darn", trade_off=0.3, tau=2.0)
    e, h = losses(st)
    a = aggregation_weights(torch.from_numpy(e - 0.3 * h), torch.ones(3, dtype=torch.float64), 2.0).numpy()
    terms = st.terms()
    assert terms["cls"].item() == pytest.approx(a @ e) and terms["dom"].item() == pytest.approx(0.3 * a @ h)
    assert 0 < a.min() < a.max()


# -- DCTN -------------------------------------------------------------------------------------------------------------


def test_dctn_votes_by_scores() -> None:
    p = random(3, 4, 5).softmax(-1)
    even = perplexity_vote(torch.zeros(3, 4).double(), torch.zeros(3).double(), p)
    torch.testing.assert_close(even, p.mean(0))
    sure = torch.tensor([[40.0], [-40.0], [-40.0]]).double().expand(3, 4)
    torch.testing.assert_close(perplexity_vote(sure, torch.zeros(3).double(), p), p[0])


def test_dctn_terms() -> None:
    a = torch.tensor([0.2, 0.9, 0.4], dtype=torch.float64)
    st = stage("dctn", trade_off=0.7, pseudo_weight=0.6, threshold=0.35, memory={"concentration": a})
    _, h = losses(st)
    terms, ds = st.terms(ramp=0.5), torch.arange(9) % 3
    ce = [-torch.log_softmax(head(st.fs), 1)[torch.arange(9), st.ys] for head in st.net.own_head]
    assert terms["cls"].item() == pytest.approx(float(torch.stack([ce[d][i] for i, d in enumerate(ds)]).mean()))
    assert terms["dom"].item() == pytest.approx(0.5 * h.mean())
    z = torch.stack([disc(st.ft).squeeze(-1) for disc in st.net.discs])
    p = torch.stack([head(st.ft).softmax(1) for head in st.net.own_head])
    score = -torch.log(1 - torch.sigmoid(z)) + a[:, None]
    q = (score[..., None] * p).sum(0) / score.sum(0)[:, None]
    top, y = q.max(1)
    sure = top >= 0.35
    assert sure.sum() > 0
    lost = [-(sure * torch.log(each[torch.arange(6), y])).mean() for each in p]
    assert terms["pseudo"].item() == pytest.approx(0.6 * 0.5 * float(torch.stack(lost).mean()))
    st.net.concentration.copy_(a)
    torch.testing.assert_close(st.method.predict(st.net, st.ft).scores.exp(), q)


# -- moments ----------------------------------------------------------------------------------------------------------


def test_m3sda_of_one_source_is_moment_matching() -> None:
    fs, ft = random(8, 4), random(6, 4, seed=1)
    by_hand = (fs.mean(0) - ft.mean(0)).norm() + (fs.square().mean(0) - ft.square().mean(0)).norm()
    torch.testing.assert_close(moment_distance(fs, ft, torch.ones(8, 1).double()), by_hand)
    for name in ("m3sda", "m3sda_heads"):
        one = stage(name, n_sources=1, trade_off=0.5)
        w = torch.ones(9, 1, dtype=torch.float64)
        torch.testing.assert_close(one.terms()["moments"], 0.5 * moment_distance(one.fs, one.ft, w))


def test_m3sda_heads_of_their_own() -> None:
    st = stage("m3sda_heads")
    ce = torch.stack([-torch.log_softmax(head(st.fs), 1)[torch.arange(9), st.ys] for head in st.net.own_head])
    torch.testing.assert_close(st.terms()["cls"], ce[torch.arange(9) % 3, torch.arange(9)].mean())
    votes = torch.stack([head(st.ft).softmax(1) for head in st.net.own_head]).mean(0)
    torch.testing.assert_close(st.method.predict(st.net, st.ft).scores.exp(), votes)
    assert not st.net.head.weight.requires_grad


def test_m3sda_beta_phases() -> None:
    st = stage("m3sda_beta", gap_weight=0.3)
    pairs = list(zip(st.net.own_head, st.net.own_head2))
    gap = torch.stack([(a(st.ft).softmax(1) - c(st.ft).softmax(1)).abs().mean() for a, c in pairs]).mean()
    torch.testing.assert_close(st.terms("losses_classifiers")["gap"], -0.3 * gap)
    torch.testing.assert_close(st.terms("losses_encoder")["gap"], 0.3 * gap)
    assert st.grads(st.terms("losses_classifiers")["gap"])[1].abs().sum() == 0
    assert {"cls", "cls2", "moments"} == set(st.terms())


def test_ms_coral_of_one_source_is_deep_coral() -> None:
    fs, ft = random(8, 4), random(6, 4, seed=1)
    ones = torch.ones(8, 1, dtype=torch.float64)
    torch.testing.assert_close(coral_by_source(fs, ft, ones), moments.coral(fs, ft))
    lone = torch.zeros(8, 2, dtype=torch.float64)
    lone[:7, 0], lone[7, 1] = 1.0, 1.0  # a source of one row has no covariance
    torch.testing.assert_close(coral_by_source(fs, ft, lone), moments.coral(fs[:7], ft))


# -- LtC-MSDA ---------------------------------------------------------------------------------------------------------


def test_ltc_msda_relations_vanish_where_domains_agree() -> None:
    block = random(3, 3).abs()
    every = torch.ones(12, dtype=torch.float64)
    assert relation_gap(block.repeat(4, 4), every, 4).item() == 0
    other = block.repeat(4, 4).clone()
    other[0, 3] += 0.6
    blocks = [other[i : i + 3, j : j + 3] for i in range(0, 12, 3) for j in range(0, 12, 3)]
    by_hand = np.mean([float((a - b).norm()) for a in blocks for b in blocks]) / 3
    assert relation_gap(other, every, 4).item() == pytest.approx(by_hand)
    gone = every.clone()
    gone[0] = 0
    assert relation_gap(other, gone, 4).item() == 0


def test_ltc_msda_terms() -> None:
    st = stage("ltc_msda", trade_off=2.0, width=0.6, decay=0.25, n=12)
    st.memory.update(prototypes=random(12, 5, seed=4), present=torch.ones(12, dtype=torch.float64))
    ds, yt = torch.arange(12) % 3, st.net.head(st.ft).argmax(1)
    v = st.memory["prototypes"].clone()
    for d in range(4):
        for c in range(3):
            rows = st.fs[(ds == d) & (st.ys == c)] if d < 3 else st.ft[yt == c]
            if len(rows):
                v[3 * d + c] = 0.25 * v[3 * d + c] + 0.75 * rows.mean(0)
    scale = torch.cdist(v, v).square().mean().detach()
    first, second = (layer.weight.T for layer in st.net.graph)

    def graph(f: torch.Tensor) -> torch.Tensor:
        """One sample at a time, with the prototypes as a graph of its own."""
        out = []
        for row in f:
            nodes = torch.cat([v, row[None]])
            a = torch.exp(-torch.cdist(nodes, nodes).square() / (2 * 0.36 * scale))
            a[:-1, -1] = 0  # prototypes do not listen to samples
            a = a / a.sum(1, keepdim=True)
            out.append((a @ (a @ nodes @ first).relu() @ second)[-1])
        return torch.stack(out)

    terms = st.terms(ramp=0.5)
    expected = torch.nn.functional.cross_entropy(graph(st.fs), st.ys)
    torch.testing.assert_close(terms["graph"], expected, rtol=1e-6, atol=1e-8)
    p = graph(st.ft).softmax(1)
    torch.testing.assert_close(terms["ent"], 0.1 * 0.5 * -(p * p.log()).sum(1).mean(), rtol=1e-6, atol=1e-8)
    kernel = torch.exp(-torch.cdist(v, v).square() / (2 * 0.36 * scale))
    gap = relation_gap(kernel, torch.ones(12, dtype=torch.float64), 4)
    torch.testing.assert_close(terms["relation"], 2.0 * 0.5 * gap, rtol=1e-6, atol=1e-8)


# -- transport, votes -------------------------------------------------------------------------------------------------


def cloud(rng: np.random.Generator, n: int, flip: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.arange(n) % 2
    x = torch.from_numpy(rng.normal(size=(n, 2)) * 0.3) + 3 * y[:, None] * torch.tensor([1.0, 0.0]).double()
    return x, 1 - y if flip else y


def many(parts: list[tuple[torch.Tensor, torch.Tensor]], xt: torch.Tensor) -> Seen:
    x, y = torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
    domain = torch.cat([torch.full((len(x),), k) for k, (x, _) in enumerate(parts)])
    return Seen(Labeled(x, y, domain), Unlabeled(xt), None, 2, "vector", MULTI_SOURCE, n_sources=len(parts))


def test_wjdot_of_one_source_is_jdot() -> None:
    rng = np.random.default_rng(0)
    seen = many([cloud(rng, 30)], cloud(rng, 24)[0])
    ours = create_method("wjdot", rounds=3).fit(seen, context()).predict(seen.target.x).scores
    theirs = create_method("jdot", rounds=3).fit(seen, context()).predict(seen.target.x).scores
    torch.testing.assert_close(ours, theirs)


def test_wjdot_leaves_a_source_that_misleads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A far source whose classes stand the other way round loses its mass, and the target is read by the other."""
    from dazoo.methods.multi_source import wjdot

    shares, simplex = [], wjdot._simplex
    monkeypatch.setattr(wjdot, "_simplex", lambda a: shares.append(simplex(a)) or shares[-1])
    rng = np.random.default_rng(0)
    near, (xf, yf), (xt, yt) = cloud(rng, 30), cloud(rng, 60, flip=True), cloud(rng, 24)
    seen = many([near, (xf + torch.tensor([0.0, 6.0]).double(), yf)], xt)
    model = create_method("wjdot", rounds=20).fit(seen, context())
    assert (model.predict(xt).labels == yt).all() and shares[-1][1] < 0.05
    assert shares[-1].sum().item() == pytest.approx(1.0)


def test_source_vote_is_the_mean_of_single_models() -> None:
    task = toy_task(MULTI_SOURCE)
    options = Options(recipe=TINY, backbone="mlp")
    found = fit(create_method("source_vote"), task.seen(), options=options).predictor.predict(task.target.x)
    seen, single = task.seen(), []
    for k in range(2):
        part = torch.nonzero(seen.source.domain == k)[:, 0]
        held = Labeled(seen.source.x[part], seen.source.y[part], torch.zeros_like(part))
        alone = Seen(held, seen.target, None, 3, "vector", UNSUPERVISED)
        single.append(fit(create_method("source_only"), alone, options=options).predictor.predict(task.target.x))
    expected = torch.stack([p.scores.softmax(1) for p in single]).mean(0)
    torch.testing.assert_close(found.scores.softmax(1), expected)


def test_sources_are_one_hot() -> None:
    st = stage("mdan")
    assert sources_of(st.net, torch.tensor([2, 0]), st.fs).tolist() == [[0, 0, 1], [1, 0, 0]]
