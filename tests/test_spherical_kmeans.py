"""Spherical k-means against a transcription, the optimality of its labels and its invariances."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from dazoo.core.memo import Memo
from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import Context, create_method
from dazoo.methods.subspace.spherical_kmeans import cluster
from dazoo.shallow.classifiers import classifier


def context() -> Context:
    return Context(torch.Generator().manual_seed(0), classifier("logistic"), Memo())


def digits() -> Seen:
    """Odd rows of scikit-learn's digits as the source, even rows with a changed contrast as the target."""
    x, y = load_digits(return_X_y=True)
    x, y = x[:600], y[:600]
    xs, ys = torch.from_numpy(x[1::2]), torch.from_numpy(y[1::2])
    xt = torch.from_numpy(np.sqrt(x[::2]) + 0.5)
    source = Labeled(xs, ys, torch.zeros(len(xs), dtype=torch.int64))
    return Seen(source, Unlabeled(xt), None, 10, "vector", UNSUPERVISED)


def fitted(seen: Seen, **hparams):
    return create_method("spherical_kmeans", **hparams).fit(seen, context())


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("start", ["classifier", "means"])
@pytest.mark.parametrize("centre", [True, False])
def test_it_equals_a_transcription(start, centre):
    seen = digits()
    xs, xt, ys = seen.source.x.numpy(), seen.target.x.numpy(), seen.source.y.numpy()
    zs, zt = (unit(x - x.mean(0)) if centre else unit(x) for x in (xs, xt))
    if start == "means":
        c = unit(np.stack([zs[ys == k].sum(0) for k in range(10)]))
    else:
        p = LogisticRegression(C=1.0, max_iter=10_000, tol=1e-10).fit(zs, ys).predict_proba(zt)
        c = unit(p.T @ zt)
    for _ in range(100):
        y = (zt @ c.T).argmax(1)
        c = unit(np.stack([zt[y == k].sum(0) for k in range(10)]))
    model = fitted(seen, first=start, centre=centre)
    expected = -np.linalg.norm(zt[:, None] - c, axis=2)
    assert np.allclose(model.predict(seen.target.x).scores.numpy(), expected, atol=1e-7)


def test_no_change_of_labels_or_centres_does_better():
    """With fixed centres each label is the best one; with fixed labels each centre is: no unit vector does better."""
    seen = digits()
    model = fitted(seen)
    found = model.predict(seen.target.x)
    c, y = model.head.centres, found.scores.argmax(1)
    reached = (found.features * c[y]).sum()
    gen = torch.Generator().manual_seed(0)
    for _ in range(20):
        moved = c + 0.1 * torch.randn(c.shape, generator=gen, dtype=c.dtype)
        moved = moved / moved.norm(dim=1, keepdim=True)
        assert (found.features * moved[y]).sum() < reached
        other = torch.randint(0, 10, y.shape, generator=gen)
        assert (found.features * c[other]).sum() < reached


def test_a_shift_and_a_scale_of_a_domain_change_nothing():
    seen = digits()
    labels = fitted(seen).predict(seen.target.x).scores.argmax(1)
    moved = dataclasses.replace(seen, target=Unlabeled(3 * seen.target.x - 40))
    assert torch.equal(fitted(moved).predict(moved.target.x).scores.argmax(1), labels)
    plain, plain_moved = fitted(seen, centre=False), fitted(moved, centre=False)
    assert not torch.equal(
        plain.predict(seen.target.x).scores.argmax(1), plain_moved.predict(moved.target.x).scores.argmax(1)
    )


def test_it_finds_rotated_clusters():
    """Six tight clusters in the plane, turned by 25 of the 30 degrees to the border: clusters stay what they are."""
    gen = torch.Generator().manual_seed(0)
    y = torch.arange(600) % 6

    def ring(degrees: float) -> torch.Tensor:
        angle = torch.deg2rad(60.0 * y + degrees) + 0.12 * torch.randn(600, generator=gen)
        return torch.stack([angle.cos(), angle.sin()], 1).double()

    source = Labeled(ring(0), y, torch.zeros_like(y))
    seen = Seen(source, Unlabeled(ring(25)), None, 6, "vector", UNSUPERVISED)
    for start in ("classifier", "means"):
        labels = fitted(seen, first=start).predict(seen.target.x).scores.argmax(1)
        assert (labels == y).float().mean() > 0.99
    plain = create_method("source_only").fit(seen, context()).predict(seen.target.x).scores.argmax(1)
    assert (plain == y).float().mean() < 0.9


def test_few_labels_hold():
    """A label that contradicts the cluster its sample lies in stays and pulls the centre of its class."""
    z = torch.tensor([[1.0, 0.1], [1.0, -0.1], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    start = torch.eye(2, dtype=torch.float64)
    free, _ = cluster(z, start, z.new_zeros(0, 2), 10)
    held, _ = cluster(z, start, torch.tensor([[0.0, 1.0]], dtype=torch.float64), 10)
    assert free[1, 0].abs() < 1e-12 and held[1, 0] > 0.5


def test_a_missing_class_an_empty_cluster_and_constant_samples():
    seen = digits()
    keep = seen.source.y != 3
    source = Labeled(seen.source.x[keep], seen.source.y[keep], seen.source.domain[keep])
    for xt in (seen.target.x[:2], seen.target.x[:1].repeat(5, 1)):
        model = fitted(Seen(source, Unlabeled(xt), None, 10, "vector", UNSUPERVISED))
        scores = model.predict(seen.target.x).scores
        assert torch.isfinite(scores).all() and (scores.argmax(1) != 3).all()


def test_a_clustering_cut_short_says_so():
    seen = digits()
    ctx = context()
    create_method("spherical_kmeans", rounds=1, first="means").fit(seen, ctx)
    assert any("still change" in w for w in ctx.warnings)
