"""Methods of 2020 to 2024: losses against slow transcriptions, and the methods they reduce to."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dazoo.methods.adversarial._class_ratio import ClassRatio, importance_weights
from tests.adversarial import array, cross_entropy, game, perceptron, sigmoid, softmax
from tests.test_selftraining import nll, probs, terms

# -- erm_plus -------------------------------------------------------------------------------------------------------


def test_erm_plus_matches_loops():
    out, net, b = terms("erm_plus", trade_off=0.7, smoothing=0.2)
    weak, strong = probs(net, b.xs), probs(net, b.xs_strong)

    def smoothed(p):
        rows = [-sum(((1 - 0.2) * (c == y) + 0.2 / 3) * math.log(q) for c, q in enumerate(r)) for r, y in zip(p, b.ys)]
        return np.mean(rows)

    assert float(out["cls"]) == pytest.approx(np.mean(nll(weak, b.ys)), rel=1e-12)
    assert float(out["cls"] + out["smooth"]) == pytest.approx(smoothed(weak), rel=1e-12)
    assert float(out["strong"]) == pytest.approx(0.7 * smoothed(strong), rel=1e-6)  # the backbone is in float32


# -- iwdan, iwcdan --------------------------------------------------------------------------------------------------

ONES = {"ratio": torch.ones(3, dtype=torch.float64), "even": torch.ones(3, dtype=torch.float64)}
UNEVEN = {"ratio": torch.tensor([0.2, 1.0, 2.5]).double(), "even": torch.tensor([0.5, 1.0, 3.0]).double()}


@pytest.mark.parametrize(("name", "base"), [("iwdan", "dann"), ("iwcdan", "cdan")])
def test_equal_class_shares_are_the_unweighted_method(name, base):
    mine, other = game(name, memory=ONES), game(base)
    other.net.load_state_dict({k: v for k, v in mine.net.state_dict().items() if not k.startswith("class_ratio")})
    for term in ("cls", "dom"):
        torch.testing.assert_close(mine.terms()[term], other.terms()[term], rtol=1e-12, atol=0)
        for part in ("body", "head", "disc"):
            torch.testing.assert_close(mine.gradient(term, part), other.gradient(term, part), rtol=1e-10, atol=1e-14)


def outer(p, f):
    return np.stack([np.outer(a, b).ravel() for a, b in zip(p, f)])


@pytest.mark.parametrize("name", ["iwdan", "iwcdan"])
def test_weighted_discriminators_match_loops(name):
    g = game(name, memory=UNEVEN)
    w, even, ys = array(UNEVEN["ratio"]), array(UNEVEN["even"]), g.ys
    log_p = np.log(softmax(g.ls))
    cls = -np.mean([even[y] * log_p[i, y] for i, y in enumerate(ys)])
    hs, ht = g.fs, g.ft
    if name == "iwcdan":
        hs, ht = outer(softmax(g.ls), hs), outer(softmax(g.lt), ht)
    zs, zt = perceptron(g.net.disc, hs)[:, 0], perceptron(g.net.disc, ht)[:, 0]
    source = np.mean([-w[y] * math.log(sigmoid(z)) for y, z in zip(ys, zs)])
    target = np.mean([-math.log(1 - sigmoid(z)) for z in zt])
    assert g.terms()["cls"].item() == pytest.approx(cls, rel=1e-12)
    assert g.terms()["dom"].item() == pytest.approx((source + target) / 2, rel=1e-12)
    assert cross_entropy(g.ls, ys) != pytest.approx(cls)


def test_exact_confusions_give_the_true_ratio():
    rng = np.random.default_rng(0)
    for _ in range(10):
        share, wanted = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(4))
        given = rng.dirichlet(np.ones(4) * 0.5, size=4).T + 0.5 * np.eye(4)
        given /= given.sum(0)
        joint = torch.from_numpy(given * share)
        w = importance_weights(joint, torch.from_numpy(given @ wanted), torch.from_numpy(share))
        np.testing.assert_allclose(w.numpy(), wanted / share, rtol=1e-5)


def test_ratio_is_the_best_that_is_allowed():
    """Where no ratio explains the predictions, no allowed one explains them better."""
    rng = np.random.default_rng(1)
    for _ in range(10):
        share, target = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3) * 0.3)
        joint = rng.dirichlet(np.ones(3), size=3).T * share
        w = importance_weights(*map(torch.from_numpy, (joint, target, share))).numpy()
        assert (w >= 0).all() and w @ share == pytest.approx(1.0, rel=1e-9)
        others = rng.dirichlet(np.ones(3), size=2000) / share
        least = ((target - others @ joint.T) ** 2).sum(1).min()
        assert ((target - joint @ w) ** 2).sum() <= least + 1e-8


def test_ratio_moves_by_half_after_the_first_epoch():
    class Seen:
        ys = torch.tensor([0, 0, 0, 1])
        source = (None, 50 * torch.eye(2)[[0, 0, 0, 1]])
        target = (None, 50 * torch.eye(2)[[0, 1, 1, 1]])

    part = ClassRatio(2)
    first, second, third = (part.renew(Seen(), 0.5) for _ in range(3))
    torch.testing.assert_close(first["ratio"], torch.ones(2))
    torch.testing.assert_close(first["even"], torch.tensor([2 / 3, 2.0]))
    torch.testing.assert_close(second["ratio"], torch.tensor([0.5 + 0.5 / 3, 0.5 + 1.5]))
    torch.testing.assert_close(third["ratio"], torch.tensor([0.25 + 0.75 / 3, 0.25 + 2.25]))
