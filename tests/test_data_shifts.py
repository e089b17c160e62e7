"""The synthetic shifts: their Bayes accuracies, what source-only loses on them, and that a right method can win."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import norm
from sklearn.linear_model import LinearRegression, LogisticRegression

from dazoo.core.errors import DazooError, UnknownName
from dazoo.data.registry import expand_tasks, load_domain, load_task
from dazoo.data.sets import shifts
from dazoo.data.sets.shifts import bayes_accuracy
from dazoo.data.sets.shifts_regression import bayes_mse


def arrays(kind: str, n: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    s, t = (load_domain("shifts", f"{kind}_{side}", n=n) for side in shifts.SIDES)
    return s.x.double().numpy(), s.y.numpy(), t.x.double().numpy(), t.y.numpy()


def source_only(kind: str) -> float:
    xs, ys, xt, yt = arrays(kind)
    return float(LogisticRegression(max_iter=2000).fit(xs, ys).score(xt, yt))


@pytest.mark.parametrize("kind", shifts.KINDS)
def test_bayes_accuracy_is_that_of_the_bayes_rule(kind: str):
    n = 400_000
    drawn = shifts.draw(f"{kind}_target", n, np.random.default_rng(5))
    hits = float(((drawn.p > 0.5) == drawn.y).mean())
    exact = bayes_accuracy(kind)
    assert abs(hits - exact) < 4 * np.sqrt(exact * (1 - exact) / n)


def test_bayes_mse_is_that_of_the_true_function():
    target = load_domain("shifts_regression", "target", n=200_000)
    x, y = target.x[:, 0].numpy(), target.y.numpy()
    assert abs(float(((y - (x**3 - x)) ** 2).mean()) - bayes_mse()) < 4 * bayes_mse() * np.sqrt(2 / 200_000)


@pytest.mark.parametrize("kind", shifts.KINDS)
def test_source_only_loses_clearly(kind: str):
    assert source_only(kind) < bayes_accuracy(kind) - 0.15


def test_covariate_shift_is_undone_by_importance_weights():
    xs, ys, xt, yt = arrays("covariate")

    def density(x: np.ndarray, side: str) -> np.ndarray:
        return np.prod([norm.pdf(x[:, j], m, s) for j, (m, s) in enumerate(shifts.COVARIATES[side])], axis=0)

    weights = density(xs, "target") / density(xs, "source")
    assert weights.max() < 20
    weighted = LogisticRegression().fit(xs, ys, weights).score(xt, yt)
    assert weighted > source_only("covariate") + 0.15


def test_label_shift_is_undone_by_the_target_priors():
    xs, ys, xt, yt = arrays("label")
    weights = np.where(ys == 1, 0.8 / 0.2, 0.2 / 0.8)
    weighted = LogisticRegression().fit(xs, ys, weights).score(xt, yt)
    assert weighted > bayes_accuracy("label") - 0.03
    assert abs(yt.mean() - 0.8) < 1e-9 and abs(ys.mean() - 0.2) < 1e-9


def test_concept_shift_shows_in_the_labels_only():
    xs, _, xt, yt = arrays("concept")
    assert np.abs(xs.mean(0) - xt.mean(0)).max() < 0.1 and np.abs(np.cov(xs.T) - np.cov(xt.T)).max() < 0.1
    assert LogisticRegression().fit(xt[:50], yt[:50]).score(xt[50:], yt[50:]) > source_only("concept") + 0.15


def test_subspace_shift_is_undone_by_subspace_alignment_and_by_transport():
    import ot

    xs, ys, xt, yt = arrays("subspace", 500)
    plain = source_only("subspace")
    ps, pt = (np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:4].T for x in (xs, xt))
    aligned = LogisticRegression().fit((xs - xs.mean(0)) @ ps @ ps.T @ pt, ys).score((xt - xt.mean(0)) @ pt, yt)
    transport = ot.da.LinearTransport(reg=1e-6).fit(Xs=xs, Xt=xt)
    moved = LogisticRegression().fit(transport.transform(Xs=xs), ys).score(xt, yt)
    assert aligned > plain + 0.2 and moved > plain + 0.2


def test_the_target_of_the_subspace_shift_is_a_rigid_copy():
    z = np.random.default_rng(0).standard_normal((50, shifts.WIDTH))
    x = shifts._turned(z)
    assert np.abs(x - z).max() > 1
    assert np.allclose(pdist(x), pdist(z))


def test_regression_shift_is_undone_by_importance_weights():
    s, t = (load_domain("shifts_regression", side, n=2000) for side in shifts.SIDES)
    xs, ys, xt, yt = s.x.numpy(), s.y.numpy(), t.x.numpy(), t.y.numpy()
    weights = np.exp(norm.logpdf(xs[:, 0], 0.0, 0.3) - norm.logpdf(xs[:, 0], 0.5, 0.5))
    mse = lambda w: float(((LinearRegression().fit(xs, ys, w).predict(xt) - yt) ** 2).mean())  # noqa: E731
    assert mse(None) > 2 * bayes_mse() and mse(weights) < 1.3 * bayes_mse()


def test_wildcards_pair_only_what_belongs_together():
    tasks = expand_tasks(["shifts/*->*"])
    assert tasks == [f"shifts/{k}_source->{k}_target" for k in shifts.KINDS]
    for name in tasks:
        task = load_task(name, n=60)
        assert len(task.seen().source) == 60 and task.n_classes == 2
    regression = load_task("shifts_regression/source->target", n=60)
    assert regression.regression and expand_tasks(["shifts_regression/*->*"]) == ["shifts_regression/source->target"]


def test_draws_are_seeded_and_independent():
    one, two, other = (load_domain("shifts", "label_source", data_seed=s) for s in (0, 0, 1))
    assert one.fingerprint == two.fingerprint != other.fingerprint
    source, target = (load_domain("shifts", f"concept_{side}") for side in shifts.SIDES)
    assert not torch.isin(source.x, target.x).any()


def test_errors():
    with pytest.raises(UnknownName, match="did you mean 'label'"):
        bayes_accuracy("labels")
    with pytest.raises(DazooError, match="at least 10"):
        load_domain("shifts", "label_source", n=3)
    with pytest.raises(DazooError, match="shape"):
        load_task("shifts/label_source->subspace_target")
