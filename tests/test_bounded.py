"""Forms for many samples against the exact ones: the same answers, or near ones where the maths is not the same."""

from __future__ import annotations

import pytest
import torch

from dazoo.methods.base import create_method
from dazoo.methods.reweighting import kde_ratio, ldm
from dazoo.methods.subspace import _graph, meda
from tests.test_subspace import context, toy


def labels(name, seen, **hparams):
    ctx = context()
    model = create_method(name, **hparams).fit(seen, ctx)
    return model.predict(seen.target.x), ctx.warnings


def test_densities_in_single_precision_are_those_in_double(monkeypatch):
    seen = toy(90, 70)
    far = seen.source.x.clone()
    far[0] *= 1e3  # too far for single precision
    exact = kde_ratio.log_ratio(far, seen.target.x)
    monkeypatch.setattr(kde_ratio, "MANY_PAIRS", 0)
    monkeypatch.setattr(kde_ratio, "COLUMNS", 16)
    many = kde_ratio.log_ratio(far, seen.target.x)
    assert not torch.equal(many, exact)
    torch.testing.assert_close(many, exact, rtol=1e-6, atol=1e-4)


def test_ldm_of_many_samples_certifies_the_same_discrepancy(monkeypatch):
    seen = toy(60, 50, d=4)
    x, target = ldm.lifted(seen.source.x, seen.target.x)
    exact, gap = ldm.minimise(x, target)
    monkeypatch.setattr(ldm, "MANY", 0)
    many, other = ldm.minimise(x, target)
    start, *norms = (
        float(torch.linalg.eigvalsh(ldm._difference(x, target, w)).abs().max())
        for w in (torch.full_like(exact, 1 / 60), exact, many)
    )
    assert max(gap, other) <= ldm.GAP and abs(norms[0] - norms[1]) <= ldm.GAP * start
    v = torch.linspace(-1, 2, 9, dtype=torch.float64)
    monkeypatch.setattr(ldm, "MANY", 100)
    torch.testing.assert_close(ldm._simplex_of_many(v), ldm._simplex(v))


def test_sparse_label_propagation_is_the_dense_one(monkeypatch):
    seen = toy(50, 40)
    dense, quiet = labels("label_propagation", seen)
    monkeypatch.setattr(_graph, "DENSE_LIMIT", 10)
    sparse, told = labels("label_propagation", seen)
    assert not quiet and "conjugate gradients" in told[0]
    torch.testing.assert_close(sparse.scores, dense.scores, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("landmarks", "least"), [(1000, 1.0), (40, 0.97)])
def test_meda_on_landmarks_is_meda(monkeypatch, landmarks, least):
    seen = toy(70, 60)
    dense, _ = labels("meda", seen, dim=2)
    monkeypatch.setattr(_graph, "DENSE_LIMIT", 10)
    monkeypatch.setattr(meda, "LANDMARKS", landmarks)
    some, told = labels("meda", seen, dim=2)
    assert "drawn at random" in told[0]
    assert float((some.labels == dense.labels).double().mean()) >= least
