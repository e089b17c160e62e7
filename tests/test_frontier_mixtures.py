"""Methods of mixtures, clusters and augmented features: losses against slow transcriptions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dazoo.methods.base import create_method
from dazoo.methods.selftraining import pmtrans
from dazoo.methods.selftraining.covi import least_sure
from dazoo.methods.selftraining.icon import pair_loss, same_top
from dazoo.methods.selftraining.sf_da2 import Covariances, augmented
from dazoo.ops.draws import uniform
from dazoo.ops.selftraining import step_draws
from tests.adversarial import affine, array, softmax
from tests.small import at, draw, small_batch, small_net
from tests.test_selftraining import nll, probs

CLOSE = {"rel": 1e-4, "abs": 1e-8}  # the backbone computes in float32


def values(method, net, b, fraction):
    return {k: v.item() for k, v in method.losses(net, b, at(fraction)).items()}


def lively(method):
    """Predictions of all classes: a head whose scores have mean 0 over the batch, and large."""
    net = small_net(method)
    with torch.no_grad():
        mean, rows = net.body(small_batch().xt).mean(0), draw(3, 7, seed=9)
        net.head.weight.copy_(20.0 * (rows - (rows @ mean)[:, None] * mean / (mean @ mean)))
        net.head.bias.zero_()
    method.setup(net)
    return net.double()


# -- fixbi ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.3, 0.7])
def test_fixbi_matches_loops(fraction):
    method = create_method(
        "fixbi", share=0.8, spread=0.5, temperature=2.0, penalty_weight=0.5, match_weight=3.0, consistency_weight=2.0
    )
    net, b = lively(method), small_batch()
    with torch.no_grad():
        net.head_t.weight.add_(draw(3, 7, seed=3))
    nets = [lambda x: affine(net.head, array(net.body(x))), lambda x: affine(net.head_t, array(net.body_t(x)))]
    z = [m(b.xt) for m in nets]
    p = [softmax(v) for v in z]
    y = [v.argmax(1) for v in p]
    sure = [v.max(1) >= v.max(1).mean() - 0.5 * v.max(1).std(ddof=1) for v in p]
    assert all(0 < s.sum() < 6 for s in sure)
    out = values(method, net, b, fraction)
    for name, m, labels, share in zip(("sd", "td"), nets, y, (0.8, 0.2)):
        q = softmax(m(share * b.xs + (1 - share) * b.xt))
        expected = share * np.mean(nll(q, b.ys)) + (1 - share) * np.mean(nll(q, labels))
        assert out[name] == pytest.approx(expected, **CLOSE)
    if fraction < 0.5:
        total = 0.0
        for v, labels, s in zip(z, y, sure):
            q = softmax(v / 2.0)
            total += np.mean([-math.log(1 - q[i, labels[i]]) for i in range(6) if not s[i]])
        assert out["penalty"] == pytest.approx(0.5 * total, **CLOSE) and set(out) == {"sd", "td", "penalty"}
    else:
        one = np.mean([nll(p[0], y[1])[i] for i in range(6) if sure[1][i]])
        two = np.mean([nll(p[1], y[0])[i] for i in range(6) if sure[0][i]])
        assert out["match"] == pytest.approx(3.0 * (one + two), **CLOSE)
        half = [m((b.xs + b.xt) / 2) for m in nets]
        assert out["consistency"] == pytest.approx(2.0 * np.mean((half[0] - half[1]) ** 2), **CLOSE)
        assert set(out) == {"sd", "td", "match", "consistency"}


def test_fixbi_predicts_by_both():
    method = create_method("fixbi")
    net, b = lively(method), small_batch()
    with torch.no_grad():
        net.head_t.weight.neg_()
    both = probs(net, b.xt) + softmax(affine(net.head_t, array(net.body_t(b.xt))))
    np.testing.assert_allclose(softmax(array(method.predict(net, b.xt).scores)), both / 2, rtol=1e-5)


# -- covi -----------------------------------------------------------------------------------------------------------


def test_covi_matches_loops():
    method = create_method("covi", contrast_weight=3.0, consensus_weight=0.5, margin=0.2)
    net, b = lively(method), small_batch()

    def at_share(shares, xt=b.xt):
        s = torch.as_tensor(np.broadcast_to(shares, 6).copy())[:, None]
        return softmax(affine(net.head, array(net.body(s * b.xs + (1 - s) * xt))))

    grid = np.arange(1, 10) / 10
    h = np.stack([-(at_share(s) * np.log(at_share(s))).sum(1) for s in grid])
    best = grid[h.argmax(0)]
    np.testing.assert_allclose(array(least_sure(net, b.xs, b.xt)), best, rtol=1e-6)
    p = probs(net, b.xt)
    y, top = p.argmax(1), p.max(1)

    def soft(q, one, two, share):
        return np.array([s * a + (1 - s) * c for s, a, c in zip(share, nll(q, one), nll(q, two))])

    out = values(method, net, b, 0.5)
    assert out["vicinal"] == pytest.approx(soft(at_share(best), b.ys, y, best).mean(), **CLOSE)
    upper, lower = at_share(best + 0.2), at_share(best - 0.2)
    taken = (best + 0.2 < 0.901) & (best - 0.2 > 0.099) & (top >= top.mean() - top.std(ddof=1))
    assert 0 < taken.sum() < 6
    each = soft(upper, b.ys, lower.argmax(1), best + 0.2) + soft(lower, y, upper.argmax(1), best - 0.2)
    assert out["contrast"] == pytest.approx(3.0 * each[taken].mean() / 2, **CLOSE)
    order = uniform(6, 50, b.xs, "consensus").argsort()
    pairs = np.mean(nll(at_share(0.9), b.ys)) + np.mean(nll(at_share(0.9, b.xt[order]), b.ys))
    assert out["consensus"] == pytest.approx(0.5 * pairs / 2, **CLOSE)


# -- pmtrans --------------------------------------------------------------------------------------------------------


def test_pmtrans_matches_loops():
    method = create_method("pmtrans", trade_off=2.0, feature_weight=3.0, temperature=0.2)
    net, b = lively(method), small_batch()
    share = step_draws(50, 2303).beta(1.0, 1.0, (6, 1))[:, 0]
    x = torch.from_numpy(np.stack([s * a + (1 - s) * c for s, a, c in zip(share, array(b.xs), array(b.xt))]))
    f, fs, ft = (array(net.body(v)) for v in (x, b.xs, b.xt))
    p, y = softmax(affine(net.head, f)), probs(net, b.xt).argmax(1)
    label = np.mean([s * a + (1 - s) * c for s, a, c in zip(share, nll(p, b.ys), nll(p, y))])
    assert values(method, net, b, 0.5)["label"] == pytest.approx(2.0 * 0.5 * label, **CLOSE)

    def likeness(other):
        unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (f, other)]
        return softmax(unit[0] @ unit[1].T / 0.2)

    source, target, ys = likeness(fs), likeness(ft), array(b.ys)
    total = 0.0
    for i in range(6):
        partners = [j for j in range(6) if ys[j] == ys[i]]
        total += share[i] * -np.mean([math.log(source[i, j]) for j in partners])
        total += (1 - share[i]) * -math.log(target[i, i])
    assert values(method, net, b, 0.5)["feature"] == pytest.approx(3.0 * 0.5 * total / 6, **CLOSE)


@pytest.mark.parametrize(("shape", "cells"), [((200, 30), 1), ((200, 2, 48), 16), ((200, 3, 8, 8), 16)])
def test_every_cell_has_a_share_of_its_own(shape, cells):
    mixed, share = pmtrans.cell_shares(torch.zeros(shape), 1.0, 1)
    whole = mixed.expand(shape)
    torch.testing.assert_close(share, whole.flatten(1).mean(1))
    assert all(len(row.unique()) == cells for row in whole[:5])
    assert float(share.mean()) == pytest.approx(0.5, abs=0.06)
    assert float(share.std()) == pytest.approx((1 / 12 / cells) ** 0.5, rel=0.2)


# -- icon -----------------------------------------------------------------------------------------------------------


def test_pairs_are_found_by_their_largest_entries():
    f = torch.tensor([[9.0, 8, 1, 0], [2, 7, 1, 0], [0, 1, 8, 9], [5, 5.5, 0, 1]])
    expected = [[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 1, 0], [1, 1, 0, 1]]
    assert same_top(f, 2).tolist() == expected
    assert same_top(f, 9).tolist() == [[1.0] * 4] * 4


def test_pair_losses_match_loops():
    a, c = draw(4, 3, seed=1), draw(4, 3, seed=2)
    same = (torch.arange(4)[:, None] % 2 == torch.arange(4)[None] % 2).double()
    p, q = softmax(array(a)), softmax(array(c))
    each = []
    for i in range(4):
        for j in range(4):
            likely = float(p[i] @ q[j])
            each.append(-math.log((likely if same[i, j] else 1 - likely) + 1e-7))
    assert pair_loss(a, c, same).item() == pytest.approx(np.mean(each), rel=1e-12)


def test_icon_matches_its_parts():
    method = create_method("icon", trade_off=2.0, cluster_weight=3.0, invariance_weight=0.5, threshold=0.4)
    net, b = lively(method), small_batch()
    f = {k: net.body(x) for k, x in (("s", b.xs), ("u", b.xs_strong), ("t", b.xt), ("v", b.xt_strong))}
    z, k = ({n: part(v).detach() for n, v in f.items()} for part in (net.head, net.clusters))
    ranks, labels = same_top(f["t"], 5), (b.ys[:, None] == b.ys[None]).double()
    terms = method.losses(net, b, at(0.5))
    out = {n: v.item() for n, v in terms.items()}
    pairs_t, pairs_s = pair_loss(z["t"], z["v"], ranks), pair_loss(z["s"], z["u"], labels)
    assert out["pairs"] == pytest.approx(2.0 * float(pairs_t), **CLOSE)
    assert out["invariance"] == pytest.approx(0.5 * float(torch.stack([pairs_t, pairs_s]).var()), rel=1e-3)
    cluster = pair_loss(k["t"], k["v"], ranks) + pair_loss(k["s"], k["u"], labels)
    assert out["cluster"] == pytest.approx(3.0 * float(cluster), **CLOSE)
    body = net.body.bottleneck[0].weight
    for name, moves in (("cluster", False), ("pairs", False), ("invariance", True)):
        (g,) = torch.autograd.grad(terms[name], body, allow_unused=True, retain_graph=True)
        assert (g is not None and float(g.abs().sum()) > 0) == moves, name


# -- sf_da2 ---------------------------------------------------------------------------------------------------------


def test_sf_da2_matches_loops():
    method = create_method("sf_da2", spread_weight=2.0, fading=3.0, neighbours=2, disentangle_weight=0.7)
    net, b = lively(method), small_batch()
    f = array(net.body(b.xt))
    z = affine(net.head, f)
    p = softmax(z)
    rng = np.random.default_rng(0)
    bank_f, bank_p = rng.normal(size=(8, 7)), rng.dirichlet(np.ones(3), 8)
    bank_f /= np.linalg.norm(bank_f, axis=1, keepdims=True)
    b.memory.update(bank_f=torch.from_numpy(bank_f), bank_p=torch.from_numpy(bank_p))
    out = values(method, net, b, 0.5)
    unit = f / np.linalg.norm(f, axis=1, keepdims=True)
    total = 0.0
    for i in range(6):
        near = [j for j in np.argsort(-(unit[i] @ bank_f.T)) if j != i][:2]
        total -= sum(p[i] @ bank_p[j] for j in near)
    assert out["cluster"] == pytest.approx(total / 6, **CLOSE)
    off = sum((p[i] @ p[j]) ** 2 for i in range(6) for j in range(6) if i != j) / 6
    assert out["spread"] == pytest.approx(2.0 * 6**-3.0 * off, **CLOSE)
    y, cov = z.argmax(1), np.zeros((3, 7, 7))
    for c in set(y):
        cov[c] = 0.1 * np.cov(f[y == c].T, bias=True)
    np.testing.assert_allclose(array(net.covariances.s), cov, rtol=1e-4, atol=1e-9)
    label, like = bank_p.argmax(1), 0.0
    means = [bank_p[label == c].mean(0) if (label == c).any() else np.zeros(3) for c in range(3)]
    for c in range(3):
        for k in range(3):
            if c != k:
                size = np.linalg.norm(cov[c]) * np.linalg.norm(cov[k])
                cos = (cov[c] * cov[k]).sum() / size if size > 1e-12 else 0.0
                like += means[c] @ means[k] * (1 - cos)
    assert out["disentangle"] == pytest.approx(-0.7 * like / 2, rel=1e-3)


def test_augmentation_bounds_what_sampled_features_would_give():
    """And equals it where the covariance is 0."""
    gen = torch.Generator().manual_seed(0)
    w, f, y = draw(3, 4, seed=1), draw(5, 4, seed=2), torch.eye(3).double()[[0, 1, 2, 0, 1]]
    roots = 0.3 * draw(3, 4, 4, seed=3)
    s, z = roots @ roots.transpose(1, 2), f @ w.T
    plain = -2.0 * torch.log_softmax(z, 1).sum(1).mean()
    torch.testing.assert_close(augmented(z, w, y, 0.0 * s, 2.0), plain)
    noise = torch.randn(4000, 5, 4, generator=gen, dtype=torch.float64)
    moved = f + 2.0**0.5 * torch.einsum("nc,cij,mnj->mni", y, roots, noise)
    sampled = -2.0 * torch.log_softmax(moved @ w.T, -1).sum(-1).mean()
    assert float(plain) < float(sampled) < float(augmented(z, w, y, s, 2.0))


def test_covariances_of_absent_classes_stay():
    part = Covariances(2, 3)
    part(draw(4, 3).float(), torch.eye(2)[[0, 0, 0, 0]], 0.5)
    assert float(part.s[0].abs().sum()) > 0 and float(part.s[1].abs().sum()) == 0
    before = part.s.clone()
    part.eval()
    part(draw(4, 3, seed=5).float(), torch.eye(2)[[0, 1, 0, 1]], 0.5)
    assert torch.equal(part.s, before)
