"""Parameter transfer: stationarity, closed forms, scikit-learn's answers, and tree surgery done by hand."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from dazoo.core.errors import DazooError
from dazoo.core.setting import FEW_LABELS
from dazoo.data.registry import load_task
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import Context, create_method
from dazoo.methods.parameter_transfer import transfer_forest as tf
from dazoo.methods.parameter_transfer._trees import Node, forest, from_sklearn, shares
from dazoo.methods.parameter_transfer.regular_transfer import source_parameters
from dazoo.shallow.classifiers import classifier
from tests.toys import toy_task


def context(seed: int = 0, name: str = "logistic") -> Context:
    return Context(torch.Generator().manual_seed(seed), classifier(name))


def seen_of(regression: bool = False, **options):
    """The few-label toy task in double precision."""
    seen = toy_task(FEW_LABELS, regression=regression, **options).seen()
    lift = lambda part: dataclasses.replace(  # noqa: E731
        part, x=part.x.double(), y=part.y.double() if regression else part.y
    )
    target = dataclasses.replace(seen.target, x=seen.target.x.double())
    return dataclasses.replace(seen, source=lift(seen.source), few=lift(seen.few), target=target)


def parameters(model) -> torch.Tensor:
    return torch.cat([model.head.weight, model.head.bias[None]])


# -- regular transfer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trade_off", [0.01, 1.0, 30.0])
def test_logistic_transfer_is_stationary(trade_off):
    """X'(softmax(XW) - Y) + trade_off (W - W_s) = 0, bias included."""
    seen = seen_of()
    moved = parameters(create_method("regular_transfer", trade_off=trade_off).fit(seen, context()))
    start = source_parameters(seen, context())
    design = torch.cat([seen.few.x, torch.ones(len(seen.few), 1).double()], 1)
    y = torch.nn.functional.one_hot(seen.few.y, 3).double()
    gradient = design.T @ (torch.softmax(design @ moved, 1) - y) + trade_off * (moved - start)
    assert float(gradient.abs().max()) < 1e-5
    assert float((moved - start).abs().max()) > 1e-3


