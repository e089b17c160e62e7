"""Answers for the whole target at once: TransCLIP and LaplacianShot against slow transcriptions, and their limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import create_method
from dazoo.methods.subspace._transductive import Near
from dazoo.shallow.classifiers import classifier
from tests.test_spherical_kmeans import context, unit

K = 4


def blobs(n=70) -> Seen:
    """Classes with noise, and a target that is moved."""
    rng = np.random.default_rng(0)
    means = 1.7 * rng.normal(size=(K, 12))

    def draw(moved):
        y = np.arange(n) % K
        return means[y] + rng.normal(size=(n, 12)) * np.linspace(0.5, 3, 12) + moved, y

    (xs, ys), (xt, _) = draw(0.0), draw(1.0)
    source = Labeled(torch.from_numpy(xs), torch.from_numpy(ys), torch.zeros(n, dtype=torch.int64))
    return Seen(source, Unlabeled(torch.from_numpy(xt)), None, K, "vector", UNSUPERVISED)


def sides(seen):
    xs, xt = seen.source.x.numpy(), seen.target.x.numpy()
    zs, zt = (unit(x - x.mean(0)) for x in (xs, xt))
    head = classifier("logistic").fit(torch.from_numpy(zs), seen.source.y, K)
    return zt, head(torch.from_numpy(zt)).softmax(1).numpy()


def answer(name, seen, **hparams):
    model = create_method(name, **hparams).fit(seen, context())
    return model.predict(seen.target.x).scores.softmax(1).numpy()


def softmax(a):
    e = np.exp(a - a.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def neighbours(f, k):
    """w_ij as a matrix."""
    w = np.zeros((len(f), len(f)))
    for i in range(len(f)):
        near = np.argsort(((f - f[i]) ** 2).sum(1), kind="stable")
        for j in [j for j in near if j != i][:k]:
            w[i, j] = f[i] @ f[j]
    return w


# -- the graph ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 100])
def test_the_graph_is_that_of_all_pairs(k):
    rng = np.random.default_rng(1)
    f, z = unit(rng.normal(size=(9, 4))), rng.random((9, 3))
    f[3] = f[7]  # at the same place
    graph, w = Near(torch.from_numpy(f), k), neighbours(f, k)
    np.testing.assert_allclose(graph.of(torch.from_numpy(z)).numpy(), w @ z, atol=1e-12)
    np.testing.assert_allclose(graph.back(torch.from_numpy(z)).numpy(), w.T @ z, atol=1e-12)


# -- transclip ------------------------------------------------------------------------------------------------------


def objective(f, z, mu, sigma, q, w, weight, temperature, k):
    g = np.array([[-0.5 * ((x - m) ** 2 / sigma).sum() for m in mu] for x in f])
    entropy = -(z * np.log(z + 1e-300)).sum()
    return (z * (g / temperature + weight * np.log(q))).sum() + entropy + (w * (z @ z.T)).sum() / (2 * k)


@pytest.mark.parametrize(("rounds", "k", "weight", "temperature"), [(1, 2, 1.0, 50.0), (3, 3, 0.5, 5.0)])
def test_transclip_equals_a_transcription(rounds, k, weight, temperature):
    seen = blobs()
    f, q = sides(seen)
    w, z = neighbours(f, k), q.copy()
    mu = []
    for c in range(K):
        top = np.argsort(-q[:, c])[:8]
        mu.append(sum(q[i, c] * f[i] for i in top))
    mu, sigma = unit(np.array(mu)), np.full(12, 1 / 12)
    heights = []
    for r in range(rounds + 1):
        if r:
            mu = unit(z.T @ f)
            sigma = sum(z[i, c] * (f[i] - mu[c]) ** 2 for i in range(len(f)) for c in range(K)) / len(f)
        g = np.array([[-0.5 * ((x - m) ** 2 / sigma).sum() for m in mu] for x in f])
        before = objective(f, z, mu, sigma, q, w, weight, temperature, k)
        for _ in range(5):
            z = softmax(weight * np.log(q) + g / temperature + (w + w.T) @ z / (2 * k))
        heights.append(objective(f, z, mu, sigma, q, w, weight, temperature, k) - before)
    hparams = {"rounds": rounds, "neighbours": k, "prior_weight": weight, "temperature": temperature}
    np.testing.assert_allclose(answer("transclip", seen, **hparams), z, atol=1e-6)
    assert min(heights) > 0  # no round of z lowers the objective


def test_a_sure_classifier_has_the_last_word():
    seen = blobs()
    _, q = sides(seen)
    assert (answer("transclip", seen, prior_weight=1e6).argmax(1) == q.argmax(1)).all()
    assert (answer("transclip", seen, prior_weight=0.1, temperature=5.0).argmax(1) != q.argmax(1)).any()


# -- laplacian_shot -------------------------------------------------------------------------------------------------


def test_laplacian_shot_equals_a_transcription():
    seen = blobs()
    f, _ = sides(seen)
    xs, ys = seen.source.x.numpy(), seen.source.y.numpy()
    zs = unit(xs - xs.mean(0))
    a = np.array([[((x - zs[ys == c].mean(0)) ** 2).sum() for c in range(K)] for x in f])
    w, y = (neighbours(f, 2) != 0).astype(float), softmax(-a)
    for _ in range(7):
        y = softmax(-a + 0.8 * w @ y)
    hparams = {"trade_off": 0.8, "neighbours": 2, "centres": "means", "rounds": 7}
    np.testing.assert_allclose(answer("laplacian_shot", seen, **hparams), y, atol=1e-9)


def test_laplacian_shot_without_neighbours_is_spherical_kmeans():
    seen = blobs()
    plain = answer("spherical_kmeans", seen).argmax(1)
    assert (answer("laplacian_shot", seen, trade_off=1e-9).argmax(1) == plain).all()
    assert (answer("laplacian_shot", seen, trade_off=1.5, neighbours=5).argmax(1) != plain).any()
