"""Reweighting: known ratios, closed forms, optimality conditions, and independent solutions of the same problems."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from dazoo.core.errors import DazooError
from dazoo.core.setting import FEW_LABELS, UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.data.registry import load_task
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import Context, create_method
from dazoo.methods.classifiers import classifier
from dazoo.methods.reweighting import _lsif, _ratio, bbse, em_prior, kde_ratio, kliep, ldm, rlls, rulsif, ulsif
from dazoo.methods.reweighting import two_stage_tradaboost_r2 as two_stage
from dazoo.methods.reweighting._boost import WeightedMedian, both
from dazoo.methods.reweighting._label_shift import Confusion, confusion, stratified_folds
from dazoo.methods.reweighting._ratio import Bumps, centres
from dazoo.methods.steps import LinearScores as AffineHead
from tests.toys import toy_task

SHIFT = 0.8


def context(seed: int = 0) -> Context:
    return Context(torch.Generator().manual_seed(seed), classifier("logistic"))


def gaussians(n_s: int = 400, n_t: int = 300, d: int = 2, seed: int = 0) -> Seen:
    """Source N(0, I), target N((SHIFT, 0, ...), I): the log density ratio is SHIFT x_1 - SHIFT^2 / 2."""
    rng = np.random.default_rng(seed)
    xs, xt = rng.normal(size=(n_s, d)), rng.normal(size=(n_t, d)) + SHIFT * np.eye(d)[0]
    y = torch.from_numpy((xs[:, 0] > 0).astype(np.int64))
    source = Labeled(torch.from_numpy(xs), y, torch.zeros(n_s, dtype=torch.int64))
    return Seen(source, Unlabeled(torch.from_numpy(xt)), None, 2, "vector", UNSUPERVISED)


def true_log_ratio(seen: Seen) -> torch.Tensor:
    return SHIFT * seen.source.x[:, 0] - SHIFT**2 / 2


def weights_of(name: str, seen: Seen, seed: int = 0, **hparams) -> torch.Tensor:
    return create_method(name, **hparams).weights(seen, context(seed))


def accuracy(name: str, task, clf: str = "logistic", **hparams) -> float:
    options = Options(classifier=classifier(clf))
    model = fit(create_method(name, **hparams), task.seen(), seed=0, options=options).predictor
    hidden = task.hidden()
    return 100 * float((model.predict(hidden.x).labels == hidden.y).double().mean())


# the smallest correlation with the true ratio; KDE and the clipped fit of uLSIF are noisy in the tail
RATIOS = {"kde_ratio": 0.8, "gaussian_ratio": 0.98, "discriminator_ratio": 0.98, "ulsif": 0.75, "kliep": 0.8}


@pytest.mark.parametrize(("name", "least"), sorted(RATIOS.items()))
def test_known_gaussian_ratio(name, least):
    for seed in range(3):
        seen = gaussians(1500, 1500, seed=seed)
        w = weights_of(name, seen)
        truth = true_log_ratio(seen).exp()
        assert float(torch.corrcoef(torch.stack([w, truth]))[0, 1]) > least, seed
        assert bool((w >= 0).all())


def test_leave_one_out_finds_the_width_of_least_error():
    """The label-free score chooses a width and ridge whose true squared error is within a tenth of the grid's best."""
    for seed in range(3):
        seen = gaussians(1500, 1500, seed=seed)
        truth = true_log_ratio(seen).exp()
        errors = []
        b = _lsif.bases(seen, 100, context())
        for sigma in b.sigmas:
            ks, kt = b.bumps(sigma)
            for lam in _lsif.LAMBDAS:
                a = _lsif.solve(ks.T @ ks / len(ks), kt.mean(0), lam)
                errors.append(float((ks @ a - truth).square().mean()))
        chosen = float((weights_of("ulsif", seen) - truth).square().mean())
        assert chosen < 1.1 * min(errors) < float((1 - truth).square().mean())


def test_relative_ratio_of_gaussians_is_known_and_bounded():
    seen = gaussians(1500, 1500)
    r = true_log_ratio(seen).exp()
    for alpha in (0.1, 0.5):
        w = weights_of("rulsif", seen, alpha=alpha)
        truth = r / (alpha * r + 1 - alpha)
        assert float(torch.corrcoef(torch.stack([w, truth]))[0, 1]) > 0.9
        assert float((w - truth).abs().mean()) < 0.2
        assert float(w.max()) < 1.2 / alpha