def test_logistic_transfer_equals_torch_on_all_coordinates():
    """The same loss minimised by torch's L-BFGS over all parameters, not only in the span of the samples; fewer
    samples than features."""
    seen = seen_of(dims=20)
    moved = parameters(create_method("regular_transfer").fit(seen, context()))
    start = source_parameters(seen, context())
    assert len(seen.few) < 20
    design = torch.cat([seen.few.x, torch.ones(len(seen.few), 1).double()], 1)
    w = start.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS([w], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(design @ w, seen.few.y, reduction="sum")
        value = value + (w - start).square().sum() / 2
        value.backward()
        return value

    optimiser.step(loss)
    torch.testing.assert_close(moved, w.detach(), atol=1e-4, rtol=0)


def test_linear_transfer_solves_the_normal_equations():
    seen = seen_of(regression=True)
    for trade_off in (0.1, 10.0):
        moved = parameters(create_method("regular_transfer", trade_off=trade_off).fit(seen, context(name="ridge")))
        start = source_parameters(seen, context(name="ridge"))
        design = torch.cat([seen.few.x, torch.ones(len(seen.few), 1).double()], 1).numpy()
        left = design.T @ design + trade_off * np.eye(design.shape[1])
        right = design.T @ seen.few.y.numpy() + trade_off * start[:, 0].numpy()
        np.testing.assert_allclose(moved[:, 0].numpy(), np.linalg.solve(left, right), atol=1e-8)


@pytest.mark.parametrize("regression", [False, True])
def test_large_trade_off_keeps_the_source_model(regression):
    seen = seen_of(regression)
    ctx = context(name="ridge" if regression else "logistic")
    kept = parameters(create_method("regular_transfer", trade_off=1e9).fit(seen, ctx))
    torch.testing.assert_close(kept, source_parameters(seen, ctx), atol=1e-5, rtol=0)
    with pytest.raises(DazooError, match="trade_off"):
        create_method("regular_transfer", trade_off=0.0).fit(seen, ctx)


def test_a_class_unknown_to_the_source_is_learned():
    seen = seen_of()
    keep = seen.source.y != 2
    source = dataclasses.replace(
        seen.source, x=seen.source.x[keep], y=seen.source.y[keep], domain=seen.source.domain[keep]
    )
    model = create_method("regular_transfer", trade_off=0.01).fit(dataclasses.replace(seen, source=source), context())
    out = model.predict(seen.few.x)
    assert bool(torch.isfinite(out.scores).all())
    assert bool((out.labels[seen.few.y == 2] == 2).all())


# -- PRED and LinInt ------------------------------------------------------------------------------------------------


def test_pred_equals_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    seen = seen_of()
    xs, xf, xt = seen.source.x.numpy(), seen.few.x.numpy(), seen.target.x.numpy()
    first = LogisticRegression(max_iter=1000).fit(xs, seen.source.y.numpy())

    def append(x):
        return np.concatenate([x, first.predict_proba(x)], 1)

    expected = LogisticRegression(max_iter=1000).fit(append(xf), seen.few.y.numpy()).predict_proba(append(xt))
    ours = create_method("prediction_feature").fit(seen, context()).predict(seen.target.x)
    assert ours.features.shape[1] == xs.shape[1] + 3
    np.testing.assert_allclose(ours.probs.numpy(), expected, atol=2e-3)


def test_pred_of_values_equals_scikit_learn():
    from sklearn.linear_model import Ridge

    seen = seen_of(regression=True)
    first = Ridge(alpha=1.0).fit(seen.source.x.numpy(), seen.source.y.numpy())

    def append(x):
        return np.concatenate([x.numpy(), first.predict(x.numpy())[:, None]], 1)

    expected = Ridge(alpha=1.0).fit(append(seen.few.x), seen.few.y.numpy()).predict(append(seen.target.x))
    ours = create_method("prediction_feature").fit(seen, context(name="ridge")).predict(seen.target.x)
    np.testing.assert_allclose(ours.values.numpy(), expected, atol=1e-8)


@pytest.mark.parametrize("regression", [False, True])
def test_interpolation_is_a_mixture_with_the_best_share(regression):
    """The answer is the mixture of two separately fitted models, and its share has the least cross-validated loss."""
    seen, name = seen_of(regression), "ridge" if regression else "logistic"
    method = create_method("linear_interpolation")
    head = method.fit(seen, context(name=name)).head
    first = classifier(name).fit(seen.source.x, seen.source.y, seen.n_classes)
    second = classifier(name).fit(seen.few.x, seen.few.y, seen.n_classes)
    x = seen.target.x
    if regression:
        expected = head.share * first(x) + (1 - head.share) * second(x)
        torch.testing.assert_close(head(x), expected)
    else:
        expected = head.share * torch.softmax(first(x), 1) + (1 - head.share) * torch.softmax(second(x), 1)
        torch.testing.assert_close(head(x).exp(), expected, atol=1e-5, rtol=0)
    losses = method.losses(seen, context(name=name), first)
    assert losses.shape == (21,) and float(losses[round(20 * head.share)]) == pytest.approx(float(losses.min()))


def test_interpolation_drops_a_useless_source():
    """With source labels at random the target's model gets all the weight; with a perfect source it does not."""
    seen = seen_of(n=120)
    rng = np.random.default_rng(0)
    random_labels = torch.from_numpy(rng.permutation(seen.source.y.numpy()))
    useless = dataclasses.replace(seen, source=dataclasses.replace(seen.source, y=random_labels))
    method = create_method("linear_interpolation")
    bad = method.fit(useless, context()).head.share
    same = dataclasses.replace(seen, few=dataclasses.replace(seen.few, x=seen.source.x[:9], y=seen.source.y[:9]))
    good = method.fit(same, context()).head.share
    assert bad < 0.5 < good


# -- forests --------------------------------------------------------------------------------------------------------


def _grown(seed: int = 0, n: int = 200):
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] ** 2 > 0.7).astype(int) + 2 * (x[:, 2] > 1)
    y = np.where(y > 2, 2, y)
    model = RandomForestClassifier(n_estimators=7, random_state=seed).fit(x, y)
    return model, [from_sklearn(e.tree_, model.classes_, 3) for e in model.estimators_], rng


def test_forest_equals_scikit_learn(monkeypatch):
    model, roots, rng = _grown()
    x = rng.normal(size=(300, 4))
    ours = forest(roots, 4, torch.device("cpu"))
    expected = model.predict_proba(x.astype(np.float32))
    for block in (1 << 22, 1):
        monkeypatch.setattr("dazoo.methods.parameter_transfer._trees.BLOCK", block)
        p = ours(torch.from_numpy(x)).exp()
        np.testing.assert_allclose((p.numpy() - 0.001 / 3) / 0.999, expected, atol=1e-12)


def test_ser_never_errs_more_on_the_few():
    """The refined tree's errors on the target samples are at most the source tree's, and are what ``ser`` reports."""
    for seed in range(5):
        _, roots, rng = _grown(seed)
        x = (rng.normal(size=(30, 4)) + 0.5).astype(np.float32)
        y = rng.integers(0, 3, size=30)
        for root in roots:
            before = int((tf.predict(root, x) != y).sum())
            after = tf.ser(root, x, y, 3)
            assert after == int((tf.predict(root, x) != y).sum()) <= before


def _tree() -> Node:
    """x_0 <= 0 ? (x_1 <= 0 ? class 0 : class 1) : class 1"""
    zero, one = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    left = Node(np.array([0.5, 0.5]), 1, 0.0, Node(zero), Node(one))
    return Node(np.array([0.3, 0.7]), 0, 0.0, left, Node(one))


