"""The nearest regular Brenier potential against generic solvers."""

from __future__ import annotations

import itertools

import numpy as np
import scipy.optimize
import torch
from ot.mapping import _ssnb_qcqp_constants as pots_constants

from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import create_method
from dazoo.methods.transport.ot_nearest_brenier import Region, regions_of
from tests.test_subspace import context, toy


def pots_slack(g: np.ndarray, phi: np.ndarray, x: np.ndarray, low: float, high: float) -> np.ndarray:
    """What POT's constraints demand to be at least zero, for every ordered pair."""
    c1, c2, c3 = pots_constants(low, high)
    return np.array([
        phi[i] - phi[j] - g[j] @ (x[i] - x[j]) - c1 * np.sum((g[i] - g[j]) ** 2) - c2 * np.sum((x[i] - x[j]) ** 2)
        + c3 * (g[j] - g[i]) @ (x[j] - x[i])
        for i, j in itertools.permutations(range(len(x)), 2)
    ])  # fmt: skip


def test_region_solver_equals_a_generic_solver():
    rng = np.random.default_rng(0)
    for low, high in ((0.6, 1.4), (0.2, 3.0)):
        x, z = rng.standard_normal((5, 2)), 2 * rng.standard_normal((5, 2))
        start = np.concatenate([((low + high) / 2 * x).ravel(), (low + high) / 4 * np.sum(x**2, axis=1)])
        reference = scipy.optimize.minimize(
            lambda v, z=z: np.sum((v[:10].reshape(5, 2) - z) ** 2),
            start,
            method="SLSQP",
            constraints={
                "type": "ineq",
                "fun": lambda v, x=x, lo=low, hi=high: pots_slack(v[:10].reshape(5, 2), v[10:], x, lo, hi),
            },
            options={"maxiter": 1000, "ftol": 1e-12},
        )
        assert reference.success
        mine = Region(x, torch.arange(5), low, high, 1e-5).solve(z)
        assert np.allclose(mine, reference.x[:10].reshape(5, 2), atol=2e-3)
        assert np.isclose(np.sum((mine - z) ** 2), reference.fun, rtol=1e-3)


def test_images_keep_pots_constraints():
    """Values exist under which the images are gradients of a potential as regular as asked for: a linear programme."""
    seen = toy(24, 20, d=3)
    low, high = 0.6, 1.4
    images = create_method("ot_nearest_brenier", size=24).images(seen, context())[0].numpy()
    x = seen.source.x.numpy()
    pairs = np.array(list(itertools.permutations(range(24), 2)))
    need = -pots_slack(images, np.zeros(24), x, low, high)
    rows = np.zeros((len(pairs), 25))
    rows[np.arange(len(pairs)), pairs[:, 0]], rows[np.arange(len(pairs)), pairs[:, 1]], rows[:, 24] = -1, 1, -1
    # phi_i - phi_j + t >= need for all pairs, with the least t
    found = scipy.optimize.linprog(np.r_[np.zeros(24), 1.0], A_ub=rows, b_ub=-need, bounds=[(None, None)] * 25)
    assert found.status == 0 and found.fun < 1.01e-3 * np.mean(np.sum((x - x.mean(0)) ** 2, axis=1))


def test_in_one_dimension_it_is_regression_with_bounded_slopes():
    rng = np.random.default_rng(1)
    x = np.sort(rng.standard_normal(12))
    z = np.sort(3 * rng.standard_normal(12))
    steps = np.concatenate([np.ones((12, 1)), np.tril(np.ones((12, 12)), -1)[:, :11] * np.diff(x)], axis=1)
    low, high = np.r_[-np.inf, np.full(11, 0.6)], np.r_[np.inf, np.full(11, 1.4)]
    reference = steps @ scipy.optimize.lsq_linear(steps, z, (low, high)).x
    mine = Region(x[:, None], torch.arange(12), 0.6, 1.4, 1e-5).solve(z[:, None])[:, 0]
    assert np.allclose(mine, reference, atol=1e-2)
    assert np.isclose(np.sum((mine - z) ** 2), np.sum((reference - z) ** 2), rtol=1e-3)


def test_regular_maps_are_recovered():
    """A scaling within [low, high] is met exactly; one beyond is met by the steepest map allowed."""
    rng = np.random.default_rng(2)
    x = torch.from_numpy(rng.standard_normal((40, 3)))
    source = Labeled(x, torch.arange(40) % 2, torch.zeros(40))
    for factor, expected in ((1.2, 1.2), (3.0, 1.4), (0.1, 0.6)):
        xt = (factor * x + 5.0)[torch.from_numpy(rng.permutation(40))]
        seen = Seen(source, Unlabeled(xt), None, 2, "vector", UNSUPERVISED)
        images, _ = create_method("ot_nearest_brenier", size=40, tolerance=1e-5).images(seen, context())
        assert torch.allclose(images, expected * (x - x.mean(0)) + factor * x.mean(0) + 5.0, atol=2e-2)


def test_regions_part_the_source_into_small_cells():
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((101, 4)))
    for points in (x, x[:1].repeat(101, 1)):
        cells = regions_of(points, 16)
        assert torch.equal(torch.cat(cells).sort().values, torch.arange(101))
        assert all(6 <= len(c) <= 16 for c in cells)


def test_objective_never_rises():
    values = create_method("ot_nearest_brenier", rounds=8, size=16).images(toy(40, 35, move=1.5), context())[1]
    assert len(values) > 1
    assert all(b <= a * (1 + 1e-4) for a, b in itertools.pairwise(values))
    assert values[-1] < values[0]