def test_power_zero_weights_nothing_and_power_is_an_exponent():
    seen = gaussians()
    for name in ("kde_ratio", "gaussian_ratio"):
        full, half = weights_of(name, seen), weights_of(name, seen, power=0.5)
        torch.testing.assert_close(half.square(), full)
        assert bool((weights_of(name, seen, power=0.0) == 1).all())


def test_kde_ratio_equals_scikit_learn():
    from sklearn.neighbors import KernelDensity

    seen = gaussians(d=3)
    xs, xt = seen.source.x.numpy(), (seen.target.x * torch.tensor([1.0, 3.0, 0.5])).numpy()
    pooled = torch.ones(3, dtype=torch.float64)
    for data in (xs, xt):
        std = data.std(axis=0, ddof=1)
        model = KernelDensity(bandwidth=len(data) ** (-1 / 7)).fit(data / std)
        expected = model.score_samples(xs / std) - np.log(std).sum()
        ours = kde_ratio.log_density(torch.from_numpy(xs), torch.from_numpy(data), pooled)
        np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-9, atol=1e-9)


def test_kde_in_blocks_equals_at_once(monkeypatch):
    seen = gaussians()
    whole = weights_of("kde_ratio", seen)
    monkeypatch.setattr(kde_ratio, "rows_per_block", lambda columns: 7)
    torch.testing.assert_close(weights_of("kde_ratio", seen), whole)


def test_gaussian_ratio_equals_scipy():
    from scipy.stats import multivariate_normal

    seen = gaussians(d=4)
    xs, xt = seen.source.x.numpy(), seen.target.x.numpy()
    w = weights_of("gaussian_ratio", seen, reg=1e-12)
    logs = [multivariate_normal(x.mean(0), np.cov(x.T)).logpdf(xs) for x in (xt, xs)]
    expected = np.exp(logs[0] - logs[1])
    np.testing.assert_allclose((w / w.sum()).numpy(), expected / expected.sum(), rtol=1e-6)


def test_discriminator_is_stationary():
    """The bias is not penalised, so at the optimum the probabilities of both domains sum to the number of targets;
    the gradient with respect to v vanishes."""
    seen = gaussians(d=3)
    x = torch.cat([seen.source.x, seen.target.x])
    z = (x - x.mean(0)) / x.std(0, correction=0)
    for c in (0.01, 1.0, 100.0):
        odds = create_method("discriminator_ratio", c=c).log_odds(seen, context())
        design = torch.cat([z, torch.ones(len(z), 1, dtype=z.dtype)], 1)
        beta = torch.linalg.lstsq(design[: len(odds)], odds[:, None]).solution[:, 0]
        side = (torch.arange(len(x)) >= len(odds)).double()
        gradient = c * design.T @ (torch.sigmoid(design @ beta) - side) + torch.cat([beta[:-1], beta.new_zeros(1)])
        # scikit-learn stops once the gradient of the mean loss is below 1e-4
        assert float(gradient.abs().max()) < 1.1e-4 * c * len(x)


def test_neighbour_counts_equal_scikit_learn():
    from sklearn.neighbors import NearestNeighbors

    seen = gaussians()
    rows = NearestNeighbors(n_neighbors=1).fit(seen.source.x.numpy()).kneighbors(seen.target.x.numpy())[1][:, 0]
    w = weights_of("nearest_neighbor_weighting", seen, smoothing=0.0)
    np.testing.assert_array_equal(w.numpy(), np.bincount(rows, minlength=len(w)))
    smoothed = weights_of("nearest_neighbor_weighting", seen)
    torch.testing.assert_close(smoothed, w + 1)


def _kernels(seen: Seen, m: int = 20, sigma: float = 0.9):
    return Bumps(seen.source.x, seen.target.x, centres(seen.target.x, m, context()))(sigma)


def test_kernels_are_gaussian():
    seen = gaussians(30, 20)
    at = seen.target.x[:5]
    ks, _ = Bumps(seen.source.x, seen.target.x, at)(0.7)
    expected = np.exp(-((seen.source.x.numpy()[:, None] - at.numpy()[None]) ** 2).sum(2) / (2 * 0.7**2))
    np.testing.assert_allclose(ks.numpy(), expected, rtol=1e-10)


