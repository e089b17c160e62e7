"""Mean matching, KLIEP and discrepancies: optimality conditions, and generic solvers on the same problems."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Seen, Unlabeled
from dazoo.methods.base import create_method
from dazoo.methods.reweighting import _ratio, kliep, ldm
from dazoo.methods.reweighting._active import solve_nonnegative
from dazoo.methods.reweighting._qp import Quadratic, solve_qp
from tests.gaussians import context, gaussians, kernels, kmm_problem, weights_of


@pytest.mark.parametrize("bound", [1000.0, 2.0])
def test_kmm_satisfies_the_kkt_conditions(bound):
    seen = gaussians(200, 150)
    ctx = context()
    s = create_method("kmm", bound=bound).solve(seen, ctx)
    q, c = kmm_problem(seen, float(_ratio.median_sigma(seen, ctx)))
    b = s.b.numpy()
    eps = (np.sqrt(200) - 1) / np.sqrt(200)
    assert s.converged
    assert (b >= 0).all() and (b <= bound).all() and abs(b.mean() - 1) <= eps
    stationarity = q @ b - c - s.lower.numpy() + s.upper.numpy() + float(s.high - s.low) / 200
    assert np.abs(stationarity).max() < 1e-7
    assert min(float(m.min()) for m in (s.lower, s.upper, s.low, s.high)) >= 0
    assert float((s.lower * s.b).max()) < 1e-6 and float((s.upper * (bound - s.b)).max()) < 1e-6
    assert float(s.low) * (b.mean() - 1 + eps) < 1e-6 and float(s.high) * (1 + eps - b.mean()) < 1e-6


@pytest.mark.parametrize("bound", [1000.0, 2.0])
def test_kmm_equals_a_generic_solver(bound):
    from scipy.optimize import minimize

    seen = gaussians(40, 30)
    ctx = context()
    ours = weights_of("kmm", seen, bound=bound).numpy()
    q, c = kmm_problem(seen, float(_ratio.median_sigma(seen, ctx)))
    eps = (np.sqrt(40) - 1) / np.sqrt(40)

    def objective(b):
        return b @ q @ b / 2 - c @ b

    best = minimize(
        objective,
        np.ones(40),
        jac=lambda b: q @ b - c,
        bounds=[(0, bound)] * 40,
        constraints=[
            {"type": "ineq", "fun": lambda b: b.mean() - 1 + eps, "jac": lambda b: np.full(40, 1 / 40)},
            {"type": "ineq", "fun": lambda b: 1 + eps - b.mean(), "jac": lambda b: np.full(40, -1 / 40)},
        ],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 2000},
    )
    assert objective(ours) <= best.fun + 1e-7
    assert objective(ours) >= best.fun - 1e-5


def test_slab_is_active_where_it_should_be():
    """With a target far away the unconstrained weights vanish; the constraint keeps their mean at 1 - eps."""
    seen = gaussians(60, 40)
    far = Seen(seen.source, Unlabeled(seen.target.x + 30), None, 2, "vector", UNSUPERVISED)
    w = weights_of("kmm", far, scale=0.1)
    assert float(w.mean()) == pytest.approx(1 / np.sqrt(60), abs=1e-6)


@pytest.mark.parametrize("twins", [0, 5])
def test_pivoting_equals_the_interior_point(twins):
    """Also where samples coincide, so that the matrix is singular and only sums of their weights are determined."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(80, 6))
    x[:twins] = x[twins : 2 * twins]
    q = np.exp(-((x[:, None] - x) ** 2).sum(-1) / 6) / len(x)
    c = np.exp(-((x[:, None] - rng.normal(0.5, 1, (70, 6))) ** 2).sum(-1) / 6).mean(1)
    b, lower = solve_nonnegative(q, c)
    ones = torch.ones(len(c), dtype=torch.float64)
    other = solve_qp(Quadratic(dense=torch.tensor(q)), torch.tensor(c), ones / len(c), 1e6, 0.01, 10.0, ones, 1e-12)
    assert 0 < (b == 0).sum() < len(b)
    assert np.abs(q @ b - c - lower).max() < 1e-12 and (lower >= 0).all() and (b >= 0).all()
    assert (b * lower == 0).all()
    np.testing.assert_allclose(q @ b, q @ other.b.numpy(), atol=1e-8)


def test_pivoting_leaves_an_unbounded_programme_alone():
    assert solve_nonnegative(np.zeros((3, 3)), np.ones(3)) is None


def test_kmm_nystroem_comes_near_the_exact_optimum():
    seen = gaussians(600, 500, d=3)
    ctx = context()
    q, c = kmm_problem(seen, float(_ratio.median_sigma(seen, ctx)))

    def discrepancy(b):  # squared distance of the means, up to a constant
        return b @ q @ b / 600 - 2 * c @ b / 600

    exact, near = create_method("kmm"), create_method("kmm", exact=100)
    best = discrepancy(exact.weights(seen, ctx).numpy())
    assert not ctx.warnings
    approximate = discrepancy(near.weights(seen, ctx).numpy())
    assert any("Nystroem" in w for w in ctx.warnings)
    uniform = discrepancy(np.ones(600))
    assert best <= approximate < best + 0.01 * (uniform - best)


