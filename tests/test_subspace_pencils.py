"""TJM, SCA, JGSA, MIDA, mSDA and EasyAdapt against dense or sampled counterparts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch

from dazoo.core.setting import FEW_LABELS
from dazoo.core.types import Labeled, Seen
from dazoo.methods.base import create_method
from dazoo.methods.subspace import tjm
from dazoo.methods.subspace._pencil import joint_indicators
from dazoo.methods.subspace.jgsa import Coupled
from dazoo.methods.subspace.mida import components_of_independence
from dazoo.methods.subspace.msda import denoiser
from dazoo.ops.classwise import one_hot
from dazoo.shallow.steps import run_steps
from tests import surf
from tests.test_subspace import arrays, context, dense_joint, same_up_to_sign, toy


def centring(n: int) -> np.ndarray:
    return np.eye(n) - 1 / n


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("shape", [(20, 16, 5), (8, 7, 30)])
def test_tjm_solves_its_pencil(shape):
    """Two rounds with (n, n) matrices; the row weights of the second come from the first."""
    seen = toy(*shape)
    xs, xt, _ = arrays(seen)
    x, ns = unit(np.concatenate([xs, xt])), len(xs)
    n = len(x)
    k = x @ x.T
    e = np.concatenate([np.full(ns, 1 / ns), np.full(n - ns, -1 / (n - ns))])
    m = np.outer(e, e) / (e @ e)
    g = np.ones(n)
    for _ in range(2):
        a = scipy.linalg.eigh(k @ centring(n) @ k, k @ m @ k + 0.5 * np.diag(g))[1][:, ::-1][:, :3]
        a = a / np.linalg.norm(a, axis=0)
        g[:ns] = 1 / (2 * np.linalg.norm(a[:ns], axis=1))
    steps = create_method("tjm", dim=3, lam=0.5, rounds=2).align(seen, context()).target_steps
    assert same_up_to_sign(x @ steps[1].weight.numpy(), k @ a)


def test_tjm_drops_source_samples_that_fit_nothing():
    """Half of the source lies off the subspace of everything else: their rows of A shrink against the others'."""
    rng = np.random.default_rng(0)
    seen = toy(40, 40, d=6, move=0.0)
    x = seen.source.x.clone()
    x[20:] = torch.from_numpy(0.05 * rng.standard_normal((20, 6))) + 3.0
    rows = []
    original = tjm.weighted_pencil
    try:
        tjm.weighted_pencil = lambda *args: rows.append(original(*args)) or rows[-1]
        odd = Seen(Labeled(x, seen.source.y, seen.source.domain), seen.target, None, 3, "vector", seen.setting)
        create_method("tjm", dim=2).align(odd, context())
    finally:
        tjm.weighted_pencil = original
    first, last = (a[:40].norm(dim=1) for a in (rows[0], rows[-1]))
    assert last.min() / last.max() < 0.2 * first.min() / first.max()


def test_sca_solves_its_pencil():
    seen = toy(30, 20, d=7)
    xs, xt, ys = arrays(seen)
    xs, xt = unit(xs), unit(xt)
    x = np.concatenate([xs, xt])
    total = sum(np.outer(r, r) for r in x - x.mean(0)) / 50
    between = sum(np.sum(ys == c) * np.outer(*[xs[ys == c].mean(0) - xs.mean(0)] * 2) for c in range(3)) / 30
    within = sum(np.outer(*[r - xs[ys == y].mean(0)] * 2) for r, y in zip(xs, ys)) / 30
    centre = (xs.mean(0) + xt.mean(0)) / 2
    domain = sum(np.outer(*[v.mean(0) - centre] * 2) for v in (xs, xt))
    top, bottom = 0.3 * total + 0.7 * between, 5 * domain + np.eye(7) + within
    reference = scipy.linalg.eigh(top, bottom)[1][:, ::-1][:, :3]
    steps = create_method("sca", dim=3, beta=0.7, delta=5.0).align(seen, context()).target_steps
    assert same_up_to_sign(steps[1].weight.numpy(), reference)


@pytest.mark.parametrize("shape", [(30, 20, 5), (9, 6, 8)])
def test_jgsa_solves_its_pencil(shape):
    """The (2d, 2d) matrices block by block; the second case has fewer target samples than features."""
    seen = toy(*shape)
    xs, xt, ys = arrays(seen)
    d, ns = shape[2], shape[0]
    beta, lam, mu = 0.3, 0.7, 1.3
    yt = np.arange(shape[1]) % 3
    m = dense_joint(xs, xt, ys, yt, 3)
    sb = sum(np.sum(ys == c) * np.outer(*[xs[ys == c].mean(0) - xs.mean(0)] * 2) for c in range(3))
    sw = sum(np.outer(*[r - xs[ys == y].mean(0)] * 2) for r, y in zip(xs, ys))
    st = xt.T @ centring(len(xt)) @ xt
    eye = np.eye(d)
    ms, mst, mt = xs.T @ m[:ns, :ns] @ xs, xs.T @ m[:ns, ns:] @ xt, xt.T @ m[ns:, ns:] @ xt
    top = scipy.linalg.block_diag(beta * sb, mu * st)
    bottom = np.block([[ms + lam * eye + beta * sw, mst - lam * eye], [mst.T - lam * eye, mt + (lam + mu) * eye]])
    _, vectors = scipy.linalg.eigh(top, bottom)
    pencil = Coupled.build(seen.source.x, seen.target.x, seen.source.y, 3, beta, lam, mu)
    es, et = joint_indicators(seen.source.y, torch.from_numpy(yt), 3)
    w = pencil.solve(torch.cat([seen.source.x.T @ es, -seen.target.x.T @ et]), 3).numpy()
    assert same_up_to_sign(w, vectors[:, ::-1][:, :3])
    assert np.allclose(np.diag(w.T @ bottom @ w), 1)


