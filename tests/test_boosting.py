"""Few labels by weights: the papers' formulae written out with scikit-learn."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dazoo.core.setting import FEW_LABELS
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.data.registry import load_task
from dazoo.engine.fit import fit
from dazoo.methods.base import Context, create_method
from dazoo.methods.reweighting import two_stage_tradaboost_r2 as two_stage
from dazoo.methods.reweighting._boost import WeightedMedian, both
from dazoo.shallow.classifiers import classifier
from dazoo.shallow.steps import LinearScores as AffineHead
from tests.gaussians import context
from tests.toys import toy_task


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


def _wide_task(seed: int = 0) -> Seen:
    """Three classes in 200 dimensions, few samples: a linear classifier fits every label, some of the source wrong."""
    rng = np.random.default_rng(seed)
    centres = 0.4 * rng.normal(size=(3, 200))
    y = np.arange(90) % 3
    x = torch.from_numpy(centres[y] + rng.normal(size=(90, 200)))
    turned = torch.from_numpy(np.where(np.arange(90) % 4 == 0, (y + 1) % 3, y))
    few = Labeled(x[60:75] + 0.3, torch.from_numpy(y[60:75]), torch.zeros(15).long())
    return Seen(
        Labeled(x[:60], turned[:60], torch.zeros(60).long()), Unlabeled(x[75:] + 0.3), few, 3, "vector", FEW_LABELS
    )


def test_soft_tradaboost_follows_the_paper():
    """The same formulae for probabilities: the losses |h(x_i) - y_i| of h in [0, 1], and three classes as in SAMME."""
    seen, rounds = _wide_task(), 6
    x, y, n_s = (v.numpy() if isinstance(v, torch.Tensor) else v for v in both(seen))
    from sklearn.linear_model import RidgeClassifier

    def probabilities(model: RidgeClassifier, at: np.ndarray) -> np.ndarray:
        grown = np.exp(model.decision_function(at))
        return grown / grown.sum(1, keepdims=True)

    w, beta = np.ones(len(x)), 1 / (1 + np.sqrt(2 * np.log(n_s) / rounds))
    total, mass = 0, 0.0
    for t in range(rounds):
        model = RidgeClassifier(alpha=1.0).fit(x, y, sample_weight=w / w.mean())
        loss = np.abs(probabilities(model, x) - np.eye(3)[y]).sum(1) / 2
        rate = np.average(loss[n_s:], weights=w[n_s:])
        b = rate / (1 - rate) / 2
        assert rate < 2 / 3  # no round at chance
        w = np.concatenate([w[:n_s] * beta ** loss[:n_s], w[n_s:] * b ** -loss[n_s:]])
        if t >= rounds // 2:
            total = total + np.log(1 / b) * probabilities(model, seen.target.x.numpy())
            mass += np.log(1 / b)
    ours = create_method("tradaboost", rounds=rounds, soft=True).fit(seen, ridge_context()).predict(seen.target.x)
    np.testing.assert_allclose(np.exp(ours.scores.numpy()), 0.999 * total / mass + 0.001 / 3, atol=1e-8)


def test_tradaboost_says_when_it_cannot_boost():
    """Where the classifier fits every label, classes move no weight and the answer is that of one classifier."""
    seen, ctx = _wide_task(), ridge_context()
    x, y, n_s = both(seen)
    weights = create_method("tradaboost", rounds=10).boost(seen, ctx)[2]
    assert len(ctx.warnings) == 1 and "soft" in ctx.warnings[0]
    assert float((weights - weights[0]).abs().max()) < 1e-12
    one = classifier("ridge").fit(x, y, 3)(seen.target.x).argmax(1)
    hard = create_method("tradaboost", rounds=10).fit(seen, ctx).predict(seen.target.x).labels
    assert bool((hard == one).all())
    # the rounds after such a one would repeat it, and are not computed
    fits = []
    counted = ridge_context()
    plain = counted.classifier
    counted.classifier = SimpleNamespace(fit=lambda *a, **k: fits.append(1) or plain.fit(*a, **k))
    members, votes, _ = create_method("tradaboost", rounds=10).boost(seen, counted)
    assert len(fits) == 1 and len(members) == len(votes) == 10 and members[0] is members[9]
    ctx = ridge_context()
    moved = create_method("tradaboost", rounds=10, soft=True).boost(seen, ctx)[2]
    mistaken = torch.arange(n_s) % 4 == 0
    assert not ctx.warnings and float(moved[:n_s][mistaken].mean()) < 0.95 * float(moved[:n_s][~mistaken].mean())


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
        x = hidden.x.double()
        answers = (model.predict(hidden.x).values, alone(x)[:, 0], pooled(x)[:, 0])
        errors = [float((v - hidden.y).square().mean()) for v in answers]
        ratios.append((errors[0] / errors[1], errors[0] / errors[2]))
    assert max(r[0] for r in ratios) < 3 and max(r[1] for r in ratios) < 0.3, ratios
