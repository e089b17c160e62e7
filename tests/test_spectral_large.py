"""Eigenpairs of large matrices, where an iterative solver takes over, and second moments by the rank-k update."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dazoo.ops.linalg import spectral
from dazoo.ops.linalg.linear import second_moment
from dazoo.ops.linalg.spectral import leading_eigenvectors, principal_components

D = spectral.LANCZOS_SIZE + 20


def with_values(values: np.ndarray) -> Tensor:
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((len(values), len(values))))
    return torch.from_numpy((q * values) @ q.T)


SPECTRA = {
    "decaying": 1.0 / np.arange(1, D + 1),
    "flat": np.linspace(1.0, 1.1, D),
    "repeated": np.concatenate([np.full(7, 5.0), np.full(9, 3.0), np.linspace(1.0, 0.0, D - 16)]),
    "low rank": np.concatenate([np.arange(12.0, 0.0, -1.0), np.zeros(D - 12)]),
    "signs": np.linspace(-2.0, 1.0, D),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_large_problems_agree_with_the_full_decomposition(name: str) -> None:
    a = with_values(SPECTRA[name])
    values, vectors = leading_eigenvectors(a, 20)
    expected = np.sort(SPECTRA[name])[::-1][:20]
    assert np.allclose(values.numpy(), expected, atol=1e-10)
    assert torch.allclose(vectors.T @ vectors, torch.eye(20, dtype=torch.float64), atol=1e-10)
    assert torch.allclose(a @ vectors, vectors * values, atol=1e-9)


def test_no_convergence_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    a = with_values(SPECTRA["decaying"])
    expected = leading_eigenvectors(a, 5)[1]
    monkeypatch.setattr(spectral, "_lanczos", lambda a, k: None)
    assert torch.allclose(leading_eigenvectors(a, 5)[1], expected, atol=1e-9)


def test_components_of_centred_data_do_not_stall() -> None:
    """The Gram matrix of centred rows has the constant vector in its null space."""
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((D, 2 * D)))
    _, variances, directions = principal_components(x, 10)
    full = torch.linalg.svdvals(x - x.mean(0))[:10].square() / (D - 1)
    assert torch.allclose(variances, full, rtol=1e-9)
    assert torch.allclose(directions.T @ directions, torch.eye(10, dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize("shape", [(3, 5), (90, 70), (70, 200)])
@pytest.mark.parametrize("turned", [False, True])
def test_second_moment_is_the_product(shape: tuple[int, int], turned: bool) -> None:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal(shape))
    x = x.T if turned else x
    got = second_moment(x)
    assert torch.allclose(got, x.T @ x, atol=1e-10)
    assert torch.equal(got, got.T)
