"""Self-training methods of 2021 to 2023: losses and averages against slow transcriptions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dazoo.methods.base import create_method
from dazoo.methods.selftraining.mic import masked
from dazoo.ops.draws import normal
from tests.adversarial import affine, array, perceptron, softmax
from tests.small import at, draw, small_batch, small_net
from tests.test_selftraining import nll, probs, terms

CLOSE = {"rel": 1e-5, "abs": 1e-9}  # the backbone computes in float32


def entropies(p):
    return -(p * np.log(p)).sum(1)


def sharp_net(method):
    """Predictions that differ from sample to sample."""
    net = small_net(method)
    with torch.no_grad():
        rows = draw(3, 7, seed=9)
        mean = net.body(small_batch().xt).mean(0)
        net.head.weight.copy_(20.0 * (rows - (rows @ mean)[:, None] * mean / (mean @ mean)))
        net.head.bias.zero_()
    return net


def train(method, steps=1, **hparams):
    """A method's terms of the last of some calls, and what its averages have become."""
    method = create_method(method, **hparams)
    net, b = sharp_net(method), small_batch()
    for _ in range(steps):
        out = method.losses(net, b, at(0.5))
    return {k: v.item() for k, v in out.items()}, net, b


# -- softmatch, freematch -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("align", [False, True])
def test_softmatch_matches_loops(align):
    out, net, b = train("softmatch", 3, trade_off=2.0, decay=0.2, align=align)
    weak, strong = probs(net, b.xt), probs(net, b.xt_strong)
    mean, mu, var = np.full(3, 1 / 3), 1 / 3, 1.0
    for _ in range(3):
        mean = 0.2 * mean + 0.8 * weak.mean(0)
        aligned = weak / (3 * mean) if align else weak
        top = (aligned / aligned.sum(1, keepdims=True)).max(1)
        mu, var = 0.2 * mu + 0.8 * top.mean(), 0.2 * var + 0.8 * top.var(ddof=1)
    weights = [1.0 if t >= mu else math.exp(-((mu - t) ** 2) / (2 * var / 2**2)) for t in top]
    assert min(weights) < 1.0
    assert out["pseudo"] == pytest.approx(2.0 * np.mean(weights * np.array(nll(strong, weak.argmax(1)))), **CLOSE)
    assert float(net.average.mu) == pytest.approx(mu, **CLOSE) and float(net.average.var) == pytest.approx(var, **CLOSE)


def test_softmatch_with_a_large_variance_is_plain_pseudo_labelling():
    method = create_method("softmatch", decay=0.999)
    net, b = small_net(method), small_batch()
    net.average.var.fill_(1e12)
    out = method.losses(net, b, at(0.5))
    strong = probs(net, b.xt_strong)
    assert out["pseudo"].item() == pytest.approx(np.mean(nll(strong, probs(net, b.xt).argmax(1))), **CLOSE)


def test_averages_rest_outside_of_training():
    method = create_method("softmatch")
    net, b = small_net(method), small_batch()
    net.eval()
    method.losses(net, b, at(0.5))
    assert float(net.average.var) == 1.0


def test_freematch_matches_loops():
    out, net, b = train("freematch", 2, trade_off=2.0, fair_weight=0.5, decay=0.1)
    weak, strong = probs(net, b.xt), probs(net, b.xt_strong)
    y = weak.argmax(1)
    tau, p, h = 1 / 3, np.full(3, 1 / 3), np.full(3, 1 / 3)
    for _ in range(2):
        tau, p = 0.1 * tau + 0.9 * weak.max(1).mean(), 0.1 * p + 0.9 * weak.mean(0)
        h = 0.1 * h + 0.9 * np.bincount(y, minlength=3) / 6
    kept = [i for i in range(6) if weak[i].max() >= tau * p[y[i]] / p.max()]
    assert 0 < len(kept) < 6
    assert out["pseudo"] == pytest.approx(2.0 * sum(nll(strong, y)[i] for i in kept) / 6, **CLOSE)
    mean = strong[kept].mean(0)
    share = np.bincount(strong[kept].argmax(1), minlength=3) / len(kept)
    v = np.array([m / s if s else 0.0 for m, s in zip(mean, share)])
    u = p / h
    expected = sum(a / u.sum() * math.log(c / v.sum() + 1e-12) for a, c in zip(u, v))
    assert out["fair"] == pytest.approx(0.5 * expected, **CLOSE)


