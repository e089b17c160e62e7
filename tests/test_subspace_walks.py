"""DASVM, ITL and TSL: their criteria against sums and integrals written out, and shifts planted for them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from sklearn.svm import SVC

from dazoo.methods.base import create_method
from dazoo.methods.subspace._descent import ascend
from dazoo.methods.subspace.itl import domain_information, target_information
from dazoo.methods.subspace.mmd_location_scale import _Gap
from dazoo.methods.subspace.tsl import divergence, orthonormal
from dazoo.ops.classwise import one_hot
from dazoo.shallow.steps import run_steps
from tests.test_subspace import context, toy
from tests.test_subspace_more import seen_of


def turned(angle: float, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two classes left and right of a line through the origin that is turned by ``angle``."""
    y = np.arange(n) % 2
    x = np.c_[np.where(y == 1, 2.0, -2.0), np.zeros(n)] + rng.standard_normal((n, 2)) * [0.5, 0.8]
    return x @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]), y


def test_dasvm_follows_a_turning_boundary():
    rng = np.random.default_rng(0)
    xs, ys = turned(0.0, 100, rng)
    xt, yt = turned(1.15, 160, rng)
    plain = SVC(kernel="linear").fit(xs, ys)
    model = create_method("dasvm", rounds=10).fit(seen_of(xs, ys, xt), context())
    hits = (model.predict(torch.from_numpy(xt)).labels.numpy() == yt).mean()
    assert hits > 0.95 > plain.score(xt, yt) + 0.05


@pytest.mark.parametrize("c", [2, 3])
def test_dasvm_without_shift_ends_where_an_svm_on_its_own_labels_does(c):
    """After the last round only semi-labelled target samples are left: the boundary is the SVM of those."""
    seen = toy(60, 60, d=4, c=c, move=0.0)
    model = create_method("dasvm", rounds=4).fit(seen, context())
    scores = model.predict(seen.target.x).scores
    columns = [1] if c == 2 else range(c)
    for k in columns:
        labels = torch.where(scores[:, k] > 0, 1, -1).numpy()
        reference = SVC(kernel="linear").fit(seen.target.x.numpy(), labels)
        assert np.allclose(scores[:, k], reference.decision_function(seen.target.x.numpy()), atol=1e-2)


def test_dasvm_without_rounds_is_the_svm():
    seen = toy(60, 40)
    scores = create_method("dasvm", rounds=0).fit(seen, context()).predict(seen.target.x).scores
    for k in range(3):
        reference = SVC(kernel="linear").fit(seen.source.x.numpy(), np.where(seen.source.y == k, 1, -1))
        assert np.allclose(scores[:, k], reference.decision_function(seen.target.x.numpy()))


def test_itl_objective_equals_its_sums():
    rng = np.random.default_rng(0)
    zs, zt, ys = rng.standard_normal((7, 2)), rng.standard_normal((5, 2)), np.arange(7) % 3

    def h(p):
        return -sum(v * np.log(v) for v in p if v > 0)

    posts = []
    for t in zt:
        weights = np.exp([-np.sum((t - s) ** 2) for s in zs])
        posts.append([weights[ys == c].sum() / weights.sum() for c in range(3)])
    expected = h(np.mean(posts, 0)) - np.mean([h(p) for p in posts])
    args = torch.from_numpy(zs), torch.from_numpy(zt)
    assert np.isclose(float(target_information(*args, one_hot(torch.from_numpy(ys), 3, torch.float64))), expected)
    z, sides = np.concatenate([zs, zt]), np.r_[np.ones(7), np.zeros(5)]
    posts = []
    for i in range(12):
        weights = np.array([0.0 if i == j else np.exp(-np.sum((z[i] - z[j]) ** 2)) for j in range(12)])
        share = weights[sides == 1].sum() / weights.sum()
        posts.append([share, 1 - share])
    expected = h(np.mean(posts, 0)) - np.mean([h(p) for p in posts])
    assert np.isclose(float(domain_information(*args)), expected)