def test_low_rank_solver_equals_the_dense_one():
    from dazoo.methods.reweighting._qp import Quadratic, solve_qp

    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.normal(size=(30, 40)))
    c = torch.from_numpy(rng.normal(size=30))
    ones = torch.ones(30, dtype=torch.float64)
    args = (c, ones / 30, 3.0, 0.5, 1.5, ones)
    dense, low = solve_qp(Quadratic(dense=z @ z.T), *args), solve_qp(Quadratic(factor=z), *args)
    assert dense.converged and low.converged
    torch.testing.assert_close(dense.b, low.b, atol=1e-6, rtol=0)


# -- KLIEP ----------------------------------------------------------------------------------------------------------


def test_kliep_constraint_and_kkt():
    """The mean ratio over the source is 1, and no centre's likelihood gradient exceeds that of the constraint."""
    seen = gaussians(300, 200)
    ks, kt = kernels(seen, m=40)
    a, gap = kliep.fit_kliep(kt, ks.mean(0))
    assert float((ks @ a).mean()) == pytest.approx(1, abs=1e-12)
    gradient = (kt / (kt @ a)[:, None]).mean(0) - ks.mean(0)
    assert gap < kliep.GAP and bool((a >= 0).all())
    assert float((gradient / ks.mean(0)).max()) < 1e-7
    assert float((gradient * a).abs().max()) < 1e-7
    w = weights_of("kliep", seen)
    assert float(w.mean()) == pytest.approx(1, abs=1e-12)


def test_kliep_equals_a_generic_solver():
    from scipy.optimize import minimize

    ks, kt = kernels(gaussians(100, 80), m=8)
    mass, k = ks.mean(0).numpy(), kt.numpy()
    ours = kliep.fit_kliep(kt, ks.mean(0))[0].numpy()
    best = minimize(
        lambda a: -np.log(k @ a).mean(),
        np.full(8, 1 / mass.sum()),
        bounds=[(0, None)] * 8,
        constraints=[{"type": "eq", "fun": lambda a: mass @ a - 1}],
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 1000},
    )
    assert -np.log(k @ ours).mean() == pytest.approx(best.fun, abs=1e-7)
    np.testing.assert_allclose(ours, best.x, atol=2e-3)


def test_ldm_equals_cutting_planes():
    """The spectral norm as the maximum of linear functions, min over the simplex by linear programmes with a cut per
    eigenvector until none is violated."""
    from scipy.optimize import linprog

    for d in (2, 4):
        seen = gaussians(60, 50, d=d)
        x, target = (v.numpy() for v in ldm.lifted(seen.source.x, seen.target.x))
        n, cuts, lower = len(x), [], 0.0
        w = np.full(n, 1 / n)
        for _ in range(500):
            values, vectors = np.linalg.eigh(target - (x * w[:, None]).T @ x)
            norm = np.abs(values).max()
            if norm - lower < 1e-6:
                break
            cuts += [(np.sign(v), u) for v, u in zip(values, vectors.T) if v]
            rows = np.array([np.append(-s * (x @ u) ** 2, -1) for s, u in cuts])
            right = np.array([-s * u @ target @ u for s, u in cuts])
            found = linprog(np.append(np.zeros(n), 1), rows, right, np.append(np.ones(n), 0)[None], [1])
            w, lower = found.x[:n], found.fun
        ours, gap = ldm.minimise(torch.from_numpy(x), torch.from_numpy(target))
        start = np.abs(np.linalg.eigvalsh(target - x.T @ x / n)).max()
        mine = np.abs(np.linalg.eigvalsh(target - (x * ours.numpy()[:, None]).T @ x)).max()
        assert gap <= ldm.GAP
        assert norm - 1e-5 <= mine <= norm + ldm.GAP * start


def test_ldm_gap_certifies_the_discrepancy():
    """Weights are a distribution; any random distribution has a discrepancy above the certified lower bound."""
    seen = gaussians(80, 80, d=3)
    x, target = ldm.lifted(seen.source.x, seen.target.x)

    def norm(w):
        return float(torch.linalg.eigvalsh(ldm._difference(x, target, w)).abs().max())

    w, gap = ldm.minimise(x, target)
    start = norm(torch.full_like(w, 1 / 80))
    assert float(w.sum()) == pytest.approx(1) and bool((w >= 0).all()) and norm(w) < start
    rng = np.random.default_rng(0)
    for strength in (0.01, 0.1, 1.0):
        for _ in range(50):
            other = torch.from_numpy(rng.dirichlet(np.full(80, strength)))
            assert norm(other) >= norm(w) - gap * start
    projected = ldm._simplex(torch.from_numpy(rng.normal(size=20)))
    assert float(projected.sum()) == pytest.approx(1) and bool((projected >= 0).all())