# -- debias_pl ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("debias", [0.0, 0.7])
def test_debias_pl_matches_loops(debias):
    out, net, b = train("debias_pl", 2, trade_off=2.0, decay=0.1, debias=debias, threshold=0.5)
    weak, strong = probs(net, b.xt), probs(net, b.xt_strong)
    before = 0.1 / 3 + 0.9 * weak.mean(0)
    after = 0.1 * before + 0.9 * weak.mean(0)
    q = weak / before**debias
    q /= q.sum(1, keepdims=True)
    z = strong * after**debias
    z /= z.sum(1, keepdims=True)
    kept = [i for i in range(6) if q[i].max() >= 0.5]
    assert len(kept) > 0
    assert out["pseudo"] == pytest.approx(2.0 * sum(nll(z, q.argmax(1))[i] for i in kept) / 6, **CLOSE)
    assert array(net.average.p) == pytest.approx(after, **CLOSE)
    if not debias:
        plain, _, _ = train("fixmatch", trade_off=2.0, threshold=0.5)
        assert out["pseudo"] == pytest.approx(plain["pseudo"], **CLOSE)


# -- dst ------------------------------------------------------------------------------------------------------------


def test_dst_matches_loops():
    method = create_method("dst", trade_off=2.0, worst_weight=0.5, threshold=0.4, margin=3.0)
    net, b = small_net(method), small_batch()
    out = {k: v.item() for k, v in method.losses(net, b, at(0.5)).items()}
    fs, ft, fu = (array(net.body(x)) for x in (b.xs, b.xt, b.xt_strong))
    q = softmax(affine(net.head, ft))
    given = softmax(perceptron(net.pseudo_head, fu))
    kept = [-math.log(given[i, q[i].argmax()]) if q[i].max() >= 0.4 else 0.0 for i in range(6)]
    assert sum(v > 0 for v in kept) > 0 and out["pseudo"] == pytest.approx(2.0 * np.mean(kept), **CLOSE)
    ws, wt = softmax(perceptron(net.worst_head, fs)), softmax(perceptron(net.worst_head, ft))
    source, target = affine(net.head, fs).argmax(1), affine(net.head, ft).argmax(1)
    agree = np.mean([-math.log(ws[i, c]) for i, c in enumerate(source)])
    err = np.mean([math.log(1 - wt[i, c]) for i, c in enumerate(target)])
    assert out["worst"] == pytest.approx(-(err - 3.0 * agree), rel=1e-4)


def test_pseudo_labels_of_dst_never_reach_the_head_that_gives_them():
    method = create_method("dst", threshold=0.0)
    net, b = small_net(method), small_batch()
    out = method.losses(net, b, at(0.5))
    for term, parts in {"pseudo": ("head",), "worst": ("head", "pseudo_head")}.items():
        moving = [p for n, p in net.named_parameters() if n.split(".")[0] in parts]
        assert all(g is None for g in torch.autograd.grad(out[term], moving, allow_unused=True, retain_graph=True))
    body, worst = net.body.bottleneck[0].weight, net.worst_head[0].weight
    g = {s: torch.autograd.grad(out["worst"], (body, worst), retain_graph=True) for s in (1,)}[1]
    method = create_method("dst", threshold=0.0, worst_weight=0.2)
    more = torch.autograd.grad(method.losses(net, b, at(0.5))["worst"], (body, worst))
    torch.testing.assert_close(more[0], 2 * g[0])  # the body's gradient has the weight, that of the worst head has not
    torch.testing.assert_close(more[1], g[1])


# -- mic ------------------------------------------------------------------------------------------------------------


def test_mic_matches_loops():
    method = create_method("mic", trade_off=2.0, ratio=0.5, decay=0.8)
    net, b = small_net(method), small_batch()
    with torch.no_grad():
        net.head.weight.mul_(-1.0)
    out = method.losses(net, b, at(0.5))
    teacher = softmax(array(net.teacher(b.xt)[0]))
    seen = probs(net, masked(b.xt, 0.5, 50))
    expected = [q.max() * v for q, v in zip(teacher, nll(seen, teacher.argmax(1)))]
    assert out["masked"].item() == pytest.approx(2.0 * np.mean(expected), **CLOSE)
    before = net.teacher.head.weight.clone()
    method.after_step(net, b, at(0.5))
    torch.testing.assert_close(net.teacher.head.weight, 0.8 * before + 0.2 * net.head.weight)
    method.after_step(net, b, at(0.0))
    torch.testing.assert_close(net.teacher.head.weight, net.head.weight)


