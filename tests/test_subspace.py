"""Subspace and kernel methods against independent solutions and analytic properties."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.sparse.csgraph
import scipy.spatial
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from dazoo.core.memo import Memo
from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import Context, create_method
from dazoo.methods.subspace._pencil import joint_factor
from dazoo.methods.subspace.easytl import multipliers
from dazoo.methods.subspace.gfk import geodesic_root
from dazoo.methods.subspace.meda import balance_of
from dazoo.shallow.classifiers import classifier
from dazoo.shallow.steps import run_steps
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


def test_tca_of_few_samples_equals_tca_in_all_features():
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
    assert torch.allclose(zs.mean(0), seen.target.x.mean(0))


@pytest.mark.parametrize("name", ["coral", "easytl", "mida"])
def test_an_offset_of_the_target_is_undone(name):
    """Features that nobody centred: the target is the source's distribution, moved."""
    seen = toy(200, 201, move=0.0)
    y = torch.arange(201) % 3
    far = replace(seen, target=replace(seen.target, x=seen.target.x + 30.0))
    model = create_method(name).fit(far, context("logistic"))
    assert (model.predict(far.target.x).labels == y).double().mean() > 0.85


@pytest.mark.parametrize("shape", [(50, 40, 6), (7, 30, 20), (9, 8, 20)])
def test_coral_equals_scipy_matrix_roots(shape):
    seen = toy(*shape)
    xs, xt, _ = arrays(seen)
    cs, ct = (np.cov(x.T) + np.eye(shape[2]) for x in (xs, xt))
    expected = xs @ np.linalg.inv(scipy.linalg.sqrtm(cs)) @ scipy.linalg.sqrtm(ct)
    assert np.allclose(create_method("coral", align_means=False).align(seen, context()).zs, np.real(expected))
    moved = np.real(expected) - np.real(expected).mean(0) + xt.mean(0)
    assert np.allclose(create_method("coral").align(seen, context()).zs, moved)


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


# -- PCA, GFK -------------------------------------------------------------------------------------------------------


def test_pca_spans_what_scikit_learns_pca_spans():
    seen = toy(d=9)
    xs, xt, _ = arrays(seen)
    reference = PCA(4, svd_solver="full").fit(np.concatenate([xs, xt]))
    aligned = create_method("pca", dim=4).align(seen, context())
    assert same_up_to_sign(aligned.zs.numpy(), reference.transform(xs))


@pytest.mark.parametrize(("d", "k"), [(12, 3), (7, 4)])  # in the second case the subspaces must meet
def test_gfk_is_the_integral_along_the_geodesic(d, k):
    """G by Gauss-Legendre quadrature of Phi(t) Phi(t)', the geodesic by the matrix exponential of its velocity."""
    rng = np.random.default_rng(0)
    ps, pt = (np.linalg.qr(rng.standard_normal((d, k)))[0] for _ in range(2))
    root = geodesic_root(torch.from_numpy(ps), torch.from_numpy(pt)).numpy()
    u1, cos, v = np.linalg.svd(ps.T @ pt)
    theta = np.arccos(np.clip(cos, -1, 1))
    across = pt @ v.T - ps @ u1 * cos
    length = np.linalg.norm(across, axis=0)
    across = np.where(length > 1e-8, across / np.maximum(length, 1e-300), 0)
    nodes, weights = np.polynomial.legendre.leggauss(30)
    g = np.zeros((d, d))
    for node, weight in zip((nodes + 1) / 2, weights / 2):
        phi = ps @ u1 * np.cos(node * theta) + across * np.sin(node * theta)
        g += weight * phi @ phi.T
    assert np.allclose(root @ root.T, g, atol=1e-7)
    end = ps @ u1 * np.cos(theta) + across * np.sin(theta)
    assert np.allclose(end @ end.T, pt @ pt.T, atol=1e-7)  # the path checked against does end at the target


def test_gfk_of_equal_subspaces_is_the_projection():
    basis = torch.linalg.qr(torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).Q
    root = geodesic_root(basis, basis)
    assert torch.allclose(root @ root.T, basis @ basis.T, atol=1e-7)