def test_ulsif_minimises_its_objective():
    """Without the clipping the closed form is the minimum of the penalised squared error, found by BFGS."""
    from scipy.optimize import minimize

    ks, kt = (k.numpy() for k in _kernels(gaussians(), m=8))
    lam = 0.1

    def objective(a):
        residual = ks @ a
        return residual @ residual / (2 * len(ks)) - kt.mean(0) @ a + lam / 2 * a @ a

    best = minimize(objective, np.zeros(ks.shape[1]), method="BFGS", options={"gtol": 1e-9}).x
    ours = _lsif.solve(torch.from_numpy(ks.T @ ks / len(ks)), torch.from_numpy(kt.mean(0)), lam)
    np.testing.assert_allclose(ours.numpy(), np.maximum(best, 0), atol=1e-5)


@pytest.mark.parametrize(("n_s", "n_t"), [(40, 25), (25, 40)])
def test_ulsif_leave_one_out_equals_refitting(n_s, n_t):
    ks, kt = _kernels(gaussians(n_s, n_t), m=10)
    lams = (0.01, 0.3)
    scores = ulsif.leave_one_out(ks, kt, lams)
    for lam, score in zip(lams, scores):
        total = 0.0
        n = min(n_s, n_t)
        for i in range(n):
            row_s, row_t = i * n_s // n, i * n_t // n
            rest_s, rest_t = np.delete(ks.numpy(), row_s, 0), np.delete(kt.numpy(), row_t, 0)
            a = np.linalg.solve(rest_s.T @ rest_s / (n_s - 1) + lam * np.eye(10), rest_t.mean(0))
            a = np.maximum(a, 0)
            total += (ks[row_s].numpy() @ a) ** 2 / 2 - kt[row_t].numpy() @ a
        assert score == pytest.approx(total / n, rel=1e-8)


def test_rulsif_minimises_its_objective():
    from scipy.optimize import minimize

    seen = gaussians(60, 50)
    alpha = 0.3
    method = create_method("rulsif", alpha=alpha, centres=6)
    w = method.weights(seen, context())
    b = _lsif.bases(seen, 6, context())
    # the weights are a non-negative combination of the kernels of one of the widths tried; find it, check optimality
    found = []
    for sigma in b.sigmas:
        ks, kt = (k.numpy() for k in b.bumps(sigma))
        for lam in _lsif.LAMBDAS:

            def objective(a, ks=ks, kt=kt, lam=lam):
                square = alpha * np.mean((kt @ a) ** 2) + (1 - alpha) * np.mean((ks @ a) ** 2)
                return square / 2 - np.mean(kt @ a) + lam / 2 * a @ a

            best = minimize(objective, np.zeros(6), method="BFGS", options={"gtol": 1e-8}).x
            found.append(float(np.abs(ks @ np.maximum(best, 0) - w.numpy()).max()))
    assert min(found) < 1e-4


def test_rulsif_with_alpha_zero_is_ulsif():
    seen = gaussians(1500, 1500)
    relative, plain = weights_of("rulsif", seen, alpha=0.0), weights_of("ulsif", seen)
    assert float(torch.corrcoef(torch.stack([relative, plain]))[0, 1]) > 0.95
    with pytest.raises(DazooError, match="alpha"):
        weights_of("rulsif", seen, alpha=1.0)


def test_cross_validation_equals_refitting():
    seen = gaussians(50, 45)
    ks, kt = _kernels(seen, m=7)
    fold_s, fold_t = _ratio.folds(50, 5, context()), _ratio.folds(45, 5, context(1))
    alpha = 0.4
    ours = rulsif.cross_validate(ks, kt, fold_s, fold_t, alpha)
    for lam, score in zip(_lsif.LAMBDAS, ours):
        total = 0.0
        for f in range(5):
            s, t = ks.numpy()[fold_s != f], kt.numpy()[fold_t != f]
            h = alpha * t.T @ t / len(t) + (1 - alpha) * s.T @ s / len(s)
            a = np.maximum(np.linalg.solve(h + lam * np.eye(7), t.mean(0)), 0)
            s, t = ks.numpy()[fold_s == f], kt.numpy()[fold_t == f]
            total += alpha / 2 * np.mean((t @ a) ** 2) + (1 - alpha) / 2 * np.mean((s @ a) ** 2) - np.mean(t @ a)
        assert score == pytest.approx(total / 5, rel=1e-8)