@pytest.mark.parametrize("shape", [(40, 50), (40, 3, 64), (40, 3, 28, 28), (40, 1, 8, 8)])
def test_a_share_of_the_cells_is_hidden(shape):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)) + 1.0
    for ratio in (0.3, 0.7):
        out = masked(x, ratio, 3)
        hidden = out != x
        assert float(hidden.float().mean()) == pytest.approx(ratio, abs=0.06)
        if x.ndim > 2:  # whole cells over all channels, set to 0
            assert bool((out[hidden] == 0).all())
            assert torch.equal(hidden, hidden[:, :1].expand_as(hidden))
        else:
            torch.testing.assert_close(out[hidden], x.mean(0).expand_as(x)[hidden])
    if x.ndim == 4:
        side = x.shape[-1] // 4
        cells = (masked(x, 0.5, 3) == 0).float().unfold(2, side, side).unfold(3, side, side).flatten(4)
        assert torch.equal(cells.amin(-1), cells.amax(-1))
    assert torch.equal(masked(x, 0.5, 3), masked(x, 0.5, 3)) and not torch.equal(masked(x, 0.5, 3), masked(x, 0.5, 4))


# -- sentry ---------------------------------------------------------------------------------------------------------


def test_sentry_matches_loops():
    method = create_method("sentry", trade_off=2.0, info_weight=0.5, decay=0.6)
    net, b = sharp_net(method), small_batch()
    more = torch.stack([-3.0 * b.xt, 5.0 * draw(6, 5, seed=21)], 1)
    b = type(b)(**{**vars(b), "xt_more": more})
    out = {k: v.item() for k, v in method.losses(net, b, at(0.5)).items()}
    weak = probs(net, b.xt)
    y = weak.argmax(1)
    q = 0.6 / 3 + 0.4 * np.bincount(y, minlength=3) / 6
    info = np.mean([sum(p * math.log(c + 1e-12) for p, c in zip(row, q)) for row in weak])
    assert out["info"] == pytest.approx(0.5 * info, **CLOSE)
    views = [probs(net, x) for x in (b.xt_strong, more[:, 0], more[:, 1])]
    total, kinds = 0.0, set()
    for i in range(6):
        votes = [v[i].argmax() == y[i] for v in views]
        agreed = sum(votes) >= 2
        last = [v[i] for v, vote in zip(views, votes) if vote == agreed][-1]
        total += (1 if agreed else -1) * -(last * np.log(last)).sum()
        kinds.add(agreed)
    assert kinds == {True, False} and out["select"] == pytest.approx(2.0 * total / 6, **CLOSE)


# -- apa ------------------------------------------------------------------------------------------------------------


def test_apa_matches_loops():
    out, net, b = terms("apa", trade_off=2.0, radius=0.4)
    f = net.body(b.xt).detach()
    start = normal(tuple(f.shape), 50, f, "perturbation")
    start = start / start.norm(dim=1, keepdim=True)
    p = softmax(affine(net.head, array(f)))
    w = array(net.head.weight)
    total = 0.0
    for i in range(6):
        # the divergence's Hessian at no perturbation is W' (diag p - p p') W; a small step's gradient follows it
        hessian = w.T @ (np.diag(p[i]) - np.outer(p[i], p[i])) @ w
        d = hessian @ array(start[i])
        r = 0.4 * np.linalg.norm(array(f[i])) * d / np.linalg.norm(d)
        moved = softmax(affine(net.head, (array(f[i]) + r)[None]))[0]
        total += (p[i] * (np.log(p[i]) - np.log(moved))).sum()
    assert float(out["adv"]) == pytest.approx(2.0 * total / 6, rel=2e-2)  # the step of the method is 0.01, not 0


def test_apa_moves_the_body_through_the_features():
    method = create_method("apa")
    net, b = small_net(method), small_batch()
    grad = torch.autograd.grad(method.losses(net, b, at(0.5))["adv"], net.body.bottleneck[0].weight)[0]
    assert float(grad.abs().sum()) > 0
