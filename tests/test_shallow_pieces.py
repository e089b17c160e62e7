"""Steps, heads, classifiers and the linear algebra below shallow methods, against numpy, scipy and scikit-learn."""

from __future__ import annotations

import dataclasses
import gc
from typing import ClassVar

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import SVC, LinearSVC

from dazoo.core import portable
from dazoo.core.errors import DazooError, NonFiniteError, UnknownName
from dazoo.core.memo import Domains, Memo
from dazoo.core.paper import Paper
from dazoo.core.setting import FEW_LABELS, UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import Context, create_method
from dazoo.methods.shallow import Aligned, FeatureMap, Reweighting, pair, source_inner
from dazoo.ops.classwise import one_hot
from dazoo.ops.linalg import linear, spectral
from dazoo.shallow import steps as st
from dazoo.shallow.classifiers import classifier, lower_of

RNG = np.random.default_rng(0)


def blobs(n: int = 60, d: int = 5, c: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % c
    x = 2.0 * rng.standard_normal((c, d))[y] + rng.standard_normal((n, d))
    return torch.from_numpy(x), torch.from_numpy(y)


def seen_of(
    xs: torch.Tensor, ys: torch.Tensor, xt: torch.Tensor, n_classes: int = 3, few: Labeled | None = None
) -> Seen:
    zeros = torch.zeros(len(ys), dtype=torch.int64)
    return Seen(Labeled(xs, ys, zeros), Unlabeled(xt), few, n_classes, "vector", UNSUPERVISED)


def context(name: str = "1nn") -> Context:
    return Context(gen=torch.Generator().manual_seed(0), classifier=classifier(name))


# -- linear algebra -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 7), (7, 40)])
def test_pca_spans_the_same_directions_as_scikit_learn(shape):
    x = RNG.standard_normal(shape) + 3
    mean, variances, directions = spectral.principal_components(torch.from_numpy(x), 4)
    reference = PCA(4, svd_solver="full").fit(x)
    assert np.allclose(mean, reference.mean_)
    assert np.allclose(variances, reference.explained_variance_)
    assert np.allclose(np.abs(np.sum(directions.numpy() * reference.components_.T, axis=0)), 1)


@pytest.mark.parametrize("largest", [True, False])
def test_generalised_eigenvectors_agree_with_scipy(largest):
    a, b = RNG.standard_normal((9, 9)), RNG.standard_normal((9, 9))
    a, b = a + a.T, b @ b.T + np.eye(9)
    values, vectors = spectral.generalised_eigenvectors(torch.from_numpy(a), torch.from_numpy(b), 3, largest)
    reference = scipy.linalg.eigh(a, b, eigvals_only=True)
    expected = reference[::-1][:3] if largest else reference[:3]
    assert np.allclose(values, expected)
    assert np.allclose(a @ vectors.numpy(), b @ vectors.numpy() * values.numpy())


def test_signs_of_eigenvectors_do_not_depend_on_the_solver():
    a = RNG.standard_normal((6, 6))
    _, some = spectral.leading_eigenvectors(torch.from_numpy(a + a.T), 2)
    _, every = spectral.leading_eigenvectors(torch.from_numpy(a + a.T), 6)
    assert torch.allclose(some, every[:, :2])


def test_matrix_power_inverts_and_survives_a_singular_matrix():
    a = RNG.standard_normal((5, 5))
    a = torch.from_numpy(a @ a.T)
    root = linear.matrix_power(a, -0.5)
    assert torch.allclose(root @ a @ root, torch.eye(5, dtype=torch.float64), atol=1e-8)
    singular = torch.ones(4, 4, dtype=torch.float64)
    assert torch.isfinite(linear.matrix_power(singular, -0.5)).all()
    assert torch.isfinite(linear.matrix_power(torch.zeros(3, 3, dtype=torch.float64), -0.5)).all()


def test_span_is_orthonormal_and_holds_all_rows():
    x = torch.from_numpy(RNG.standard_normal((4, 9)))
    x = torch.cat([x, x[:2]])
    basis = spectral.span(x)
    assert basis.shape == (9, 4)
    assert torch.allclose(basis.T @ basis, torch.eye(4, dtype=torch.float64), atol=1e-10)
    assert torch.allclose(x @ basis @ basis.T, x, atol=1e-10)


# -- classifiers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3])
def test_nearest_neighbours_agree_with_scikit_learn_ties_included(k, monkeypatch):
    x = torch.from_numpy(RNG.integers(0, 3, (200, 3)).astype(float))  # many exact ties and duplicates
    y = torch.from_numpy(RNG.integers(0, 4, 200))
    z = torch.from_numpy(RNG.integers(0, 3, (150, 3)).astype(float))
    whole = classifier("1nn", k=k).fit(x, y, 4)(z)
    monkeypatch.setattr(linear, "BLOCK_ENTRIES", 1000)
    blocks = classifier("1nn", k=k).fit(x, y, 4)(z)
    assert torch.equal(whole, blocks)
    if k == 1:
        reference = KNeighborsClassifier(k, algorithm="brute").fit(x.numpy(), y.numpy())
        assert np.array_equal(whole.argmax(1).numpy(), reference.predict(z.numpy()))
    assert torch.allclose(torch.softmax(whole, 1).sum(1), torch.ones(150, dtype=torch.float64))
    assert torch.allclose(whole.exp().sum(1), torch.ones(150, dtype=torch.float64))


def test_three_neighbours_agree_with_scikit_learn():
    (x, y), (z, _) = blobs(80), blobs(50, seed=1)
    reference = KNeighborsClassifier(3).fit(x.numpy(), y.numpy()).predict(z.numpy())
    assert np.array_equal(classifier("1nn", k=3).fit(x, y, 3)(z).argmax(1).numpy(), reference)
    values = torch.from_numpy(RNG.standard_normal(80))
    reference = KNeighborsRegressor(5).fit(x.numpy(), values.numpy()).predict(z.numpy())
    assert np.allclose(classifier("knn_regression").fit(x, values, 0)(z)[:, 0], reference)


@pytest.mark.parametrize("c", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_logistic_on_few_samples_is_stationary_in_all_features(c, weighted):
    """Twelve samples of sixty features are fitted in coordinates of their span."""
    gen = torch.Generator().manual_seed(0)
    z, y = torch.randn(12, 60, generator=gen, dtype=torch.float64) + 1, torch.arange(12) % c
    weights = torch.rand(12, generator=gen, dtype=torch.float64) + 0.1 if weighted else None
    head = classifier("logistic").fit(z, y, c, weights=weights)
    scaled = weights * (12 / weights.sum()) if weighted else torch.ones(12, dtype=torch.float64)
    off = scaled[:, None] * (head(z).exp() - torch.nn.functional.one_hot(y, c))
    pull = (z.T @ off + head.weight)[:, int(c == 2) :]  # of two classes the first has no weights
    assert lower_of(z) is not None and lower_of(torch.cat([z, z[:1]])) is None
    assert off.sum(0).abs().max() < 5e-3 and pull.abs().max() < 5e-3


@pytest.mark.parametrize("c", [2, 3])
def test_logistic_gives_scikit_learns_probabilities(c):
    x, y = blobs(c=c)
    scores = classifier("logistic").fit(x, y, c)(x)
    reference = LogisticRegression(max_iter=1000).fit(x.numpy(), y.numpy()).predict_proba(x.numpy())
    assert np.allclose(scores.exp().numpy(), reference, atol=1e-6)


@pytest.mark.parametrize("c", [2, 3])
@pytest.mark.parametrize("name", ["svm", "svm_rbf"])
def test_svm_gives_scikit_learns_labels_and_decision_values(c, name):
    (x, y), (z, _) = blobs(c=c), blobs(c=c, seed=3)
    scores = classifier(name).fit(x, y, c)(z).numpy()
    reference = SVC(kernel="linear") if name == "svm" else SVC(C=10.0)
    reference = reference.set_params(break_ties=c > 2).fit(x.numpy(), y.numpy())
    decision = reference.decision_function(z.numpy())
    assert np.array_equal(scores.argmax(1), reference.predict(z.numpy()))
    if c > 2:
        assert np.allclose(scores, decision)
    else:
        assert np.array_equal(scores[:, 1] > scores[:, 0], decision > 0)


@pytest.mark.parametrize("c", [2, 3])
def test_linear_svc_gives_scikit_learns_decision_values(c):
    x, y = blobs(c=c)
    scores = classifier("linear_svc").fit(x, y, c)(x).numpy()
    reference = LinearSVC(random_state=0, dual=True).fit(x.numpy(), y.numpy())
    assert np.array_equal(scores.argmax(1), reference.predict(x.numpy()))
    assert np.allclose(scores if c > 2 else scores[:, 1], reference.decision_function(x.numpy()))


@pytest.mark.parametrize("name", ["1nn", "logistic", "svm", "svm_rbf", "linear_svc", "ridge"])
def test_a_class_without_samples_is_never_predicted_and_scores_stay_finite(name):
    x, y = blobs(c=3)
    y = torch.where(y == 1, 3, y)
    scores = classifier(name).fit(x, y, 5)(x)
    assert scores.shape == (60, 5) and torch.isfinite(scores).all()
    assert set(scores.argmax(1).tolist()) <= {0, 2, 3}


@pytest.mark.parametrize("name", ["1nn", "logistic", "svm", "svm_rbf", "linear_svc", "ridge"])
def test_equal_weights_change_nothing_and_unequal_ones_do(name):
    x, y = blobs(200)
    gen = torch.Generator().manual_seed(0)
    plain = classifier(name).fit(x, y, 3)(x)
    assert torch.equal(classifier(name).fit(x, y, 3, weights=torch.full((200,), 0.3), gen=gen)(x), plain)
    weights = torch.where(y == 0, 0.01, 1.0)
    weighted = classifier(name).fit(x, y, 3, weights=weights, gen=gen)(x)
    assert (weighted.argmax(1) == 0).sum() < (plain.argmax(1) == 0).sum()


def test_one_class_bad_weights_and_wrong_kinds_are_clear_errors():
    x, y = blobs()
    for name in ("1nn", "logistic", "svm"):
        with pytest.raises(DazooError, match="one class"):
            classifier(name).fit(x, torch.zeros_like(y), 3)
    with pytest.raises(NonFiniteError):
        classifier("1nn").fit(x, y, 3, weights=torch.full((60,), float("nan")))
    with pytest.raises(NonFiniteError):
        classifier("svm").fit(x / 0.0 * 0.0, y, 3)
    with pytest.raises(DazooError, match="zero"):
        classifier("svm").fit(x, y, 3, weights=torch.zeros(60))
    with pytest.raises(DazooError, match="values"):
        classifier("logistic").fit(x, y.double(), 0)
    with pytest.raises(UnknownName, match="logistic"):
        classifier("logistik")
    with pytest.raises(UnknownName, match="'k'"):
        classifier("1nn", kk=1)
    with pytest.raises(DazooError, match="positive"):
        classifier("svm", C=0)


def test_a_solver_that_stops_early_warns():
    x, y = blobs(c=3)
    told: list[str] = []
    classifier("logistic", max_iter=1).fit(x, y, 3, warn=told.append)
    assert told and "converged" in told[0]


# -- bases and portability ------------------------------------------------------------------------------------------


PAPER = Paper("t", "a", 2000, "https://example.org")


class Shrink(FeatureMap):
    name: ClassVar[str] = "shrink"
    paper = PAPER

    def align(self, seen, ctx):
        xs, _ = pair(seen)
        step = st.Affine(torch.eye(xs.shape[1], 2, dtype=torch.float64))
        return Aligned(step(xs), (step,))


class FirstClass(Reweighting):
    name: ClassVar[str] = "first_class"
    paper = PAPER

    def weights(self, seen, ctx):
        return (seen.source.y == 0).double() + 1e-3


def test_feature_map_trains_the_classifier_on_the_mapped_source_and_the_few_labels():
    (xs, ys), (xt, yt) = blobs(60), blobs(30, seed=2)
    few = Labeled(xt[:6], yt[:6], torch.zeros(6, dtype=torch.int64))
    model = Shrink().fit(seen_of(xs, ys, xt[6:], few=few), context())
    assert model.predict(xt).features.shape == (30, 2)
    assert torch.equal(model.predict(xt[:6]).labels, yt[:6])  # its own nearest neighbours
    assert torch.equal(model.predict_source(xs).labels, ys)


def test_reweighting_prefers_what_it_weighs():
    (xs, ys), (xt, _) = blobs(60), blobs(30, seed=2)
    model = FirstClass().fit(seen_of(xs, ys, xt), context("logistic"))
    plain = classifier("logistic").fit(xs, ys, 3)
    assert (model.predict(xt).labels == 0).sum() > (plain(xt).argmax(1) == 0).sum()


def test_every_piece_saves_and_loads(tmp_path):
    x, y = blobs()
    parts: list[st.Step] = [
        st.Center(x.mean(0)),
        st.Standardise(x.mean(0), torch.zeros(5, dtype=torch.float64)),
        st.NearestShift(x, torch.ones_like(x)),
        st.KernelMap("rbf", x, torch.ones(60, 3, dtype=torch.float64), torch.tensor(0.1, dtype=torch.float64)),
        st.Append((st.Tanh(),)),
        st.Columns(torch.tensor([0, 5]), 6),
        st.UnitNorm(),
        st.Affine(torch.ones(2, 2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)),
    ]
    z = st.run_steps(tuple(parts), x)
    for head in (
        classifier("1nn").fit(z, y, 3),
        classifier("logistic").fit(z, y, 3),
        st.NearestScores(z, one_hot(y, 3, torch.float64)),
        st.StepsThenHead((st.UnitNorm(),), st.AsScores(2.0)),
    ):
        model = st.Pipeline(tuple(parts), (st.Affine(torch.eye(5, 2, dtype=torch.float64)),), head)
        portable.save(model, tmp_path / "m.safetensors")
        loaded = portable.load(tmp_path / "m.safetensors")
        assert torch.equal(loaded.predict(x).scores, model.predict(x).scores)
        assert torch.equal(loaded.predict_source(x.float()).scores, model.predict_source(x.float()).scores)


def test_wrong_width_is_a_clear_error():
    x, y = blobs()
    model = Shrink().fit(seen_of(x, y, x), context())
    with pytest.raises(DazooError, match="5 features"):
        model.predict(x[:, :4])


@pytest.mark.parametrize("n", [20, 45])
@pytest.mark.parametrize("kind", ["equal", "weights", "zeros"])
def test_known_inner_products_change_no_ridge_fit(n: int, kind: str) -> None:
    rng = np.random.default_rng(n)
    x, y = torch.from_numpy(rng.normal(size=(n, 40)) + 50.0), torch.from_numpy(rng.normal(size=(n, 3)))
    w = None if kind == "equal" else torch.from_numpy(rng.uniform(size=n) ** 4)
    if w is not None and kind == "zeros":
        w[::2] = 0
    known = linear.RidgeFit(x, 0.5, w, linear.inner(x))
    assert known.known is not None, "for 45 samples of 40 features the dual problem is the cheaper one"
    weight, bias = linear.RidgeFit(x, 0.5, w).fit(y)
    for found, expected in zip(known.fit(y), (weight, bias)):
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9)
    counts = torch.ones(n, dtype=x.dtype) if w is None else w * n / w.sum()
    residual = y - x @ weight - bias  # the gradient vanishes, and so does the one of the bias
    assert torch.allclose(x.T @ (counts[:, None] * residual), 0.5 * weight, atol=1e-7)
    assert (counts @ residual).abs().max() < 1e-9
    if n > 40 and kind != "zeros":
        assert linear.RidgeFit(x, 1e-9, w, linear.inner(x)).known is None, "not as exact for a tiny penalty"


@pytest.mark.parametrize(
    "name", ["discriminator_ratio", "nearest_neighbor_weighting", "balanced_weighting", "tradaboost", "easyadapt",
             "linear_interpolation", "kmm", "kliep", "ulsif", "rulsif", "mmd_target_shift"]
)  # fmt: skip
def test_runs_that_share_a_memo_give_the_answers_of_single_runs(name: str) -> None:
    (xs, ys), (xt, yt) = blobs(50, 40, seed=1), blobs(40, 40, seed=2)
    few = create_method(name).settings == {FEW_LABELS}
    part = Labeled(xt[:6] + 1, yt[:6], torch.zeros(6, dtype=torch.int64)) if few else None
    seen = seen_of(xs, ys, xt[6:] + 1, few=part)
    if few:
        seen = dataclasses.replace(seen, setting=FEW_LABELS)
    memo = Memo(Domains())
    options = Options(classifier=classifier("ridge"))
    alone, first, second = (
        fit(create_method(name), seen, options=options, memo=m).predictor.predict(xt).scores for m in (None, memo, memo)
    )
    assert source_inner(seen, Context(torch.Generator(), None, memo)) is not None
    assert torch.allclose(first, alone, rtol=1e-8, atol=1e-8) and torch.equal(first, second)


def test_values_of_a_domain_go_with_its_samples_and_follow_their_changes() -> None:
    kept, held = Domains(limit=1000), [torch.zeros(3, 2)]

    def of(key: str, point: int | None = None) -> float:
        return float(kept(held[0], key, lambda: held[0].sum() * (point or 1), point))

    assert of("sum") == 0
    held[0] += 1
    assert of("sum") == 6
    assert of("power", 1) == 6 and of("power", 2) == 12
    assert kept(held[0], "sum", lambda: torch.ones(())) == 6
    assert kept(held[0], "power", lambda: torch.ones(()), 1) == 1, "only the value at the last point is kept"
    kept(held[0], "large", lambda: torch.zeros(1000))
    assert kept(held[0], "large", lambda: torch.ones(1000)).sum() == 1000, "large values are not kept"
    assert len(kept._kept) == 1
    held.clear()
    gc.collect()
    assert len(kept._kept) == 0
