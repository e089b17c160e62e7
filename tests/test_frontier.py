"""Methods of 2020 to 2024: losses against slow transcriptions, and the methods they reduce to."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dazoo.methods.adversarial._class_ratio import ClassRatio, importance_weights
from dazoo.methods.adversarial.asa import nearest_gap
from dazoo.methods.adversarial.f_dal import f_divergence
from dazoo.methods.base import create_method
from dazoo.ops.draws import normal
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
    cls = -np.mean([w[y] * even[y] * log_p[i, y] for i, y in enumerate(ys)])
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


# -- f_dal ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pearson", "jensen", "kl"])
def test_f_divergences_are_reached_by_the_best_critic_and_by_no_other(name):
    """Two densities on three points: the bound is the divergence at f'(p / q), and below it elsewhere."""
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])
    best = {"pearson": 2 * (p / q - 1), "jensen": np.log(p / q), "kl": 1 + np.log(p / q)}[name]
    m = (p + q) / 2
    exact = {
        "pearson": ((p - q) ** 2 / q).sum(),
        "jensen": (p * np.log(p / m)).sum() + (q * np.log(q / m)).sum(),
        "kl": (p * np.log(p / q)).sum(),
    }[name]

    def value(v):
        rows_s, rows_t = np.repeat(v, (10 * p).round().astype(int)), np.repeat(v, (10 * q).round().astype(int))
        return float(f_divergence(torch.from_numpy(rows_s), torch.from_numpy(rows_t), name))

    assert value(best) == pytest.approx(exact, rel=1e-12)
    rng = np.random.default_rng(0)
    assert all(value(best + rng.normal(size=3)) < exact for _ in range(50))


def test_f_dal_matches_loops_and_moves_who_it_should():
    g = game("f_dal", trade_off=0.5)
    vs = perceptron(g.net.adv, g.fs)[np.arange(6), g.ls.argmax(1)]
    vt = perceptron(g.net.adv, g.ft)[np.arange(6), g.lt.argmax(1)]
    expected = -(vs.mean() - np.mean([v * v / 4 + v for v in vt]))
    assert g.terms()["div"].item() == pytest.approx(expected, rel=1e-12)
    assert float(g.gradient("div", "head").abs().sum()) == 0
    more = game("f_dal", trade_off=1.0)
    torch.testing.assert_close(more.gradient("div", "body"), 2 * g.gradient("div", "body"))
    torch.testing.assert_close(more.gradient("div", "adv"), g.gradient("div", "adv"))


# -- asa ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", ["abs", "sq"])
def test_asa_matches_loops(distance):
    memory = {"s": torch.tensor([0.3, -0.1], dtype=torch.float64), "t": torch.tensor([0.05], dtype=torch.float64)}
    g = game("asa", memory=memory, trade_off=0.5, distance=distance)
    zs, zt = perceptron(g.net.disc, g.fs)[:, 0], perceptron(g.net.disc, g.ft)[:, 0]

    def gap(a, b):
        each = [min(abs(z - s) for s in b) for z in a]
        return np.mean(each) if distance == "abs" else np.mean(np.square(each))

    zs, zt = [*zs, 0.3, -0.1], [*zt, 0.05]
    expected = gap(zs, zt) + gap(zt, zs)
    assert g.terms()["support"].item() == pytest.approx(0.5 * 0.6 * expected, rel=1e-10)
    assert g.method.phases[0].update == ("disc",) and "disc" not in g.method.phases[1].update
    assert all(float(g.gradient("dom", part, "losses_disc").abs().sum()) == 0 for part in ("body", "head"))


def test_nearest_gaps_are_those_of_all_pairs():
    z, s = (torch.from_numpy(np.random.default_rng(i).normal(size=n)).requires_grad_() for i, n in ((0, 9), (1, 6)))
    gaps = [nearest_gap(z, s), (z[:, None] - s[None]).abs().amin(1)]
    torch.testing.assert_close(*gaps, rtol=0, atol=0)
    for mine, theirs in zip(*(torch.autograd.grad(g.square().sum(), (z, s)) for g in gaps)):
        torch.testing.assert_close(mine, theirs)