def test_ser_by_hand():
    # the right leaf holds both classes: it grows a subtree; nothing reaches the left subtree: it stays
    x = np.array([[1.0, -1.0], [1.0, -2.0], [1.0, 1.0]], dtype=np.float32)
    root = _tree()
    assert tf.ser(root, x, np.array([0, 0, 1]), 2) == 0
    assert not root.leaf and root.left is not None and not root.left.leaf
    assert root.right is not None and not root.right.leaf
    np.testing.assert_array_equal(tf.predict(root, x), [0, 0, 1])
    np.testing.assert_array_equal(tf.predict(root, np.array([[-1.0, -1.0], [-1.0, 1.0]])), [0, 1])
    # only class 1 reaches the left subtree, on both sides: as a leaf it errs no more, so it is cut
    root = _tree()
    x = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, 0.0]], dtype=np.float32)
    assert tf.ser(root, x, np.array([1, 1, 0]), 2) == 0
    assert root.left is not None and root.left.leaf and root.left.value[1] == 1.0
    np.testing.assert_array_equal(tf.predict(root, x), [1, 1, 0])


def test_strut_thresholds_by_brute_force():
    """Against a direct search over all thresholds, with the divergence of scipy."""
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import entropy

    rng = np.random.default_rng(0)
    for _ in range(30):
        m, classes = int(rng.integers(4, 25)), 3
        v, y = np.round(rng.normal(size=m), 1), rng.integers(0, classes, size=m)
        left, right = rng.dirichlet(np.ones(classes)), rng.dirichlet(np.ones(classes))
        cuts = np.unique(v)
        if len(cuts) < 2:
            continue
        rows = []
        for a, b in itertools.pairwise(cuts):
            low, high = y[v <= a], y[v > a]
            p, q = shares(low, classes), shares(high, classes)
            share = len(low) / m
            info = entropy(shares(y, classes), base=2) - share * entropy(p, base=2) - (1 - share) * entropy(q, base=2)

            def gain(one, other, p=p, q=q, share=share):
                return 1 - share * jensenshannon(p, one, 2) ** 2 - (1 - share) * jensenshannon(q, other, 2) ** 2

            rows.append(((a + b) / 2, info, gain(left, right), gain(right, left)))
        infos = [-np.inf] + [r[1] for r in rows] + [-np.inf]
        peaks = [r for i, r in enumerate(rows) if r[1] >= max(infos[i], infos[i + 2]) - 1e-12]
        most = max(max(r[2], r[3]) for r in peaks)
        threshold, swapped = tf.best_threshold(v, y, left, right)
        (chosen,) = (r for r in peaks if r[0] == pytest.approx(threshold))
        assert chosen[3 if swapped else 2] == pytest.approx(most, abs=1e-9)
    assert tf.best_threshold(np.ones(4), np.array([0, 1, 0, 1]), left, right) is None


def test_strut_moves_thresholds_and_turns_children_round():
    """The source's rule x_0 <= 0 is x_0 <= 5 in the target, then x_0 > 5: STRUT finds both."""
    x = np.array([[3.0], [4.0], [4.5], [5.5], [6.0], [7.0]], dtype=np.float32)
    for y, swapped in ((np.array([0, 0, 0, 1, 1, 1]), False), (np.array([1, 1, 1, 0, 0, 0]), True)):
        root = Node(np.array([0.5, 0.5]), 0, 0.0, Node(np.array([0.9, 0.1])), Node(np.array([0.1, 0.9])))
        first = root.left
        tf.strut(root, x, y, 2)
        assert root.threshold == 5.0 and (root.right is first) == swapped
        np.testing.assert_array_equal(tf.predict(root, x), y)


def test_variants_and_their_union():
    seen = seen_of()
    heads = {
        v: create_method("transfer_forest", variant=v, trees=5).fit(seen, context()).head
        for v in ("ser", "strut", "mix")
    }
    x = seen.target.x
    both = (heads["ser"](x).exp() + heads["strut"](x).exp()) / 2
    torch.testing.assert_close(heads["mix"](x).exp(), both)
    assert not torch.equal(heads["ser"](x), heads["strut"](x))


@pytest.mark.parametrize("name", ["regular_transfer", "prediction_feature", "linear_interpolation", "transfer_forest"])
def test_few_labels_beat_the_source_model_under_concept_shift(name):
    gains = []
    for seed in range(3):
        task = load_task("shifts/concept_source->concept_target", setting=FEW_LABELS, few_per_class=20, data_seed=seed)
        hidden = task.hidden()
        plain = load_task("shifts/concept_source->concept_target", data_seed=seed)
        base = fit(create_method("source_only"), plain.seen(), seed=0, options=Options()).predictor
        model = fit(create_method(name), task.seen(), seed=0, options=Options()).predictor
        scores = [float((m.predict(hidden.x).labels == hidden.y).double().mean()) for m in (model, base)]
        gains.append(scores[0] - scores[1])
    assert min(gains) > 0.1, gains