COVARIATE = [
    "kde_ratio",
    "gaussian_ratio",
    "discriminator_ratio",
    "nearest_neighbor_weighting",
    "ulsif",
    "rulsif",
    "kmm",
    "kliep",
    "ldm",
]


@pytest.mark.parametrize("name", COVARIATE)
def test_beats_source_only_under_covariate_shift(name):
    gains = []
    for seed in range(5):
        task = load_task("shifts/covariate_source->covariate_target", data_seed=seed)
        gains.append(accuracy(name, task) - accuracy("source_only", task))
    assert np.mean(gains) > 3.0 and np.mean(np.array(gains) > 0) >= 0.8, gains


# -- quadratic programmes -------------------------------------------------------------------------------------------


def _kmm_problem(seen: Seen, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """K / n_s and the mean of k over the target, written out."""
    xs, xt = seen.source.x.numpy(), seen.target.x.numpy()

    def gauss(x, y):
        return np.exp(-((x[:, None] - y[None]) ** 2).sum(2) / (2 * sigma**2))

    return gauss(xs, xs) / len(xs), gauss(xs, xt).mean(1)


@pytest.mark.parametrize("bound", [1000.0, 2.0])
def test_kmm_satisfies_the_kkt_conditions(bound):
    seen = gaussians(200, 150)
    ctx = context()
    s = create_method("kmm", bound=bound).solve(seen, ctx)
    q, c = _kmm_problem(seen, float(_ratio.median_sigma(seen, ctx)))
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
    q, c = _kmm_problem(seen, float(_ratio.median_sigma(seen, ctx)))
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


def test_kmm_nystroem_comes_near_the_exact_optimum():
    seen = gaussians(600, 500, d=3)
    ctx = context()
    q, c = _kmm_problem(seen, float(_ratio.median_sigma(seen, ctx)))

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
    ks, kt = _kernels(seen, m=40)
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

    ks, kt = _kernels(gaussians(100, 80), m=8)
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


# -- label shift ----------------------------------------------------------------------------------------------------


def label_task(seed: int = 0, n: int = 500):
    return load_task("shifts/label_source->label_target", data_seed=seed, n=n)


def doubles(seen: Seen) -> Seen:
    source = Labeled(seen.source.x.double(), seen.source.y, seen.source.domain)
    return Seen(source, Unlabeled(seen.target.x.double()), seen.few, seen.n_classes, seen.kind, seen.setting)


TRUE_RATIO = torch.tensor([0.2 / 0.8, 0.8 / 0.2], dtype=torch.float64)


def test_mmd_target_shift_equals_a_generic_solver():
    from scipy.optimize import minimize

    seen = doubles(label_task(n=60).seen())
    method = create_method("mmd_target_shift", bound=3.0)
    quadratic, linear, share = (v.numpy() for v in method.problem(seen, context()))
    eps = 3.0 / (4 * np.sqrt(60))
    best = minimize(
        lambda b: b @ quadratic @ b - 2 * linear @ b,
        np.ones(2),
        bounds=[(0, 3.0)] * 2,
        constraints=[{"type": "ineq", "fun": lambda b: eps - abs(share @ b - 1)}],
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    np.testing.assert_allclose(method.class_weights(seen, context()).numpy(), best.x, atol=1e-4)


def test_mmd_target_shift_means_are_those_of_the_kernel():
    seen = doubles(label_task(n=40).seen())
    ctx = context()
    q, c = _kmm_problem(seen, float(_ratio.median_sigma(seen, ctx)))
    y = seen.source.y.numpy()
    belongs = np.eye(2)[y] / len(y)
    quadratic, linear, share = create_method("mmd_target_shift").problem(seen, ctx)
    np.testing.assert_allclose(quadratic.numpy(), belongs.T @ (q * len(y)) @ belongs, rtol=1e-9)
    np.testing.assert_allclose(linear.numpy(), belongs.T @ c, rtol=1e-9)
    np.testing.assert_allclose(share.numpy(), [0.8, 0.2])


LABEL_SHIFT = ["mmd_target_shift", "bbse", "rlls"]


@pytest.mark.parametrize("name", LABEL_SHIFT)
def test_label_shift_is_recovered(name):
    """With 5000 samples the class weights are within 15 % of p_t(y) / p_s(y) = (0.25, 4)."""
    seen = doubles(label_task(n=5000).seen())
    found = create_method(name).class_weights(seen, context())
    assert float((found / TRUE_RATIO - 1).abs().max()) < 0.15, found


@pytest.mark.parametrize("name", [*LABEL_SHIFT, "em_prior"])
def test_beats_source_only_under_label_shift(name):
    gains = [accuracy(name, label_task(seed)) - accuracy("source_only", label_task(seed)) for seed in range(5)]
    assert np.mean(gains) > 3.0 and min(gains) > 0, gains


def test_bbse_recovers_priors_from_exact_confusions():
    """C w = m holds exactly for a known classifier and known priors; the weights come back to rounding."""
    conditional = torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.5, 0.2], [0.1, 0.3, 0.7]], dtype=torch.float64)
    p, q = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.1, 0.2, 0.7]).double()
    ctx = context()
    found = bbse.solve_bbse(Confusion(conditional * p, conditional @ q, p), ctx)
    torch.testing.assert_close(found, q / p)
    assert not ctx.warnings
    lumped = conditional.clone()
    lumped[:, 2] = lumped[:, 1]  # two classes with the same confusions cannot be told apart
    found = bbse.solve_bbse(Confusion(lumped * p, lumped @ q, p), ctx)
    assert ctx.warnings and bool(torch.isfinite(found).all())
    assert float((lumped * p @ found - lumped @ q).abs().max()) < 1e-10