def test_asa_costs_nothing_where_supports_agree():
    """Another mixture of the same points has the same support, which dann tells apart."""
    g = game("asa", memory={"s": torch.empty(0).double(), "t": torch.empty(0).double()})
    points = g.b.xs[:3]
    one, two = points[[0, 0, 0, 0, 1, 2]], points[[0, 1, 1, 2, 2, 2]]
    g.b = type(g.b)(**{**vars(g.b), "xs": one, "xt": two})
    assert g.terms()["support"].item() == pytest.approx(0.0, abs=1e-12)


# -- m_pot ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mass", [0.4, 0.75, 1.0])
def test_m_pot_solves_the_linear_programme(mass):
    from scipy.optimize import linprog

    g = game("m_pot", trade_off=2.0, feature_weight=0.3, label_weight=0.7, mass=mass)
    log_p = np.log(softmax(g.lt))
    cost = 0.3 * ((g.fs[:, None] - g.ft[None]) ** 2).sum(2) - 0.7 * np.stack([log_p[:, y] for y in g.ys])
    n = 6
    rows = np.concatenate([np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))])
    best = linprog(cost.ravel(), rows, np.full(2 * n, 1 / n), np.ones((1, n * n)), [mass])
    assert g.terms()["transport"].item() == pytest.approx(2.0 * best.fun, rel=1e-8)


def test_m_pot_leaves_an_outlier_of_the_batch_alone():
    g = game("m_pot", feature_weight=1.0, label_weight=0.0, mass=0.8)
    far = g.b.xt.clone()
    far[0] += 100.0
    g.b = type(g.b)(**{**vars(g.b), "xt": far.requires_grad_()})
    (grad,) = torch.autograd.grad(g.terms()["transport"], g.b.xt)
    assert float(grad[0].abs().sum()) == 0 and float(grad[1:].abs().sum()) > 0


def test_m_pot_draws_the_classes_of_the_source_in_turns():
    ys = torch.tensor([0] * 20 + [1] * 5 + [2] * 2)
    rows = {"s": torch.arange(9), "t": torch.arange(9)}
    drawn = create_method("m_pot").redraw(rows, ys, {}, torch.Generator().manual_seed(0))
    assert torch.bincount(ys[drawn["s"]]).tolist() == [3, 3, 3] and torch.equal(drawn["t"], rows["t"])


# -- kl_guided ------------------------------------------------------------------------------------------------------


def test_kl_guided_matches_scipy():
    from scipy.stats import multivariate_normal

    g = game("kl_guided", trade_off=0.5, aux_weight=0.2)
    step = 40
    f = {"s": g.fs, "t": g.ft}
    s = {k: np.log1p(np.exp(perceptron([g.net.spread], v))) for k, v in f.items()}
    noise = {k: array(normal((6, 5), step, g.b.xs, w)) for k, w in (("s", "source"), ("t", "target"))}
    z = {k: f[k] + s[k] * noise[k] for k in f}

    def density(at_, k):
        mix = [multivariate_normal(m, np.diag(d**2)).pdf(at_) for m, d in zip(f[k], s[k])]
        return np.log(np.mean(mix, 0))

    kl = np.mean(density(z["t"], "t") - density(z["t"], "s"))
    aux = np.mean(density(z["s"], "s") - density(z["s"], "t"))
    out = g.terms()
    assert out["kl"].item() == pytest.approx(0.5 * kl, rel=1e-8)
    assert out["aux"].item() == pytest.approx(0.2 * aux, rel=1e-8)
    scores = z["s"] @ array(g.net.head.weight).T + array(g.net.head.bias)
    assert out["cls"].item() == pytest.approx(cross_entropy(scores, g.ys), rel=1e-10)


def test_equal_batches_have_no_divergence():
    g = game("kl_guided")
    g.b = type(g.b)(**{**vars(g.b), "xt": g.b.xs})
    assert g.terms()["kl"].item() == pytest.approx(0.0, abs=1e-12)