# -- JDA, BDA -------------------------------------------------------------------------------------------------------


def dense_joint(xs, xt, ys, yt, n_classes, marginal=1.0, conditional=1.0, priors=False):
    """M (n, n) class by class."""
    ns, n = len(xs), len(xs) + len(xt)
    e = np.concatenate([np.full(ns, 1 / ns), np.full(n - ns, -1 / (n - ns))])
    m = marginal * np.outer(e, e)
    for c in range(n_classes):
        s, t = np.flatnonzero(ys == c), np.flatnonzero(yt == c)
        if len(s) and len(t):
            e = np.zeros(n)
            e[s] = (np.sqrt(len(s) / ns) if priors else 1) / len(s)
            e[ns + t] = -(np.sqrt(len(t) / (n - ns)) if priors else 1) / len(t)
            m += conditional * np.outer(e, e)
    return m / np.linalg.norm(m)


def dense_pencil(xs, xt, m, mu, k):
    x = np.concatenate([xs, xt]).T
    x = x / np.linalg.norm(x, axis=0)
    h = np.eye(x.shape[1]) - 1 / x.shape[1]
    return scipy.linalg.eigh(x @ h @ x.T, x @ m @ x.T + mu * np.eye(len(x)))[1][:, ::-1][:, :k]


def test_jda_solves_its_pencil():
    """Three rounds written out densely, with scikit-learn's nearest neighbour; a class is missing in the target."""
    seen = toy(40, 30, d=7)
    xs, xt, ys = arrays(seen)
    labels = np.full(len(xt), -1)
    for _ in range(3):
        a = dense_pencil(xs, xt, dense_joint(xs, xt, ys, labels, 3), 0.5, 3)
        a = a / np.linalg.norm(a, axis=0)
        norms = [np.linalg.norm(x, axis=1, keepdims=True) for x in (xs, xt)]
        zs, zt = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (xs / norms[0] @ a, xt / norms[1] @ a))
        labels = KNeighborsClassifier(1).fit(zs, ys).predict(zt)
    model = create_method("jda", dim=3, mu=0.5, rounds=3).fit(seen, context())
    assert np.array_equal(model.predict(seen.target.x).labels.numpy(), labels)
    assert same_up_to_sign(model.target_steps[1].weight.numpy(), a)


@pytest.mark.parametrize("priors", [False, True])
def test_joint_factor_is_a_root_of_the_class_wise_matrix(priors):
    seen = toy(40, 30, d=7)
    xs, xt, ys = arrays(seen)
    yt = np.arange(30) % 2  # class 2 is missing
    x = np.concatenate([xs, xt]).T
    factor = joint_factor(*map(torch.from_numpy, (xs, xt, ys, yt)), 3, 0.3, 0.7, priors).numpy()
    assert np.allclose(factor @ factor.T, x @ dense_joint(xs, xt, ys, yt, 3, 0.3, 0.7, priors) @ x.T)


def test_bda_at_balance_zero_is_tca_and_at_half_is_jda():
    seen = toy(60, 50, d=8, move=1.5, seed=2)

    def scores(name, **hparams):
        return create_method(name, dim=3, **hparams).fit(seen, context()).predict(seen.target.x).scores

    assert torch.equal(scores("bda", balance=0.0), scores("tca"))
    assert torch.allclose(scores("bda", balance=0.5, weighted=False), scores("jda"))


# -- EasyTL, MEDA ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_easytl_labels_solve_the_linear_programme(seed):
    """Few target samples, all near one class, so that the constraint binds; the optimum is a dense programme's."""
    rng = np.random.default_rng(seed)
    distances = np.c_[rng.random((9, 1)), 1 + rng.random((9, 3))]
    rows, cols = np.kron(np.eye(9), np.ones(4)), np.kron(np.ones(9), np.eye(4))
    best = scipy.optimize.linprog(
        distances.ravel(), A_eq=rows, b_eq=np.ones(9), A_ub=-cols, b_ub=-np.ones(4), bounds=(0, 1)
    )
    v = multipliers(torch.from_numpy(distances), context()).numpy()
    labels = (distances - v).argmin(1)
    assert set(labels) == {0, 1, 2, 3}
    assert np.isclose(distances[np.arange(9), labels].sum(), best.fun)
    assert (v > 0).any()