@pytest.mark.parametrize(("gamma", "d"), [(0.0, 6), (2.0, 6), (2.0, 40)])
def test_mida_solves_its_eigenproblem(gamma, d):
    seen = toy(14, 10, d=d)
    xs, xt, ys = arrays(seen)
    x, n = np.concatenate([xs, xt]), 24
    k, h = x @ x.T, centring(n)
    domain = np.r_[np.zeros(14), np.ones(10)]
    kd = (domain[:, None] == domain).astype(float)
    ky = np.zeros((n, n))
    ky[:14, :14] = ys[:, None] == ys
    inner = k @ (0.4 * h + gamma * h @ ky @ h - h @ kd @ h) @ k
    w = np.linalg.eigh(inner)[1][:, ::-1][:, :3]
    mine = components_of_independence(
        seen.source.x, seen.target.x, one_hot(seen.source.y, 3, torch.float64), 0.4, gamma, 3
    )
    assert same_up_to_sign(x @ mine.numpy(), k @ w)


def test_mida_without_variance_finds_directions_without_domain():
    """A domain shift along one axis: with little weight on variance the projected domain means agree."""
    rng = np.random.default_rng(0)
    xs, xt = rng.standard_normal((60, 5)), rng.standard_normal((50, 5)) + 6.0 * np.eye(5)[0]
    labels = torch.zeros(60, 2, dtype=torch.float64)
    w = components_of_independence(torch.from_numpy(xs), torch.from_numpy(xt), labels, 1e-3, 0.0, 3).numpy()
    both = np.concatenate([xs, xt]) @ w
    gap = np.abs(xs.mean(0) @ w - xt.mean(0) @ w) / both.std(0)
    assert gap.max() < 0.4 < np.abs(xs.mean(0) - xt.mean(0)).max() / np.concatenate([xs, xt]).std(0).max()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("augment", [False, True])
def test_mida_closes_the_gap_of_the_domains_at_any_scale(augment, scale):
    """At the defaults the domains' means agree in every component, and z is as large as x."""
    seen = toy(60, 50, d=8)
    xs, xt = (scale * part.x for part in (seen.source, seen.target))
    xt = xt + 3 * scale
    task = replace(seen, source=replace(seen.source, x=xs), target=replace(seen.target, x=xt))
    aligned = create_method("mida", augment=augment).align(task, context())
    zt = run_steps(aligned.target_steps, xt)
    both = torch.cat([aligned.zs, zt])
    gap = (aligned.zs.mean(0) - zt.mean(0)).norm() / both.var(0).sum().sqrt()
    before = (xs.mean(0) - xt.mean(0)).norm() / torch.cat([xs, xt]).var(0).sum().sqrt()
    assert gap < 0.1 * before
    assert torch.allclose(both.var(0).sum(), torch.cat([xs, xt]).var(0).sum())
    assert torch.allclose(run_steps(aligned.source_steps, xs), aligned.zs)


def test_msda_layer_is_the_limit_of_explicit_dropping():
    """Least squares on very many corrupted copies tends to the closed form."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((12, 3)) + 1.0
    copies = 20_000
    noisy = np.tile(x, (copies, 1)) * (rng.random((12 * copies, 3)) > 0.4)
    design = np.c_[noisy, np.ones(len(noisy))]
    reference = np.linalg.lstsq(design, np.tile(x, (copies, 1)), rcond=None)[0]
    layer = denoiser(torch.from_numpy(x), 0.4, 1e-12)
    assert np.allclose(layer.weight, reference[:3], atol=0.01)
    assert np.allclose(layer.bias, reference[3], atol=0.01)


def test_msda_stacks_every_layer_beside_the_input():
    seen = toy(d=6)
    aligned = create_method("msda", layers=3).align(seen, context())
    both = torch.cat([seen.source.x, seen.target.x])
    parts, h = [both], both
    for _ in range(3):
        h = torch.tanh(denoiser(h, 0.5, 1e-5)(h))
        parts.append(h)
    assert torch.allclose(run_steps(aligned.target_steps, both), torch.cat(parts, 1))


def test_easyadapt_kernel_counts_samples_of_one_domain_twice():
    base = toy(30, 20, d=4)
    few = Labeled(base.target.x[:6], torch.arange(6) % 3, torch.zeros(6, dtype=torch.int64))
    seen = Seen(base.source, base.target, few, 3, "vector", FEW_LABELS)
    aligned = create_method("easyadapt").align(seen, context())
    zs, zt = aligned.zs, run_steps(aligned.target_steps, few.x)
    assert torch.allclose(zs @ zs.T, 2 * base.source.x @ base.source.x.T)
    assert torch.allclose(zt @ zt.T, 2 * few.x @ few.x.T)
    assert torch.allclose(zs @ zt.T, base.source.x @ few.x.T)


@pytest.mark.parametrize(("method", "expected", "within"), [("sca", 45.2, 2.0), ("jgsa", 50.0, 2.0)])
def test_more_surf_averages(data_root, method, expected, within):
    assert abs(surf.average(data_root, method) - expected) <= within
