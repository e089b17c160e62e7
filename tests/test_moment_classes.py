"""Moment methods of classes and layers: each term against a slow transcription of its formula, and its limits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from dazoo.core.errors import UnknownName
from dazoo.methods.base import Progress, create_method
from tests.moments import FixedLook, close, five_gaussians, mmd_unbiased, sq_distances, weighted_mmd
from tests.stage import stage

# -- joint, class-wise and learned kernels ------------------------------------------------------------------------


def test_fused_mmd_equals_the_mmd_of_outer_products():
    from dazoo.methods.moment.rtn import fused_mmd

    st = stage("rtn")
    z = np.array(
        [
            np.outer(f, p).ravel()
            for f, p in zip(np.concatenate([st.s, st.t]), torch.cat([st.fs, st.ft])[:, :3].tolist())
        ]
    )
    close(fused_mmd((st.fs, st.fs[:, :3]), (st.ft, st.ft[:, :3])), mmd_unbiased(five_gaussians(z), st.n))


def test_rtn_terms():
    st = stage("rtn", trade_off=0.5, entropy_weight=0.2, residual_weight=0.7)
    terms = st.terms(ramp=0.5)
    scores = st.net.head(st.fs)
    total = (scores + 0.7 * st.net.residual(scores)).log_softmax(1).detach().numpy()
    close(terms["cls"], -np.mean([total[i, y] for i, y in enumerate(st.ys.tolist())]))
    z = np.array(
        [
            np.outer(f, p).ravel()
            for f, p in zip(np.concatenate([st.s, st.t]), np.concatenate([st.scores(st.fs), st.scores(st.ft)]))
        ]
    )
    close(terms["mmd"], 0.5 * mmd_unbiased(five_gaussians(z), st.n))
    close(terms["ent"], 0.5 * 0.2 * np.mean([-(p * np.log(p)).sum() for p in st.probs(st.ft)]))
    torch.testing.assert_close(st.method.predict_source(st.net, st.fs).scores.log_softmax(1), torch.tensor(total))
    torch.testing.assert_close(st.method.predict(st.net, st.fs).scores, scores)


def contrast(k: np.ndarray, ys: np.ndarray, yt: np.ndarray, n_classes: int) -> float:
    """Mean MMD of equal classes minus mean MMD of different classes, by indices."""
    same, other = [], []
    for c in range(n_classes):
        for d in range(n_classes):
            a, b = (ys == c).astype(float), (yt == d).astype(float)
            if a.sum() and b.sum():
                (same if c == d else other).append(weighted_mmd(k, a / a.sum(), b / b.sum()))
    return np.mean(same) - np.mean(other)


@pytest.mark.parametrize("layers", ["features", "both"])
def test_can_contrasts_classes(layers):
    yt = np.array([0, 0, 2, -1, 2, 1])  # -1: left out
    assign = torch.tensor([[float(y == c) for c in range(3)] for y in yt], dtype=torch.float64)
    st = stage("can", trade_off=0.5, layers=layers, memory={"assign": assign})
    expected = contrast(five_gaussians(np.concatenate([st.s, st.t])), st.ys.numpy(), yt, 3)
    if layers == "both":
        p = np.concatenate([st.probs(st.fs), st.probs(st.ft)])
        expected += contrast(five_gaussians(p), st.ys.numpy(), yt, 3)
    close(st.terms()["cdd"], 0.5 * expected)


def test_can_takes_a_bandwidth_of_the_program_for_every_pair_of_classes():
    yt = np.array([0, 0, 2, -1, 2, 1])
    assign = torch.tensor([[float(y == c) for c in range(3)] for y in yt], dtype=torch.float64)
    st = stage("can", trade_off=0.5, layers="features", as_program=True, memory={"assign": assign})
    same, other = [], []
    for c in range(3):
        for d in range(3):
            rows = np.concatenate([st.s[st.ys.numpy() == c], st.t[yt == d]])
            sq, n, a = sq_distances(rows), len(rows), int((st.ys.numpy() == c).sum())
            k = sum(np.exp(-sq / (sq.sum() / (n * n - n) / 4 * 2**i)) for i in range(5))
            mmd = k[:a, :a].mean() + k[a:, a:].mean() - 2 * k[:a, a:].mean()
            (same if c == d else other).append(mmd)
    close(st.terms()["cdd"], 0.5 * (np.mean(same) - np.mean(other)))
    gs, gt = st.grads(st.terms()["cdd"])
    assert torch.isfinite(gs).all() and torch.isfinite(gt).all() and gt[3].abs().sum() == 0


def test_can_keeps_statistics_of_each_domain():
    from tests.small import small_batch, small_net

    assign = torch.eye(3, dtype=torch.float64)[torch.arange(6) % 3]
    b = small_batch(memory={"assign": assign})
    for own in (True, False):
        method = create_method("can", domain_norms=own)
        net = small_net(method, norm="batch")
        method.losses(net, b, Progress(0.5, 1, 2, 0.5))
        layer = next(m for m in net.body.modules() if isinstance(m, torch.nn.BatchNorm1d))
        if own:
            kept = net.target_norms.layers[0].running_mean
            assert layer.num_batches_tracked == 1 and not torch.allclose(kept, layer.running_mean)
        else:
            assert layer.num_batches_tracked == 2 and not hasattr(net, "target_norms")
        net.eval()
        both = [p(net, b.xt).scores for p in (method.predict, method.predict_source)]
        assert torch.equal(*both) is not own
    assert not hasattr(small_net(create_method("can", domain_norms=True)), "target_norms")  # no norms to double
    for name in ("dann+can", "can+mcc"):  # put together it predicts as others do
        assert not any(field.endswith("domain_norms") for field in vars(create_method(name)))
        member = next(m for m in create_method(name).methods if m.name == "can")
        assert member.domain_norms is False
    with pytest.raises(UnknownName, match="domain_norms"):
        create_method("can+mcc", **{"can.domain_norms": True})


def test_can_clusters_from_source_means():
    """Three directions, the target's turned a little: clusters keep the source's names; a stray sample is left out."""
    st = stage("can", min_samples=3, max_distance=0.02, width=3)
    gen = torch.Generator().manual_seed(0)
    ys = torch.arange(30) % 3
    fs = torch.eye(3, dtype=torch.float64)[ys] * 4 + 0.1 * torch.randn(30, 3, dtype=torch.float64, generator=gen)
    yt = torch.arange(24) % 3
    ft = torch.eye(3, dtype=torch.float64)[yt] * 9 + 0.1 * torch.randn(24, 3, dtype=torch.float64, generator=gen) + 0.5
    ft[0] = torch.tensor([1.0, 1.0, 1.0])
    with torch.no_grad():
        assign = st.method.refresh(st.net, FixedLook(st.net, fs, ft, ys))["assign"]
    assert assign[0].sum() == 0
    assert torch.equal(assign[1:].argmax(1), yt[1:]) and torch.equal(assign.sum(1)[1:], torch.ones(23).double())
    rare = torch.cat([ft[yt == 0], ft[yt == 1], ft[yt == 2][:2]])
    with torch.no_grad():
        assign = st.method.refresh(st.net, FixedLook(st.net, fs, rare, ys))["assign"]
    assert assign[:, 2].sum() == 0 and assign[:, 1].sum() == 8


def test_spherical_k_means_improves_every_round():
    from dazoo.methods.moment.can import spherical_k_means

    f = torch.randn(60, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    totals = [spherical_k_means(f, f[:5], rounds)[2].sum().item() for rounds in range(1, 12)]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(totals)) and totals[-1] < totals[0]
    centres, label, distance = spherical_k_means(f, f[:5])
    z = f / f.norm(dim=1, keepdim=True)
    torch.testing.assert_close(distance, (z - centres[label]).square().sum(1) / 4)
    scaled = spherical_k_means(f * torch.linspace(0.1, 9, 60, dtype=torch.float64)[:, None], f[:5])
    assert torch.equal(scaled[1], label)


def test_mran_terms():
    st = stage("mran", trade_off=0.5, branch_weight=0.3, branches=2, branch_width=4)
    (ls, hs), (lt, ht) = st.method._both(st.net, st.fs), st.method._both(st.net, st.ft)
    guess, y = lt.argmax(1).numpy(), st.ys.numpy()
    values = []
    for a, b in zip([st.fs, *hs], [st.ft, *ht]):
        k = five_gaussians(torch.cat([a, b]).detach().numpy())
        shared = [c for c in range(3) if c in y and c in guess]
        per_class = [weighted_mmd(k, (y == c) / (y == c).sum(), (guess == c) / (guess == c).sum()) for c in shared]
        values.append(np.mean(per_class))
    assert len(values) == 3
    close(st.terms(ramp=0.4)["cmmd"], 0.5 * 0.4 * np.mean(values))
    p = ls.log_softmax(1).detach().numpy()
    close(st.terms()["cls"], -np.mean([p[i, c] for i, c in enumerate(y)]))


def test_mran_scores_are_linear_in_all_representations():
    st = stage("mran", branch_weight=0.3, branches=2, branch_width=4)
    scores, hidden = st.method._both(st.net, st.fs)
    side_by_side = torch.cat([st.fs, *hidden], 1)
    weight = torch.cat([st.net.head.weight, *(0.3 * h.weight for h in st.net.branch_head)], 1)
    bias = st.net.head.bias + 0.3 * sum(h.bias for h in st.net.branch_head)
    torch.testing.assert_close(scores, side_by_side @ weight.T + bias)
    torch.testing.assert_close(st.method.predict(st.net, st.fs).scores, scores)
    assert len(list(st.net.branch[0].children())) < len(list(st.net.branch[1].children()))


def test_ddan_mixes_two_distances():
    at = {
        mu: stage("ddan", trade_off=1.0, memory={"mu": torch.tensor(mu, dtype=torch.float64)}).terms()
        for mu in (0.0, 0.3, 1.0)
    }
    st = stage("ddan")
    k = five_gaussians(np.concatenate([st.s, st.t]))
    marginal = mmd_unbiased(k, st.n)
    y, guess = st.ys.numpy(), st.probs(st.ft).argmax(1)
    shared = [c for c in range(3) if c in y and c in guess]
    within = np.mean([weighted_mmd(k, (y == c) / (y == c).sum(), (guess == c) / (guess == c).sum()) for c in shared])
    close(at[0.3]["marginal"], 0.7 * marginal)
    close(at[0.3]["conditional"], 0.3 * within, rtol=1e-6)
    close(at[0.0]["conditional"], 0.0)
    close(at[1.0]["marginal"], 0.0)


def test_a_distance_limits():
    from dazoo.ops.adistance import a_distance

    gen = torch.Generator().manual_seed(0)
    a, b = torch.randn(200, 3, generator=gen), torch.randn(200, 3, generator=gen)
    assert a_distance(a, b) < 0.3
    assert a_distance(a, b + 20.0) == 2.0
    assert 0.3 < a_distance(a, b + 1.0) < 2.0
    assert a_distance(a[:3], b) == 0.0


def test_balance_follows_the_shift():
    """Classes that swap places leave the marginal as it is; a shift of everything counts once for every part."""
    from dazoo.ops.adistance import conditional_share

    gen = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    x = torch.randn(200, 3, generator=gen) + 6.0 * y[:, None]
    again = torch.randn(200, 3, generator=gen) + 6.0 * y[:, None]
    swapped = torch.randn(200, 3, generator=gen) + 6.0 * (1 - y)[:, None]
    assert conditional_share(x, swapped, y, y, 2) > 0.9
    assert conditional_share(x, again + 50.0, y, y, 2) == pytest.approx(1 - 2 / 6)
    assert conditional_share(x[:3], x[:3], y[:3], y[:3], 2) == 0.5


def test_adv_skm_is_the_mmd_of_its_map():
    st = stage("adv_skm", trade_off=0.5, spectral_width=4)
    part = st.net.spectral
    z = []
    for f in np.concatenate([st.s, st.t]):
        h = np.cos(part.first.weight.detach().numpy() @ f + part.first.bias.detach().numpy())
        h = np.cos(part.second.weight.detach().numpy() @ h + part.second.bias.detach().numpy())
        z.append(np.concatenate([h, part.plain(torch.tensor(f)).detach().numpy()]))
    value = mmd_unbiased(five_gaussians(np.array(z)), st.n)
    close(st.terms()["mmd"], 0.5 * value)
    close(st.terms("ascend")["kernel"], -value)


def test_adv_skm_phases_play_against_each_other():
    st = stage("adv_skm", trade_off=1.0)
    assert [p.update for p in st.method.phases] == [("spectral",), ("body", "head")]
    weight = st.net.spectral.first.weight
    up = torch.autograd.grad(st.terms("ascend")["kernel"], weight)[0]
    down = torch.autograd.grad(st.terms()["mmd"], weight)[0]
    torch.testing.assert_close(up, -down)
    gs, gt = st.grads(st.terms("ascend")["kernel"] + 0 * st.fs.sum())
    assert not gs.any() and not gt.any()