def test_gradients_in_closed_form_are_those_of_differences():
    gen = torch.Generator().manual_seed(0)
    zs, zt = (torch.randn(n, 2, generator=gen, dtype=torch.float64).requires_grad_() for n in (6, 5))
    labels = one_hot(torch.arange(6) % 3, 3, torch.float64)
    assert torch.autograd.gradcheck(lambda a, b: target_information(a, b, labels), (zs, zt))
    assert torch.autograd.gradcheck(domain_information, (zs, zt))
    y, x = torch.arange(6) % 2, [z.detach() for z in (zs, zt)]
    gap = _Gap(*x, y, one_hot(y, 2).to(x[0]), x[0].mean(0), x[0].std(0), 0.3, 0.01)
    at, step = torch.randn(2, 2, 2, generator=gen, dtype=torch.float64), 1e-6 * torch.eye(8, dtype=torch.float64)
    differences = [(gap(at + e.view_as(at))[0] - gap(at - e.view_as(at))[0]) / 2e-6 for e in step]
    assert torch.allclose(gap(at)[1].flatten(), torch.stack(differences), atol=1e-8)


def shifted(n: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Classes along the first axis, the domains far apart along the second, noise in the third."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    base = np.c_[np.where(y == 1, 2.5, -2.5), np.zeros((n, 2))]
    xs = base + rng.standard_normal((n, 3))
    return xs, y, base + rng.standard_normal((n, 3)) + [0, 6, 0], y


@pytest.mark.parametrize("name", ["itl", "tsl"])
def test_the_direction_that_tells_the_domains_apart_loses_weight(name):
    xs, ys, xt, yt = shifted()
    seen = seen_of(xs, ys, xt)
    model = create_method(name, dim=1, iterations=300).fit(seen, context())
    zs, zt = (run_steps(model.target_steps, torch.from_numpy(x)) for x in (xs, xt))
    gap = float((zs.mean() - zt.mean()).abs() / torch.cat([zs, zt]).std())
    assert gap < 0.5  # the leading principal direction, where both start, has a gap near 2
    assert (model.predict(torch.from_numpy(xt)).labels.numpy() == yt).mean() > 0.9


def test_itl_ignores_the_direction_that_tells_domains():
    xs, ys, xt, _ = shifted()
    axes = [torch.from_numpy(x) for x in (xs, xt)]
    labels = one_hot(torch.from_numpy(ys), 2, torch.float64)

    def value(axis: int) -> float:
        z = [x[:, axis : axis + 1] for x in axes]
        return float(target_information(*z, labels) - domain_information(*z))

    assert value(0) > value(2) > value(1)


def test_tsl_divergence_is_the_integral():
    """Quadrature of (p_s - p_t)^2 over kernel density estimates in one dimension."""
    rng = np.random.default_rng(0)
    zs, zt, s = rng.standard_normal(6), rng.standard_normal(5) + 1, 0.7

    def density(points, at):
        return np.mean([scipy.stats.norm.pdf(at, p, s) for p in points])

    integral, _ = scipy.integrate.quad(lambda u: (density(zs, u) - density(zt, u)) ** 2, -12, 12, limit=200)
    mine = divergence(torch.from_numpy(zs)[:, None], torch.from_numpy(zt)[:, None], 1 / (4 * s**2))
    assert np.isclose(float(mine) / np.sqrt(4 * np.pi * s**2), integral)


def test_tsl_turns_away_from_the_shift():
    xs, ys, xt, _ = shifted()
    aligned = create_method("tsl", dim=2, iterations=200).align(seen_of(xs, ys, xt), context())
    w = aligned.target_steps[0].weight
    assert torch.allclose(w.T @ w, torch.eye(2, dtype=torch.float64), atol=1e-8)
    assert w[1].norm() < 0.5  # the second axis carries the shift


def test_ascent_finds_the_leading_eigenvector():
    a = torch.diag(torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64))
    start = orthonormal(torch.ones(3, 1, dtype=torch.float64))
    found = ascend(lambda w: (w * (a @ w)).sum(), start, 300, retract=orthonormal)
    assert abs(float(found[1, 0])) > 0.999