def test_easytl_with_full_classes_is_the_nearest_centre():
    seen = toy(d=8, move=0.2)
    model = create_method("easytl", align="none").fit(seen, context())
    xs, xt, ys = arrays(seen)
    reference = NearestCentroid().fit(xs, ys).predict(xt)
    assert len(set(reference)) == 3
    assert np.array_equal(model.predict(seen.target.x).labels.numpy(), reference)


def test_easytl_warns_when_classes_cannot_be_filled():
    seen, ctx = toy(), context()
    create_method("easytl").fit(Seen(seen.source, Unlabeled(seen.target.x[:2]), None, 3, "vector", UNSUPERVISED), ctx)
    assert any("nearest centre" in w for w in ctx.warnings)


def test_meda_is_a_stationary_point_of_its_objective():
    seen = toy(30, 24, d=8)
    xs, xt, ys = arrays(seen)
    method = create_method("meda", dim=3, rounds=1, adaptive=False, balance=0.3, neighbours=4)
    *before, last = method.fit(seen, context()).target_steps
    z = run_steps(tuple(before), torch.cat([seen.source.x, seen.target.x])).numpy()
    k = np.exp(-scipy.spatial.distance.cdist(z, z, "sqeuclidean") / 2)
    yt = KNeighborsClassifier(1).fit(z[:30], ys).predict(z[30:])
    m = dense_joint(xs, xt, ys, yt, 3, 0.7, 0.3)
    cosine = z @ z.T - 3 * np.eye(54)
    near = np.zeros_like(k)
    for i, row in enumerate(cosine):
        best = np.argsort(-row)[:4]
        near[i, best] = np.maximum(row[best], 0)
    w = np.maximum(near, near.T)
    lap = scipy.sparse.csgraph.laplacian(w, normed=True)
    kernel, target = torch.from_numpy(k), torch.from_numpy(np.eye(3)[ys])
    b = last.coef.clone().requires_grad_()
    f = kernel @ b
    quad = torch.from_numpy(10.0 * m + lap)
    objective = (target - f[:30]).square().sum() + 0.1 * (b * f).sum() + (f * (quad @ f)).sum()
    (gradient,) = torch.autograd.grad(objective, b)
    assert gradient.abs().max() < 1e-9
    assert b.abs().max() > 0.01


def test_meda_balance_follows_what_differs():
    """Equal domains whose classes have swapped places: all weight on the classes. Moved domains: on the domains too."""
    rng = np.random.default_rng(0)
    y = torch.arange(200) % 2
    centres = torch.tensor([[4.0, 0.0], [-4.0, 0.0]], dtype=torch.float64)
    zs = centres[y] + torch.from_numpy(rng.standard_normal((200, 2)))
    swapped = centres[1 - y] + torch.from_numpy(rng.standard_normal((200, 2)))
    assert balance_of(zs, swapped, y, y, 2) > 0.9
    assert balance_of(zs, zs + torch.tensor([0.0, 9.0], dtype=torch.float64), y, y, 2) == pytest.approx(2 / 3, abs=0.02)
    assert balance_of(zs, zs[:1], y, y[:1], 2) == 0.5


# -- published numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "head", "expected", "within"),
    [
        ("tca", "1nn", 46.2, 0.7),
        ("pca", "1nn", 43.6, 0.1),
        ("gfk", "1nn", 43.1, 0.3),
        ("jda", "1nn", 46.8, 0.3),
        ("coral", "1nn", 35.8, 0.2),
        ("coral", "svm", 48.8, 2.0),
    ],
)
def test_surf_averages(data_root, method, head, expected, within):
    """Averages over the twelve pairs; those of published tables where the row has one."""
    assert abs(surf.average(data_root, method, head) - expected) <= within


@pytest.mark.parametrize(("method", "expected"), [("easytl", 50.5), ("meda", 52.7)])
def test_surf_averages_of_methods_with_their_own_classifier(data_root, method, expected):
    assert abs(surf.average(data_root, method) - expected) <= 0.3