def test_confusions_are_held_out_and_add_up():
    seen = doubles(label_task(n=200).seen())
    for soft in (False, True):
        c = confusion(seen, context(), 5, soft)
        torch.testing.assert_close(c.joint.sum(0), c.share)
        assert float(c.target.sum()) == pytest.approx(1)
    # 1-NN knows its own training samples; held-out predictions must make mistakes
    ctx = Context(torch.Generator().manual_seed(0), classifier("1nn"))
    assert float(confusion(seen, ctx, 5, False).joint.trace()) < 0.95
    fold = stratified_folds(seen.source.y, 5, ctx)
    counts = torch.stack([torch.bincount(seen.source.y[fold == f], minlength=2) for f in range(5)])
    assert int((counts.amax(0) - counts.amin(0)).max()) <= 1


def test_rlls_equals_a_generic_solver():
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    for k, rho in ((2, 0.1), (3, 0.01), (3, 0.3), (4, 0.0001)):
        c, b = rng.dirichlet(np.ones(k), size=k).T / k, rng.normal(size=k) * 0.1

        def objective(t, c=c, b=b, rho=rho):
            return np.linalg.norm(c @ t - b) + rho * np.linalg.norm(t)

        ours, converged = rlls.solve_rlls(torch.from_numpy(c), torch.from_numpy(b), rho)
        starts = [np.full(k, s) for s in (-0.5, 0.1, 2.0)]
        best = min(
            (minimize(objective, s, bounds=[(-1, None)] * k, method="Nelder-Mead",
                      options={"xatol": 1e-10, "fatol": 1e-13, "maxiter": 20000, "maxfev": 20000}) for s in starts),
            key=lambda r: r.fun,
        )  # fmt: skip
        assert converged and bool((ours >= -1).all())
        assert objective(ours.numpy()) <= best.fun + 1e-7


def test_rlls_without_shift_is_exactly_one():
    """A difference within the regularisation is answered with no change at all."""
    c = torch.diag(torch.tensor([0.4, 0.5], dtype=torch.float64))
    theta, _ = rlls.solve_rlls(c, torch.tensor([0.01, -0.01], dtype=torch.float64), 0.6)
    assert bool((theta == 0).all())
    seen = doubles(label_task().seen())
    assert bool((create_method("rlls", gamma=0.0).class_weights(seen, context()) == 1).all())


def test_em_raises_the_likelihood_to_its_maximum():
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    probs = torch.from_numpy(rng.dirichlet([0.5, 0.5, 0.5], size=200))
    prior = torch.tensor([0.5, 0.3, 0.2]).double()
    found, trace = em_prior.em_priors(probs, prior)
    assert all(b >= a - 1e-14 for a, b in itertools.pairwise(trace))
    ratio = (probs / prior).numpy()
    best = minimize(
        lambda q: -np.log(ratio @ q).mean(), np.full(3, 1 / 3), bounds=[(1e-9, 1)] * 3, method="SLSQP",
        constraints=[{"type": "eq", "fun": lambda q: q.sum() - 1}], options={"ftol": 1e-14},
    )  # fmt: skip
    np.testing.assert_allclose(found.numpy(), best.x, atol=1e-4)
    assert trace[-1] == pytest.approx(-best.fun, abs=1e-9)


