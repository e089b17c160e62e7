"""Label shift: exact confusions, recovered priors, and generic solvers on the same problems."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from dazoo.core.memo import Memo
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.data.registry import load_task
from dazoo.engine.fit import fit
from dazoo.methods.base import Context, create_method
from dazoo.methods.reweighting import _ratio, bbse, em_prior, rlls
from dazoo.methods.reweighting._label_shift import Confusion, confusion, stratified_folds
from dazoo.shallow.classifiers import Classifier, classifier
from tests.gaussians import accuracy, context, kmm_problem


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


def test_methods_on_the_same_folds_share_their_models(monkeypatch):
    seen, memo, fits = doubles(label_task(n=60).seen()), Memo(), []
    original = Classifier.fit
    monkeypatch.setattr(Classifier, "fit", lambda *args, **kw: fits.append(1) or original(*args, **kw))

    def weights(name: str, memo: Memo) -> torch.Tensor:
        ctx = Context(torch.Generator().manual_seed(0), classifier("logistic"), memo)
        return create_method(name).class_weights(seen, ctx)

    alone = [weights(name, Memo()) for name in ("bbse", "rlls")]
    assert len(fits) == 10
    assert all(torch.equal(weights(name, memo), a) for name, a in zip(("bbse", "rlls"), alone))
    assert len(fits) == 15


def test_mmd_target_shift_means_are_those_of_the_kernel():
    seen = doubles(label_task(n=40).seen())
    ctx = context()
    q, c = kmm_problem(seen, float(_ratio.median_sigma(seen, ctx)))
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
