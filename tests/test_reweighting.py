"""Density ratios: known ratios, closed forms, and independent solutions of the same problems."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dazoo.core.errors import DazooError
from dazoo.data.registry import load_task
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import Context, create_method
from dazoo.methods.reweighting import _lsif, _ratio, kde_ratio, rulsif, ulsif
from dazoo.methods.reweighting._ratio import Bumps
from dazoo.shallow.classifiers import classifier
from tests.gaussians import accuracy, context, gaussians, kernels, true_log_ratio, weights_of

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


def test_a_shared_result_warns_in_every_run():
    seen = gaussians(d=3)
    first = context()
    first.memo(("domain_odds", 1.0), lambda: (seen.source.x[:, 0], ["it stopped early"]))
    second = Context(torch.Generator(), first.classifier, first.memo)
    for ctx in (first, second):
        create_method("discriminator_ratio").weights(seen, ctx)
        assert ctx.warnings == ["discriminator_ratio: it stopped early"]


def test_neighbour_counts_equal_scikit_learn():
    from sklearn.neighbors import NearestNeighbors

    seen = gaussians()
    rows = NearestNeighbors(n_neighbors=1).fit(seen.source.x.numpy()).kneighbors(seen.target.x.numpy())[1][:, 0]
    w = weights_of("nearest_neighbor_weighting", seen, smoothing=0.0)
    np.testing.assert_array_equal(w.numpy(), np.bincount(rows, minlength=len(w)))
    smoothed = weights_of("nearest_neighbor_weighting", seen)
    torch.testing.assert_close(smoothed, w + 1)


def test_kernels_are_gaussian():
    seen = gaussians(30, 20)
    at = seen.target.x[:5]
    ks, _ = Bumps(seen.source.x, seen.target.x, at)(0.7)
    expected = np.exp(-((seen.source.x.numpy()[:, None] - at.numpy()[None]) ** 2).sum(2) / (2 * 0.7**2))
    np.testing.assert_allclose(ks.numpy(), expected, rtol=1e-10)


def test_ulsif_minimises_its_objective():
    """Without the clipping the closed form is the minimum of the penalised squared error, found by BFGS."""
    from scipy.optimize import minimize

    ks, kt = (k.numpy() for k in kernels(gaussians(), m=8))
    lam = 0.1

    def objective(a):
        residual = ks @ a
        return residual @ residual / (2 * len(ks)) - kt.mean(0) @ a + lam / 2 * a @ a

    best = minimize(objective, np.zeros(ks.shape[1]), method="BFGS", options={"gtol": 1e-9}).x
    ours = _lsif.solve(torch.from_numpy(ks.T @ ks / len(ks)), torch.from_numpy(kt.mean(0)), lam)
    np.testing.assert_allclose(ours.numpy(), np.maximum(best, 0), atol=1e-5)


@pytest.mark.parametrize(("n_s", "n_t"), [(40, 25), (25, 40)])
def test_ulsif_leave_one_out_equals_refitting(n_s, n_t):
    ks, kt = kernels(gaussians(n_s, n_t), m=10)
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
    ks, kt = kernels(seen, m=7)
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