def test_em_finds_the_priors_of_a_calibrated_classifier():
    """The exact posterior of the label shift, log-odds 2 x_1 + log(0.2 / 0.8), leads to the target's priors."""
    x = label_task(n=5000).target.x[:, 0].double()
    p = torch.sigmoid(2 * x + np.log(0.2 / 0.8))
    found, _ = em_prior.em_priors(torch.stack([1 - p, p], 1), torch.tensor([0.8, 0.2]).double())
    assert float(found[1]) == pytest.approx(0.8, abs=0.02)


def test_em_leaves_source_predictions_alone():
    task = label_task()
    model = fit(create_method("em_prior"), task.seen(), seed=0).predictor
    plain = fit(create_method("source_only"), task.seen(), seed=0).predictor
    x = task.target.x
    torch.testing.assert_close(model.predict_source(x).scores, plain.predict(x).scores)
    difference = model.predict(x).scores - plain.predict(x).scores
    odds = difference[:, 1] - difference[:, 0]
    assert float(odds.std()) < 1e-9 and 2.0 < float(odds.mean()) < 3.5  # log 16 = 2.77


# -- discrepancy ----------------------------------------------------------------------------------------------------


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


REGRESSION = ["gaussian_ratio", "discriminator_ratio", "nearest_neighbor_weighting", "ulsif", "rulsif", "kmm", "kliep"]


@pytest.mark.parametrize("name", [*REGRESSION, "kde_ratio", "ldm"])
def test_beats_source_only_in_regression(name):
    """Shimodaira's cubic: the best line on the target is another one than on the source; ridge finds it by weights."""
    ratios = []
    for seed in range(3):
        task = load_task("shifts_regression/source->target", data_seed=seed)
        hidden = task.hidden()
        errors = []
        for method in (name, "source_only"):
            options = Options(classifier=classifier("ridge"))
            model = fit(create_method(method), task.seen(), seed=0, options=options).predictor
            errors.append(float((model.predict(hidden.x).values - hidden.y).square().mean()))
        ratios.append(errors[0] / errors[1])
    assert max(ratios) < 0.8, ratios


# -- few labels -----------------------------------------------------------------------------------------------------


def few_task(regression: bool = False, seed: int = 0):
    return toy_task(FEW_LABELS, regression=regression, seed=seed)


def test_balanced_weighting_equals_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    task = few_task()
    seen = task.seen()
    x = torch.cat([seen.source.x, seen.few.x]).double().numpy()
    y = torch.cat([seen.source.y, seen.few.y]).numpy()
    n_s, n_f = len(seen.source), len(seen.few)
    for gamma in (0.2, 0.9):
        weights = np.concatenate([np.full(n_s, (1 - gamma) / n_s), np.full(n_f, gamma / n_f)]) * len(x)
        expected = LogisticRegression(max_iter=1000).fit(x, y, sample_weight=weights).predict_proba(task.target.x)
        ours = fit(create_method("balanced_weighting", gamma=gamma), seen, seed=0).predictor.predict(task.target.x)
        np.testing.assert_allclose(ours.probs.numpy(), expected, atol=2e-3)


def _boosting_by_the_book(x, y, n_s, rounds, model, error_of, graded=False):
    w, beta = np.ones(len(x)), 1 / (1 + np.sqrt(2 * np.log(n_s) / rounds))
    fitted, votes = [], []
    for _ in range(rounds):
        p = w / w.sum()
        h = model().fit(x, y, sample_weight=p * len(x))
        e = error_of(h.predict(x), y)
        rate = max((p[n_s:] * e[n_s:]).sum() / p[n_s:].sum(), 1e-6)
        if rate >= 0.5 and graded:
            break
        rate = rate if rate < 0.5 - 1e-9 else 0.5
        if rate < 0.5:
            fitted.append(h)
            votes.append(np.log((1 - rate) / rate))
        w = np.concatenate([w[:n_s] * beta ** e[:n_s], w[n_s:] * (rate / (1 - rate)) ** -e[n_s:]])
    half = len(fitted) // 2
    return fitted[half:], np.array(votes[half:])


