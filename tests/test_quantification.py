"""Estimates of class shares: exact where what is known is exact, within stated errors on samples, told to people."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch

import dazoo
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.data.registry import load_task
from dazoo.engine.fit import Options, fit
from dazoo.engine.predictor import NetPredictor
from dazoo.engine.recipe import Recipe
from dazoo.methods.adversarial._class_ratio import importance_weights
from dazoo.methods.base import METHODS, create_method
from dazoo.methods.label_shift.hdy import histograms
from dazoo.methods.label_shift.kdey import log_densities
from dazoo.methods.reweighting._label_shift import Confusion, shares_of
from dazoo.methods.reweighting.bbse import solve_bbse
from dazoo.methods.reweighting.em_prior import em_priors
from dazoo.methods.reweighting.rlls import solve_rlls
from dazoo.ops.shares import CALIBRATIONS, calibration, em_shares, likelihood_shares, mixture_shares
from dazoo.shallow.classifiers import classifier
from tests.gaussians import context

SOURCE, TARGET = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.1, 0.2, 0.7]).double()
CONDITIONAL = torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.5, 0.2], [0.1, 0.3, 0.7]]).double()
ESTIMATES = sorted(
    [n for n in METHODS.names() if METHODS.get(n).family == "label_shift"] + ["bbse", "rlls", "em_prior"]
)


def test_exact_confusions_give_exact_shares():
    """bbse, acc and pacc, rlls without regularisation, and the ratio of iwdan; counts alone are those of the target."""
    exact = Confusion(CONDITIONAL * SOURCE, CONDITIONAL @ TARGET, SOURCE)
    torch.testing.assert_close(shares_of(solve_bbse(exact, context()), SOURCE), TARGET)
    theta, converged = solve_rlls(exact.joint, exact.target - exact.joint.sum(1), 0.0)
    assert converged
    torch.testing.assert_close(shares_of(1 + theta, SOURCE), TARGET)
    ratio = importance_weights(exact.joint, exact.target, SOURCE)
    torch.testing.assert_close(shares_of(ratio, SOURCE), TARGET, atol=1e-6, rtol=0)


def test_exact_mixtures_give_exact_shares():
    """hdy, and what maximises a likelihood (em_prior, bcts_em, kdey, mlls): samples in exactly the expected numbers."""
    found, converged = mixture_shares(CONDITIONAL, CONDITIONAL @ TARGET)
    assert converged
    torch.testing.assert_close(found, TARGET, atol=1e-6, rtol=0)
    counts = (100 * CONDITIONAL @ TARGET).round().long()
    rows = CONDITIONAL.repeat_interleave(counts, 0)  # p(x|c) of every sample
    found, converged = likelihood_shares(rows)
    assert converged
    torch.testing.assert_close(found, TARGET, atol=1e-6, rtol=0)
    torch.testing.assert_close(em_shares(rows, torch.full_like(SOURCE, 1 / 3))[0], TARGET, atol=1e-5, rtol=0)
    posterior = rows * SOURCE / (rows @ SOURCE)[:, None]
    torch.testing.assert_close(em_priors(posterior, SOURCE)[0], TARGET, atol=1e-5, rtol=0)


def test_likelihood_has_one_maximum():
    rng = np.random.default_rng(0)
    probs = torch.from_numpy(rng.dirichlet([0.5, 0.5, 0.5], size=200))
    climbed, _ = em_priors(probs, SOURCE)
    torch.testing.assert_close(likelihood_shares(probs / SOURCE)[0], climbed, atol=1e-4, rtol=0)


def task(seed: int, n: int):
    return load_task("shifts/label_source->label_target", data_seed=seed, n=n, setting="label_shift", seed=seed)


@lru_cache(maxsize=64)
def error(name: str, seed: int, n: int) -> float:
    """Absolute error of the estimated share of the second class, 0.8."""
    made = fit(create_method(name), task(seed, n).seen(), options=Options(classifier=classifier("logistic")))
    prior = made.predictor.predict(task(seed, n).target.x).prior
    assert float(prior.sum()) == pytest.approx(1) and float(prior.min()) >= 0
    return abs(float(prior[1]) - 0.8)


# mean and largest error over 20 seeds of an independent implementation, with half of the source for the confusions
BANDS = {
    ("cc", 500): (0.31, 0.37), ("acc", 500): (0.09, 0.19), ("pcc", 500): (0.32, 0.36), ("pacc", 500): (0.07, 0.19),
    ("em_prior", 500): (0.03, 0.09), ("bcts_em", 500): (0.03, 0.09), ("mlls", 500): (0.03, 0.09),
    ("cc", 2000): (0.30, 0.33), ("acc", 2000): (0.04, 0.10), ("pcc", 2000): (0.31, 0.33), ("pacc", 2000): (0.03, 0.07),
    ("em_prior", 2000): (0.02, 0.04), ("bcts_em", 2000): (0.02, 0.04), ("mlls", 2000): (0.02, 0.04),
}  # fmt: skip


@pytest.mark.parametrize(("name", "n"), BANDS)
def test_errors_on_label_shift_lie_in_the_stated_bands(name, n):
    mean, most = BANDS[name, n]
    errors = [error(name, seed, n) for seed in range(20)]  # other draws of the data: the mean of 20 moves by 0.01
    assert np.mean(errors) <= mean + 0.01 and max(errors) <= most + 0.02, errors
    if name in ("cc", "pcc"):  # whose error is no accident
        assert np.mean(errors) >= mean - 0.01, errors


@pytest.mark.parametrize("name", ["hdy", "kdey", "bbse", "rlls"])
def test_other_estimates_beat_counting(name):
    errors = [error(name, seed, 500) for seed in range(3)]
    assert max(errors) < 0.15 < min(error("cc", seed, 500) for seed in range(3)), errors


def test_counting_is_wrong_by_the_confusions():
    """CC is M q and PCC the mean probability: of a classifier that is right in 9 of 10 samples of every class."""
    y = np.repeat([0, 1], [50, 150])
    said = np.where(np.arange(200) % 10 == 0, 1 - y, y)
    x = torch.from_numpy(np.stack([said, 1 - said], 1)).float()
    ys = torch.arange(200) % 2
    source = Labeled(torch.stack([ys, 1 - ys], 1).float(), ys, torch.zeros(200, dtype=torch.int64))
    seen = Seen(source, Unlabeled(x), None, 2, "vector", "label_shift")
    found = {
        name: fit(create_method(name), seen, options=Options(classifier=classifier("logistic"))).predictor.predict(x)
        for name in ("cc", "pcc")
    }
    assert found["cc"].prior.tolist() == pytest.approx([0.25 * 0.9 + 0.75 * 0.1, 0.75 * 0.9 + 0.25 * 0.1])
    plain = fit(create_method("source_only"), seen, options=Options(classifier=classifier("logistic"))).predictor
    torch.testing.assert_close(found["pcc"].prior, plain.predict(x).probs.mean(0).double())


def test_every_estimate_also_corrects_the_answers():
    """log p(c|x) + log q_c - log p_c, and nothing else: the odds of all samples move by the same amount."""
    made = task(0, 200)
    options = Options(classifier=classifier("logistic"))
    plain = fit(create_method("source_only"), made.seen(), options=options).predictor
    for name in ("cc", "acc", "pcc", "pacc", "hdy", "kdey"):
        out = fit(create_method(name), made.seen(), options=options).predictor.predict(made.target.x)
        moved = (out.scores - plain.predict(made.target.x).scores).diff(dim=1)
        expected = (out.prior[1] / 0.2).log() - (out.prior[0] / 0.8).log()
        torch.testing.assert_close(moved, expected.expand_as(moved), atol=1e-8, rtol=0)


def test_calibration_finds_scale_and_bias():
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.normal(size=(4000, 3)) * 2)
    y = torch.distributions.Categorical(logits=2.0 * z + torch.tensor([0.0, 1.0, -1.0])).sample()
    y = torch.from_numpy(
        np.array([rng.choice(3, p=p) for p in (2.0 * z + torch.tensor([0.0, 1.0, -1.0])).softmax(1).numpy()])
    )
    scale, bias = calibration(z, y, "bcts")
    assert scale.tolist() == pytest.approx([2.0] * 3, abs=0.15) and len(set(scale.tolist())) == 1
    assert (bias - bias[0]).tolist() == pytest.approx([0.0, 1.0, -1.0], abs=0.2)
    losses = {}
    for kind in CALIBRATIONS:
        scale, bias = calibration(z, y, kind)
        losses[kind] = float(torch.nn.functional.cross_entropy(scale * z + bias, y))
    assert losses["vector"] <= losses["bcts"] + 1e-9 <= losses["temperature"] + 1e-9 < losses["none"]
    scale, bias = calibration(z, y, "bcts")
    mean = (scale * z + bias).softmax(1).mean(0)  # where the gradient of the bias vanishes
    torch.testing.assert_close(mean, torch.bincount(y).double() / len(y), atol=1e-5, rtol=0)
    scale, bias = calibration(torch.eye(2).double(), torch.tensor([0, 1]), "bcts")  # separable
    assert bool(torch.isfinite(scale).all()) and bool(torch.isfinite(bias).all())


def test_densities_are_means_of_kernels():
    rng = np.random.default_rng(1)
    p, at, y = (rng.dirichlet(np.ones(3), size=k) for k in (9, 4)), None, np.arange(9) % 2
    p, at = p
    expected = [[np.exp(-((a - p[y == c]) ** 2).sum(1) / (2 * 0.04)).mean() for c in range(2)] for a in at]
    found = log_densities(torch.from_numpy(p), torch.from_numpy(y), torch.from_numpy(at), 3, 0.2).exp()
    np.testing.assert_allclose(found[:, :2], expected, rtol=1e-10)
    assert bool((found[:, 2] == 0).all())


def test_histograms_hold_every_sample_once_per_column():
    probs = torch.tensor([[0.0, 1.0], [0.25, 0.75], [0.5, 0.5]]).double()
    assert histograms(probs, 2).tolist() == pytest.approx([2 / 3, 1 / 3, 0.0, 1.0])


def test_a_model_says_the_shares_by_class():
    made = task(0, 300)
    model = dazoo.fit("acc", made, classifier="logistic")
    out = model.predict(made.target.x)
    assert out.shares == {"negative": float(out.prior[0]), "positive": float(out.prior[1])}
    assert model.report["shares"] == pytest.approx(out.shares)
    assert f"{100 * out.shares['positive']:.0f} % positive" in repr(model)
    assert "shares" not in dazoo.fit("coral", made, classifier="logistic").report


@pytest.mark.parametrize("name", ESTIMATES)
def test_shares_are_kept_by_saved_models(name, tmp_path):
    made = task(0, 100)
    model = dazoo.fit(name, made, classifier="logistic")
    dazoo.save(model, tmp_path / "m.safetensors")
    before, after = (m.predict(made.target.x).prior for m in (model, dazoo.load(tmp_path / "m.safetensors")))
    torch.testing.assert_close(before, after)


@pytest.mark.parametrize("name", ["iwdan", "iwcdan"])
def test_weighted_adversaries_say_the_shares_of_their_weights(name):
    made = task(0, 200)
    options = Options(recipe=Recipe.named("digits", steps=40, bottleneck=8), backbone="mlp")
    predictor = fit(create_method(name), made.seen(), options=options).predictor
    ratio = predictor.net.class_ratio
    expected = torch.tensor([0.8, 0.2]) * ratio.w
    torch.testing.assert_close(predictor.predict(made.target.x).prior, expected / expected.sum())
    assert not torch.allclose(ratio.w, torch.ones(2))
    early = NetPredictor(predictor.method, predictor.hparams, predictor.spec, dict(predictor.state), predictor.recipe)
    del early.state["class_ratio.share"]  # a model of version 0.1.0
    assert torch.equal(early.predict(made.target.x).scores, predictor.predict(made.target.x).scores)
    assert early.predict(made.target.x).prior is None
