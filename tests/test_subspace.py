"""Subspace and kernel methods against independent solutions and analytic properties."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import Context, Memo, create_method
from dazoo.methods.classifiers import classifier
from dazoo.methods.steps import run_steps
from tests import surf


def toy(ns: int = 50, nt: int = 40, d: int = 6, c: int = 3, seed: int = 0, move: float = 1.0) -> Seen:
    """Gaussian classes; the target is turned, stretched and moved."""
    rng = np.random.default_rng(seed)
    centres = 2 * rng.standard_normal((c, d))
    ys, yt = np.arange(ns) % c, np.arange(nt) % c
    xs = centres[ys] + rng.standard_normal((ns, d))
    stretch = np.eye(d) + 0.3 * move * rng.standard_normal((d, d))
    xt = (centres[yt] + rng.standard_normal((nt, d))) @ stretch + move
    source = Labeled(torch.from_numpy(xs), torch.from_numpy(ys), torch.zeros(ns, dtype=torch.int64))
    return Seen(source, Unlabeled(torch.from_numpy(xt)), None, c, "vector", UNSUPERVISED)


def context(head: str = "1nn") -> Context:
    return Context(torch.Generator().manual_seed(0), classifier(head), Memo())


def arrays(seen: Seen) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return seen.source.x.numpy(), seen.target.x.numpy(), seen.source.y.numpy()


def same_up_to_sign(a: np.ndarray, b: np.ndarray) -> bool:
    return np.allclose(np.abs(np.sum(a * b, axis=0)), np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0), atol=1e-8)


# -- TCA ------------------------------------------------------------------------------------------------------------


def dense_tca(xs: np.ndarray, xt: np.ndarray, k: int, mu: float) -> np.ndarray:
    """The pencil written out with (n, n) matrices and given to scipy."""
    x = np.concatenate([xs, xt]).T
    x = x / np.linalg.norm(x, axis=0)
    ns, n = len(xs), len(xs) + len(xt)
    e = np.concatenate([np.full(ns, 1 / ns), np.full(n - ns, -1 / (n - ns))])[:, None]
    m = e @ e.T
    m /= np.linalg.norm(m)
    h = np.eye(n) - 1 / n
    _, vectors = scipy.linalg.eigh(x @ h @ x.T, x @ m @ x.T + mu * np.eye(len(x)))
    return vectors[:, ::-1][:, :k]


@pytest.mark.parametrize("mu", [0.1, 1.0])
def test_tca_solves_its_pencil(mu):
    seen = toy()
    xs, xt, _ = arrays(seen)
    steps = create_method("tca", dim=3, mu=mu).align(seen, context()).target_steps
    mine, reference = steps[1].weight.numpy(), dense_tca(xs, xt, 3, mu)
    assert same_up_to_sign(mine, reference)
    assert np.allclose(np.linalg.norm(mine, axis=0), 1)


def test_tca_in_the_span_equals_tca_in_all_features():
    seen = toy(ns=14, nt=11, d=60)
    xs, xt, _ = arrays(seen)
    steps = create_method("tca", dim=4).align(seen, context()).target_steps
    assert same_up_to_sign(steps[1].weight.numpy(), dense_tca(xs, xt, 4, 1.0))


def test_tca_rbf_maps_new_samples_as_it_mapped_the_source():
    seen = toy()
    aligned = create_method("tca", dim=3, kernel="rbf").align(seen, context())
    assert torch.allclose(run_steps(aligned.target_steps, seen.source.x), aligned.zs, atol=1e-10)


# -- CORAL, SA ------------------------------------------------------------------------------------------------------


def test_coral_gives_the_source_the_targets_covariance():
    seen = toy(400, 300)
    zs = create_method("coral", reg=1e-9).align(seen, context()).zs
    assert torch.allclose(torch.cov(zs.T), torch.cov(seen.target.x.T), atol=1e-6)
    moved = create_method("coral", reg=1e-9, align_means=True).align(seen, context()).zs
    assert torch.allclose(moved.mean(0), seen.target.x.mean(0))


@pytest.mark.parametrize("shape", [(50, 40, 6), (7, 30, 20), (9, 8, 20)])
def test_coral_equals_scipy_matrix_roots(shape):
    seen = toy(*shape)
    xs, xt, _ = arrays(seen)
    cs, ct = (np.cov(x.T) + np.eye(shape[2]) for x in (xs, xt))
    expected = xs @ np.linalg.inv(scipy.linalg.sqrtm(cs)) @ scipy.linalg.sqrtm(ct)
    assert np.allclose(create_method("coral").align(seen, context()).zs, np.real(expected))


def test_sa_alignment_is_the_least_squares_one():
    seen = toy(d=8)
    xs, xt, _ = arrays(seen)
    aligned = create_method("sa", dim=3).align(seen, context())
    ps, pt = (np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:3].T for x in (xs, xt))
    matrix = np.linalg.lstsq(ps, pt, rcond=None)[0]  # argmin ||P_s M - P_t||
    expected = (xs - xs.mean(0)) @ ps @ matrix
    assert same_up_to_sign(aligned.zs.numpy(), expected)


def test_sa_without_shift_is_pca():
    seen = toy(d=8)
    same = Seen(seen.source, Unlabeled(seen.source.x), None, 3, "vector", UNSUPERVISED)
    aligned = create_method("sa", dim=3).align(same, context())
    assert torch.allclose(aligned.zs, run_steps(aligned.target_steps, seen.source.x))


# -- published numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "head", "expected", "within"),
    [
        ("tca", "1nn", 46.2, 0.7),
        ("coral", "1nn", 35.8, 0.2),
        ("coral", "svm", 48.8, 2.0),
    ],
)
def test_surf_averages(data_root, method, head, expected, within):
    """Averages over the twelve pairs; those of published tables where the row has one."""
    assert abs(surf.average(data_root, method, head) - expected) <= within