def test_tradaboost_follows_the_paper():
    from sklearn.linear_model import LogisticRegression

    task = load_task("shifts/concept_source->concept_target", setting=FEW_LABELS, few_per_class=20)
    seen = task.seen()
    x = torch.cat([seen.source.x, seen.few.x]).double().numpy()
    y = torch.cat([seen.source.y, seen.few.y]).numpy()
    fitted, votes = _boosting_by_the_book(
        x, y, len(seen.source), 20, lambda: LogisticRegression(max_iter=1000), lambda h, y: (h != y).astype(float)
    )
    xt = task.hidden().x.double().numpy()
    share = sum(v * np.eye(2)[h.predict(xt)] for h, v in zip(fitted, votes)) / votes.sum()
    assert len(votes) >= 5 and ((share > 0.01) & (share < 0.99)).any()
    ours = fit(create_method("tradaboost", rounds=20), seen, seed=0).predictor.predict(task.hidden().x)
    np.testing.assert_allclose(np.exp(ours.scores.numpy()), 0.999 * share + 0.0005, atol=1e-3)


def test_tradaboost_drops_source_samples_that_disagree():
    """Under concept shift the source samples whose label the target's rule contradicts end with less weight, and the
    result beats training on everything."""
    gains = []
    for seed in range(3):
        task = load_task("shifts/concept_source->concept_target", setting=FEW_LABELS, few_per_class=40, data_seed=seed)
        seen = task.seen()
        method = create_method("tradaboost")
        w = method.boost(_as_doubles(seen), context())[2][: len(seen.source)]
        turned = torch.tensor([np.cos(np.pi / 3), np.sin(np.pi / 3)]).float()
        agrees = (seen.source.x @ turned > 0).long() == seen.source.y
        assert float(w[agrees].mean()) > 5 * float(w[~agrees].mean())
        hidden = task.hidden()
        scores = []
        for name in ("tradaboost", "balanced_weighting"):
            hparams = {} if name == "tradaboost" else {"gamma": len(seen.few) / (len(seen.few) + len(seen.source))}
            model = fit(create_method(name, **hparams), seen, seed=0).predictor
            scores.append(float((model.predict(hidden.x).labels == hidden.y).double().mean()))
        gains.append(scores[0] - scores[1])
    assert min(gains) > 0.1, gains


def _as_doubles(seen: Seen) -> Seen:
    def lift(part):
        return Labeled(part.x.double(), part.y, part.domain)

    few = None if seen.few is None else lift(seen.few)
    return Seen(lift(seen.source), Unlabeled(seen.target.x.double()), few, seen.n_classes, seen.kind, seen.setting)


def test_tradaboost_r2_follows_the_paper():
    from sklearn.linear_model import Ridge

    task = few_task(regression=True)
    seen = task.seen()
    rng = np.random.default_rng(0)
    y_s = seen.source.y + 0.5 * torch.from_numpy(rng.normal(size=len(seen.source))).float()
    seen = Seen(
        Labeled(seen.source.x, y_s, seen.source.domain), seen.target, seen.few, 0, seen.kind, seen.setting
    )  # fmt: skip
    x = torch.cat([seen.source.x, seen.few.x]).double().numpy()
    y = torch.cat([seen.source.y, seen.few.y]).double().numpy()
    fitted, votes = _boosting_by_the_book(
        x, y, len(y_s), 8, lambda: Ridge(alpha=1.0), lambda h, y: np.abs(h - y) / np.abs(h - y).max(), True
    )
    values = np.stack([h.predict(task.target.x.double().numpy()) for h in fitted], 1)
    order = np.argsort(values, 1)
    mass = np.cumsum(votes[order], 1)
    pick = (mass >= votes.sum() / 2).argmax(1)
    expected = np.take_along_axis(values, np.take_along_axis(order, pick[:, None], 1), 1)[:, 0]
    ours = fit(create_method("tradaboost_r2", rounds=8), seen, seed=0).predictor.predict(task.target.x).values
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-8)


def test_weighted_median():
    def constant(value: float) -> AffineHead:
        return AffineHead(
            torch.zeros(2, 1).double(), torch.tensor([value]).double(), torch.zeros(1).long(), 0, "values"
        )

    z = torch.zeros(3, 2).double()
    heads = tuple(constant(v) for v in (5.0, 1.0, 3.0))
    for votes, expected in (((1.0, 1.0, 1.0), 3.0), ((5.0, 1.0, 1.0), 5.0), ((1.0, 2.0, 1.0), 1.0)):
        assert bool((WeightedMedian(heads, torch.tensor(votes))(z) == expected).all())


