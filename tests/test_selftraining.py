"""Self-training methods: entropies, norms and confident labels against slow transcriptions, limits and ramps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dazoo.methods.base import create_method
from dazoo.methods.selftraining.cc_loss import confusion_consistency
from dazoo.ops import selftraining as ops
from tests.small import at, draw, small_batch, small_net
from tests.transcribed import nll, probs, terms


@pytest.mark.parametrize(
    "name",
    [
        "min_entropy",
        "info_max",
        "bnm",
        "fast_bnm",
        "afn",
        "pseudo_label",
        "fixmatch",
        "mean_teacher",
        "self_ensembling",
        "adamatch",
        "cst",
        "mstn",
        "cross_domain_mixup",
        "cc_loss",
    ],
)
def test_the_first_term_is_the_source_loss(name):
    out, net, b = terms(name)
    assert next(iter(out)) == "cls"
    assert float(out["cls"]) == pytest.approx(np.mean(nll(probs(net, b.xs), b.ys)), rel=1e-12)


def test_entropies_match_loops():
    out, net, b = terms("info_max", trade_off=0.3, diversity_weight=1.7)
    p = probs(net, b.xt)
    each = np.mean([-sum(q * math.log(q) for q in row) for row in p])
    mean = -sum(q * math.log(q + 1e-5) for q in p.mean(0))
    assert float(out["ent"]) == pytest.approx(0.3 * each, rel=1e-12)
    assert float(out["div"]) == pytest.approx(-0.3 * 1.7 * mean, rel=1e-12)
    single, _, _ = terms("min_entropy", trade_off=0.2, net=net, batch=b)
    assert float(single["ent"]) == pytest.approx(0.2 * each, rel=1e-12)


def test_information_of_balanced_certain_predictions_is_log_c():
    method = create_method("info_max", trade_off=1.0)
    net = small_net(method)
    net.body = torch.nn.Identity()
    net.head = torch.nn.Identity()
    b = small_batch()
    x = 200 * torch.eye(3, dtype=torch.float64).repeat(2, 1)
    b = type(b)(**{**vars(b), "xs": x, "xt": x})
    out = method.losses(net, b, at(0.5))
    assert float(out["ent"] + out["div"]) == pytest.approx(-math.log(3), abs=1e-4)


def test_nuclear_norms_match_numpy():
    out, net, b = terms("bnm", trade_off=2.0)
    p = probs(net, b.xt)
    assert float(out["nuclear"]) == pytest.approx(-2.0 * np.linalg.svd(p, compute_uv=False).sum() / len(p), rel=1e-10)
    fast, _, _ = terms("fast_bnm", trade_off=2.0, net=net, batch=b)
    columns = sorted((math.sqrt(sum(v * v for v in p[:, c])) for c in range(3)), reverse=True)
    assert float(fast["nuclear"]) == pytest.approx(-2.0 * sum(columns[: min(p.shape)]) / len(p), rel=1e-10)


@pytest.mark.parametrize("name", ["bnm", "fast_bnm"])
def test_balanced_one_hot_predictions_have_the_largest_nuclear_norm(name):
    from dazoo.ops.entropy import bnm, fbnm

    loss = {"bnm": bnm, "fast_bnm": fbnm}[name]
    best = loss(torch.eye(3, dtype=torch.float64).repeat(2, 1))
    for seed in range(20):
        assert float(best) < float(loss(torch.softmax(3 * draw(6, 3, seed=seed), 1)))
    assert float(best) < float(loss(torch.eye(3, dtype=torch.float64)[torch.zeros(6, dtype=torch.int64)]))


def test_feature_norms_grow_by_one_step():
    out, _, _ = terms("afn", trade_off=0.05, delta=2.0)
    assert float(out["norm"]) == pytest.approx(0.05 * 2 * 2.0**2, rel=1e-12)
    from dazoo.ops.norms import afn

    f = draw(6, 4).requires_grad_()
    (grad,) = torch.autograd.grad(afn(f, 2.0), f)
    expected = -2.0 * 2.0 * f.detach() / f.detach().norm(dim=1, keepdim=True) / 6
    torch.testing.assert_close(grad, expected, rtol=1e-10, atol=1e-12)


def test_pseudo_labels_match_loops_and_ramp():
    for fraction, weight in [(0.05, 0.0), (0.1, 0.0), (0.35, 0.5), (0.6, 1.0), (0.9, 1.0)]:
        out, net, b = terms("pseudo_label", fraction, trade_off=3.0)
        p = probs(net, b.xt)
        assert float(out["pseudo"]) == pytest.approx(3.0 * weight * np.mean(nll(p, p.argmax(1))), rel=1e-6, abs=1e-12)


def test_fixmatch_matches_loops():
    out, net, b = terms("fixmatch", trade_off=2.0, threshold=0.4)
    weak, strong = probs(net, b.xt), probs(net, b.xt_strong)
    kept = [nll(strong, weak.argmax(1))[i] if weak[i].max() >= 0.4 else 0.0 for i in range(len(weak))]
    assert sum(v > 0 for v in kept) > 0 and float(out["pseudo"]) == pytest.approx(2.0 * np.mean(kept), rel=1e-10)
    none, _, _ = terms("fixmatch", threshold=0.999, net=net, batch=b)
    assert float(none["pseudo"]) == 0.0


def test_cc_loss_matches_loops():
    out, net, b = terms("cc_loss", trade_off=2.0, consistency_weight=3.0, temperature=1.7, threshold=0.4)
    alone, _, _ = terms("mcc", trade_off=2.0, temperature=1.7, net=net, batch=b)
    assert float(out["mcc"]) == pytest.approx(float(alone["mcc"]), rel=1e-12)

    def soften(x):
        e = np.exp(net.head(net.body(x)).detach().numpy() / 1.7)
        return e / e.sum(1, keepdims=True)

    def confusion(p, rows):
        m = np.zeros((3, 3))
        for i in rows:
            weight = 1 + math.exp(sum(q * math.log(q + 1e-5) for q in p[i]))
            m += [[weight * p[i][a] * p[i][c] for c in range(3)] for a in range(3)]
        return m / m.sum(1, keepdims=True)

    weak, strong = soften(b.xt), soften(b.xt_strong)
    rows = [i for i in range(6) if weak[i].max() >= 0.4]
    assert 0 < len(rows) < 6
    expected = 3.0 * len(rows) / 6 * ((confusion(weak, rows) - confusion(strong, rows)) ** 2).sum() / 3
    assert float(out["agree"]) == pytest.approx(expected, rel=1e-10)
    none, _, _ = terms("cc_loss", threshold=0.999, net=net, batch=b)
    assert float(none["agree"]) == 0.0
    same = confusion_consistency(draw(6, 3), draw(6, 3), 2.0, 0.1)
    assert float(same) == 0.0 < float(confusion_consistency(draw(6, 3, seed=1), draw(6, 3), 2.0, 0.1))


def test_weak_views_get_no_gradient():
    weak, strong = draw(5, 3).requires_grad_(), draw(5, 3, seed=1).requires_grad_()
    for loss in (
        ops.fixmatch(strong, weak, 0.1),
        ops.adamatch(strong, weak, draw(4, 3), 0.1),
        confusion_consistency(strong, weak, 2.0, 0.1),
    ):
        got = torch.autograd.grad(loss, (strong, weak), allow_unused=True)
        assert got[0].abs().sum() > 0 and got[1] is None


def test_ramps():
    assert [float(ops.linear_ramp(x, 0.2, 0.7)) for x in (0.0, 0.2, 0.45, 0.7, 1.0)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert float(ops.sigmoid_ramp(0.0, 0.5)) == pytest.approx(math.exp(-5)) and float(ops.sigmoid_ramp(0.7, 0.5)) == 1
    assert ops.cosine_ramp(0.0) == 0 and ops.cosine_ramp(0.25) == pytest.approx(0.5) and ops.cosine_ramp(0.9) == 1


def test_mme_terms_and_opposite_gradients():
    method = create_method("mme", trade_off=0.1, temperature=0.5)
    net, b = small_net(method), small_batch()
    out = method.losses(net, b, at(0.5))

    def predict(x):
        f = net.body(x)
        return torch.softmax(f / f.norm(dim=1, keepdim=True) @ net.head.weight.T / 0.5, 1)

    p = predict(b.xt)
    entropy = -(p * p.log()).sum(1).mean()
    assert out["ent"].item() == pytest.approx(-0.1 * entropy.item(), rel=1e-9)
    assert out["cls"].item() == pytest.approx(0.5 * np.mean(nll(predict(b.xs).detach().numpy(), b.ys)), rel=1e-9)
    assert out["few"].item() == pytest.approx(0.5 * np.mean(nll(predict(b.xf).detach().numpy(), b.yf)), rel=1e-9)
    parts = [net.head.weight, net.body.bottleneck[0].weight]
    got = torch.autograd.grad(out["ent"], parts)
    true = torch.autograd.grad(entropy, parts)
    torch.testing.assert_close(got[0], -0.1 * true[0])
    torch.testing.assert_close(got[1], 0.1 * true[1])
    torch.testing.assert_close(method.predict(net, b.xt).probs, p)