def _noisy_few(seed: int = 0, noise: float = 0.5):
    """The few-label regression toy task in double precision, with noise on the source's values."""
    seen = few_task(regression=True, seed=seed).seen()
    rng = np.random.default_rng(seed)
    y = seen.source.y.double() + noise * torch.from_numpy(rng.normal(size=len(seen.source)))
    source = Labeled(seen.source.x.double(), y, seen.source.domain)
    few = Labeled(seen.few.x.double(), seen.few.y.double(), seen.few.domain)
    return Seen(source, Unlabeled(seen.target.x.double()), few, 0, seen.kind, seen.setting)


def ridge_context() -> Context:
    return Context(torch.Generator().manual_seed(0), classifier("ridge"))


def test_two_stage_shares_grow_evenly():
    seen = _noisy_few()
    x, y, n_s = both(seen)
    shares = [
        float(w[n_s:].sum()) for w in create_method("two_stage_tradaboost_r2").weightings(x, y, n_s, ridge_context())
    ]
    np.testing.assert_allclose(shares, np.linspace((len(x) - n_s) / len(x), 1, 10), atol=1e-9)
    w, errors = torch.full((5,), 0.2).double(), torch.tensor([0.0, 0.5, 1.0]).double()
    moved = two_stage.shifted(w, errors, 3, 0.5)
    ratio = moved[:3] / moved[0]
    assert float(ratio[2]) == pytest.approx(float(ratio[1]) ** 2)
    assert float(moved[3:].sum()) == pytest.approx(0.5) and float(moved.sum()) == pytest.approx(1)


def test_two_stage_boosting_follows_adaboost_r2():
    from sklearn.linear_model import Ridge

    x, y, n_s = both(_noisy_few())
    w = torch.full((len(x),), 1.0 / len(x), dtype=torch.float64)
    ours = create_method("two_stage_tradaboost_r2", rounds=4).boost(x, y, w, n_s, ridge_context())(x)[:, 0].numpy()
    p, fitted, votes = w.numpy().copy(), [], []
    for _ in range(4):
        model = Ridge(alpha=1.0).fit(x.numpy(), y.numpy(), sample_weight=p / p.mean())
        e = np.abs(model.predict(x.numpy()) - y.numpy())
        e = (e / e.max())[n_s:]
        rate = (p[n_s:] * e).sum() / p[n_s:].sum()
        fitted.append(model.predict(x.numpy()))
        votes.append(np.log((1 - rate) / rate))
        few = p[n_s:] * (rate / (1 - rate)) ** (1 - e)
        p = np.concatenate([p[:n_s], few * p[n_s:].sum() / few.sum()])
    values, votes = np.stack(fitted, 1), np.array(votes)
    for row, answer in zip(values, ours, strict=True):
        order = np.argsort(row)
        assert answer == pytest.approx(row[order][(np.cumsum(votes[order]) >= votes.sum() / 2).argmax()], abs=1e-8)


def test_two_stage_forgets_a_misleading_source():
    """With the source's values turned round, the error comes near that of the labelled target samples alone."""
    ratios = []
    for seed in range(3):
        seen = _noisy_few(seed)
        turned = Labeled(seen.source.x, -seen.source.y, seen.source.domain)
        seen = Seen(turned, seen.target, seen.few, 0, seen.kind, seen.setting)
        task = few_task(regression=True, seed=seed)
        hidden = task.hidden()
        model = create_method("two_stage_tradaboost_r2").fit(seen, ridge_context())
        alone = classifier("ridge").fit(seen.few.x, seen.few.y, 0)
        pooled = classifier("ridge").fit(*both(seen)[:2], 0)
        errors = [float((v - hidden.y).square().mean()) for v in
                  (model.predict(hidden.x).values, alone(hidden.x.double())[:, 0], pooled(hidden.x.double())[:, 0])]  # fmt: skip
        ratios.append((errors[0] / errors[1], errors[0] / errors[2]))
    assert max(r[0] for r in ratios) < 3 and max(r[1] for r in ratios) < 0.3, ratios
