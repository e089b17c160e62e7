"""Every loss that has no recorded fixture against its formula, written out with loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dazoo.ops import (
    adversarial,
    classwise,
    discrepancy,
    entropy,
    kernels,
    mmd,
    moments,
    norms,
    openset,
    perturb,
)
from tests.slow import bandwidth, distance, five, log_sigmoid, softmax

N, M, D, C = 5, 7, 3, 4


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def tensor(x: np.ndarray) -> Tensor:
    return torch.tensor(x)


def close(actual: Tensor, expected: float | np.ndarray) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def rows(rng: np.random.Generator, n: int, d: int = D) -> np.ndarray:
    return rng.normal(size=(n, d))


def probs(rng: np.random.Generator, n: int, c: int = C) -> np.ndarray:
    return np.array([softmax(r) for r in rows(rng, n, c)])


def shannon(p: np.ndarray) -> float:
    return -sum(v * math.log(v) for v in p)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_squared_distances(rng: np.random.Generator, offset: float) -> None:
    a, b = rows(rng, N), rows(rng, M)
    expected = np.array([[distance(u, v) for v in b] for u in a])
    # the offset itself costs the inputs 1e6 / 1e16 of their precision
    np.testing.assert_allclose(kernels.squared_distances(tensor(a + offset), tensor(b + offset)), expected, rtol=1e-8)
    within = kernels.squared_distances(tensor(a))
    close(within, np.array([[distance(u, v) for v in a] for u in a]))
    assert bool((within.diagonal() == 0).all())


def test_kernels(rng: np.random.Generator) -> None:
    a, b = rows(rng, N), rows(rng, M)
    sq = kernels.squared_distances(tensor(a), tensor(b))
    close(kernels.linear_kernel(tensor(a), tensor(b)), np.array([[sum(u * v) for v in b] for u in a]))
    close(kernels.rbf(tensor(a), tensor(b), 0.3), np.array([[math.exp(-0.3 * distance(u, v)) for v in b] for u in a]))
    close(kernels.gaussian(sq, 1.7), np.array([[math.exp(-distance(u, v) / (2 * 1.7**2)) for v in b] for u in a]))
    m = float(np.mean([[distance(u, v) for v in b] for u in a]))
    close(kernels.multi_gaussian(sq), np.array([[five(u, v, m) for v in b] for u in a]))
    close(kernels.multi_gaussian(sq, mean=torch.tensor(2.5)), np.array([[five(u, v, 2.5) for v in b] for u in a]))
    pairs = sorted(distance(a[i], a[j]) for i in range(N) for j in range(i))
    close(kernels.median_distance(kernels.squared_distances(tensor(a))), pairs[(len(pairs) - 1) // 2])


@pytest.mark.parametrize("unbiased", [False, True])
def test_mmd_of_unequal_samples(rng: np.random.Generator, unbiased: bool) -> None:
    a, b = rows(rng, N), rows(rng, M)

    def mean(u: np.ndarray, v: np.ndarray, skip: bool) -> float:
        picked = [
            math.exp(-0.2 * distance(p, q)) for i, p in enumerate(u) for j, q in enumerate(v) if i != j or not skip
        ]
        return sum(picked) / len(picked)

    expected = mean(a, a, unbiased) + mean(b, b, unbiased) - 2 * mean(a, b, False)
    close(mmd.mmd(tensor(a), tensor(b), lambda x: kernels.rbf(x, gamma=0.2), unbiased=unbiased), expected)


def test_mk_mmd_of_unequal_samples(rng: np.random.Generator) -> None:
    a, b = rows(rng, N), rows(rng, M)
    m = bandwidth({"fs": a, "ft": b})
    ss = sum(five(a[i], a[j], m) for i, j in itertools.permutations(range(N), 2)) / (N * (N - 1))
    tt = sum(five(b[i], b[j], m) for i, j in itertools.permutations(range(M), 2)) / (M * (M - 1))
    st = sum(five(u, v, m) for u in a for v in b) / (N * M)
    close(mmd.mk_mmd(tensor(a), tensor(b)), ss + tt - 2 * st)
    close(mmd.mk_mmd(tensor(a), tensor(b), offset=True), ss + tt - 2 * st + 1 / (N - 1) + 1 / (M - 1))


def test_moments(rng: np.random.Generator) -> None:
    a, b = rows(rng, N), rows(rng, M)
    cs, ct = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    close(moments.covariance(tensor(a)), cs)
    close(moments.coral(tensor(a), tensor(b)), sum((cs - ct).ravel() ** 2) / (4 * D * D))
    close(moments.mean_difference(tensor(a), tensor(b)), sum((a.mean(0) - b.mean(0)) ** 2))
    close(mmd.linear_mmd(tensor(a), tensor(b)), sum((a.mean(0) - b.mean(0)) ** 2))
    cmd = math.dist(a.mean(0), b.mean(0)) / 2
    for k in (2, 3, 4):
        cmd += math.dist(((a - a.mean(0)) ** k).mean(0), ((b - b.mean(0)) ** k).mean(0)) / 2**k
    close(moments.central_moments(tensor(a), tensor(b), moments=4, span=2.0), cmd)
    every = list(itertools.product(range(D), repeat=3))
    gaps = [(np.prod(a[:, list(i)], 1).mean() - np.prod(b[:, list(i)], 1).mean()) ** 2 for i in every]
    close(moments.higher_order(tensor(a), tensor(b)), np.mean(gaps))
    close(moments.higher_order(tensor(a), tensor(b), index=torch.tensor(every[3:9])), np.mean(gaps[3:9]))


@pytest.mark.parametrize("d", [3, 40])
def test_coral_from_covariances_and_from_inner_products(rng: np.random.Generator, d: int) -> None:
    """Fewer and more features than rows: values, and gradients against differences."""
    a, b = rng.standard_normal((7, d)), 2 * rng.standard_normal((9, d)) + 1

    def value(f: np.ndarray) -> float:
        return float(((np.cov(f, rowvar=False) - np.cov(b, rowvar=False)) ** 2).sum() / (4 * d * d))

    x = tensor(a).requires_grad_()
    distance = moments.coral(x, tensor(b))
    close(distance, value(a))
    (grad,) = torch.autograd.grad(distance, x)
    for i, j in [(0, 0), (3, d - 1), (6, 1)]:
        step = np.zeros_like(a)
        step[i, j] = 1e-5
        assert float(grad[i, j]) == pytest.approx((value(a + step) - value(a - step)) / 2e-5, rel=1e-5)


def test_log_coral(rng: np.random.Generator) -> None:
    from scipy.linalg import logm

    a, b = rows(rng, 9), rows(rng, 8)
    logs = []
    for f in (a, b):
        c = np.cov(f, rowvar=False)
        logs.append(logm(c + 1e-3 * np.trace(c) / D * np.eye(D)))
    close(moments.log_coral(tensor(a), tensor(b)), ((logs[0] - logs[1]) ** 2).sum() / (4 * D * D))


def test_log_coral_gradient_is_that_of_the_matrix_logarithm(rng: np.random.Generator) -> None:
    # with the ridge held fixed, as documented: compare with a small fixed ridge on both sides
    a, b = rows(rng, 9), rows(rng, 8)
    x = tensor(a).requires_grad_()
    (grad,) = torch.autograd.grad(moments.log_coral(x, tensor(b), ridge=1e-12), x)

    def value(f: np.ndarray) -> float:
        return float(moments.log_coral(tensor(f), tensor(b), ridge=1e-12))

    for place in np.ndindex(a.shape):
        up, down = a.copy(), a.copy()
        up[place] += 1e-5
        down[place] -= 1e-5
        assert float(grad[place]) == pytest.approx((value(up) - value(down)) / 2e-5, rel=1e-5, abs=1e-8)


def test_adversarial_losses(rng: np.random.Generator) -> None:
    z, w = rng.normal(size=N + M), rng.uniform(size=N + M)
    each = [-log_sigmoid(v) if i < N else -log_sigmoid(-v) for i, v in enumerate(z)]
    close(adversarial.domain_bce_rows(tensor(z), N), np.array(each))
    close(adversarial.domain_bce_rows(tensor(z)[:, None], N, saturate=True), np.array(each))
    close(adversarial.domain_bce(tensor(z), N), 0.5 * (np.mean(each[:N]) + np.mean(each[N:])))
    close(adversarial.domain_bce(tensor(z), N, tensor(w)), 0.5 * (np.mean((each * w)[:N]) + np.mean((each * w)[N:])))
    close(adversarial.domain_bce_joint(tensor(z), N, tensor(w)), np.mean(each * w))
    close(adversarial.domain_confusion(tensor(z)), np.mean([-0.5 * (log_sigmoid(v) + log_sigmoid(-v)) for v in z]))
    close(adversarial.least_squares_domain(tensor(z), N), 0.5 * (np.mean((z[:N] - 1) ** 2) + np.mean(z[N:] ** 2)))
    close(adversarial.critic_gap(tensor(z), N), z[:N].mean() - z[N:].mean())


def test_multilinear_maps(rng: np.random.Generator) -> None:
    p, f = probs(rng, N), rows(rng, N)
    h = adversarial.conditional_map(tensor(p), tensor(f))
    assert h.shape == (N, C * D)
    for i, c, j in itertools.product(range(N), range(C), range(D)):
        assert float(h[i, c * D + j]) == p[i, c] * f[i, j]
    rp, rf = rows(rng, C, 6), rows(rng, D, 6)
    close(adversarial.random_map(tensor(p), tensor(f), tensor(rp), tensor(rf)), (p @ rp) * (f @ rf) / math.sqrt(6))


def test_entropies(rng: np.random.Generator) -> None:
    logits = rows(rng, N, C)
    p = np.array([softmax(r) for r in logits])
    close(entropy.entropy(tensor(p), 0), np.array([shannon(r) for r in p]))
    close(entropy.entropy_of_logits(tensor(logits)), np.array([shannon(r) for r in p]))
    close(entropy.diversity(tensor(p), 0), shannon(p.mean(0)))
    close(entropy.info_max(tensor(logits), 0), np.mean([shannon(r) for r in p]) - shannon(p.mean(0)))
    close(entropy.tsallis(tensor(p), 3.0), np.mean([(1 - sum(r**3)) / 2 for r in p]))
    close(entropy.max_square(tensor(p)), -np.mean([sum(r**2) for r in p]) / 2)
    close(entropy.nuclear_norm(tensor(p)), np.sqrt(np.linalg.eigvalsh(p.T @ p)).sum())
    close(entropy.bnm(tensor(p)), -np.sqrt(np.linalg.eigvalsh(p.T @ p)).sum() / N)
    wide = probs(rng, 3, 6)
    columns = sorted(math.sqrt(sum(wide[:, c] ** 2)) for c in range(6))
    close(entropy.fbnm(tensor(wide)), -sum(columns[-3:]) / 3)
    raw = [1 + math.exp(-shannon(r)) for r in p]
    close(entropy.entropy_weights(tensor(p), 0), np.array(raw) * N / sum(raw))


def test_discrepancies(rng: np.random.Generator) -> None:
    p, q = probs(rng, N), probs(rng, N)
    theta = rows(rng, C, 6)
    total = 0.0
    for k in range(6):
        for u, v in zip(sorted(p @ theta[:, k]), sorted(q @ theta[:, k]), strict=True):
            total += (u - v) ** 2
    close(discrepancy.swd(tensor(p), tensor(q), tensor(theta)), total / (6 * N))
    nuclear = [np.linalg.norm(x, "nuc") / N for x in (p, q)]
    close(discrepancy.nwd(tensor(p), tensor(q)), nuclear[0] - nuclear[1])
    kl = np.mean([sum(u * np.log(u / v)) + sum(v * np.log(v / u)) for u, v in zip(p, q, strict=True)]) / 2
    close(discrepancy.symmetric_kl(tensor(np.log(p)), tensor(np.log(q))), kl)
    close(
        perturb.kl_of_logits(tensor(np.log(p)), tensor(np.log(q))),
        np.mean([sum(u * np.log(u / v)) for u, v in zip(p, q)]),
    )
    close(
        perturb.soft_cross_entropy(tensor(np.log(q)), tensor(p)), np.mean([-sum(u * np.log(v)) for u, v in zip(p, q)])
    )


def test_mdd_takes_one_entry_per_row(rng: np.random.Generator) -> None:
    y, a = rows(rng, N, C), rows(rng, N, C)
    source = discrepancy.mdd_source(tensor(y), tensor(a))
    target = discrepancy.mdd_target(tensor(y), tensor(a))
    assert source.shape == target.shape == (N,)
    for i in range(N):
        p = softmax(a[i])[int(np.argmax(y[i]))]
        assert float(source[i]) == pytest.approx(-math.log(p), rel=1e-12)
        assert float(target[i]) == pytest.approx(math.log(1 - p + 1e-6), rel=1e-12)


def test_open_set_losses(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(N, C, 2))
    y = rng.integers(0, C, N)
    positive, negative, spread = 0.0, 0.0, 0.0
    for i in range(N):
        pairs = [softmax(logits[i, c]) for c in range(C)]
        positive -= math.log(pairs[y[i]][1]) / N
        negative += max(-math.log(pairs[c][0]) for c in range(C) if c != y[i]) / N
        spread += sum(shannon(pair) for pair in pairs) / (N * C)
    onehot = classwise.one_hot(torch.tensor(y), C, torch.float64)
    close(openset.one_vs_all(tensor(logits), onehot), positive + negative)
    close(openset.one_vs_all_entropy(tensor(logits)), spread)
    q = [softmax(r)[-1] for r in rows(np.random.default_rng(1), N, C)]
    flat = tensor(rows(np.random.default_rng(1), N, C))
    expected = -np.mean([0.3 * math.log(v + 1e-6) + 0.7 * math.log(1 - v + 1e-6) for v in q])
    close(openset.osbp(flat, 0.3), expected)


def test_norms(rng: np.random.Generator) -> None:
    f, g = rows(rng, N), rows(rng, M)
    close(norms.afn_hard(tensor(f), 2.0), (np.mean([math.dist(r, 0 * r) for r in f]) - 2.0) ** 2)
    sf, sg = np.linalg.svd(f, compute_uv=False), np.linalg.svd(g, compute_uv=False)
    close(norms.bsp(tensor(f), tensor(g), 2), sum(sf[:2] ** 2) + sum(sg[:2] ** 2))
    close(norms.bss(tensor(f), 2), sum(sf[-2:] ** 2))


def test_daregram(rng: np.random.Generator) -> None:
    f, g = rows(rng, 9, 5), rows(rng, 8, 5) * 1.3
    spectra, inverses, last = [], [], 0
    for x in (f, g):
        gram = np.c_[np.ones(len(x)), x].T @ np.c_[np.ones(len(x)), x]
        spectrum = np.linalg.eigvalsh(gram)[::-1]
        share = np.cumsum(spectrum) / spectrum.sum()
        last = max(last, max(i for i in range(6) if share[i] <= max(0.9, share[1])))
        spectra.append((gram, spectrum))
    for gram, _ in spectra:
        w, v = np.linalg.eigh(gram)
        w, v = w[::-1], v[:, ::-1]
        inverses.append(sum(np.outer(v[:, i], v[:, i]) / w[i] for i in range(last)))
    a, b = inverses
    cos = [a[:, j] @ b[:, j] / math.sqrt(a[:, j] @ a[:, j] * (b[:, j] @ b[:, j])) for j in range(6)]
    angle = sum(abs(1 - c) for c in cos) / 6
    scale = math.dist(spectra[0][1][:last], spectra[1][1][:last]) / last
    close(norms.daregram(tensor(f), tensor(g), 0.9), 0.05 * angle + 0.001 * scale)
    assert 1 < last < 5


def test_rsd_of_more_rows_than_half_the_features_uses_leading_directions(rng: np.random.Generator) -> None:
    f, g = rows(rng, 9, 6), rows(rng, 9, 6)
    us, ut = (np.linalg.svd(x.T, full_matrices=False)[0][:, :3] for x in (f, g))
    ps, cos, pt = np.linalg.svd(us.T @ ut)
    expected = sum(math.sqrt(1 - c * c) for c in cos) + 0.1 * math.sqrt(((abs(ps) - abs(pt.T)) ** 2).sum())
    close(norms.rsd(tensor(f), tensor(g)), expected)


def class_term(k: np.ndarray, u: np.ndarray, v: np.ndarray) -> float:
    """Squared MMD of two weighted sets of rows, weights (n + m,) each."""
    total = 0.0
    for i, j in itertools.product(range(len(k)), repeat=2):
        total += (u - v)[i] * (u - v)[j] * k[i, j]
    return total


def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    both = np.r_[a, b]
    m = bandwidth({"fs": a, "ft": b})
    return np.array([[five(u, v, m) for v in both] for u in both])


def test_lmmd(rng: np.random.Generator) -> None:
    a, b, p = rows(rng, N), rows(rng, M), probs(rng, M)
    y = np.array([0, 0, 1, 3, 3])
    k = kernel(a, b)
    shared = sorted(set(y.tolist()) & set(p.argmax(1).tolist()))
    terms = []
    for c in shared:
        u = np.r_[(y == c) / (y == c).sum(), np.zeros(M)]
        v = np.r_[np.zeros(N), p[:, c] / p[:, c].sum()]
        terms.append(class_term(k, u, v))
    assert 0 < len(shared) < C
    onehot = classwise.one_hot(torch.tensor(y), C, torch.float64)
    close(classwise.lmmd(tensor(a), tensor(b), onehot, tensor(p)), np.mean(terms))


def test_cdd(rng: np.random.Generator) -> None:
    a, b = rows(rng, N), rows(rng, M)
    y, z = np.array([0, 0, 1, 3, 3]), np.array([0, 1, 1, 2, 2, 0, -1])
    k = kernel(a, b)
    intra, inter = [], []
    for c in sorted(set(y.tolist())):
        for d in sorted(set(z.tolist()) - {-1}):
            u = np.r_[(y == c) / (y == c).sum(), np.zeros(M)]
            v = np.r_[np.zeros(N), (z == d) / (z == d).sum()]
            (intra if c == d else inter).append(class_term(k, u, v))
    hot = [classwise.one_hot(torch.tensor(v), C, torch.float64) for v in (y, z)]
    assert len(intra) == 2 and len(inter) == 7
    close(classwise.cdd(tensor(a), tensor(b), *hot), np.mean(intra) - np.mean(inter))


def test_centres(rng: np.random.Generator) -> None:
    f, w = rows(rng, N), rng.uniform(size=(N, C))
    w[:, 2] = 0.0
    mu = np.array([(w[:, c] @ f) / w[:, c].sum() if c != 2 else np.zeros(D) for c in range(C)])
    means, present = classwise.class_means(tensor(f), tensor(w))
    close(means, mu)
    close(present, np.array([1.0, 1.0, 0.0, 1.0]))
    old = rows(rng, C)
    moved = np.where(present.numpy()[:, None] > 0, 0.7 * old + 0.3 * mu, old)
    close(classwise.moving_means(tensor(old), means, present, 0.7), moved)
    close(classwise.centroid_distance(tensor(old), means), np.mean([distance(*pair) for pair in zip(old, mu)]))
    shown = [distance(old[c], mu[c]) for c in (0, 1, 3)]
    close(classwise.centroid_distance(tensor(old), means, present), np.mean(shown))
    terms = [w[i, c] * max(0.0, distance(f[i], old[c]) - 1.5) for i in range(N) for c in range(C)]
    close(classwise.center_loss(tensor(f), tensor(w), tensor(old), 1.5), sum(terms) / w.sum())
    gaps = [max(0.0, 9.0 - distance(old[i], old[j])) for i, j in itertools.permutations((0, 1, 3), 2)]
    assert any(gaps) and not all(gaps)
    close(classwise.center_separation(tensor(old), 9.0, present), np.mean(gaps))
    cosines = [[u @ v / math.sqrt(u @ u * (v @ v)) for v in old] for u in f]
    close(classwise.prototype_logits(tensor(f), tensor(old), 0.1), np.array(cosines) / 0.1)


def test_supervised_contrastive(rng: np.random.Generator) -> None:
    f, y = rows(rng, 6), [0, 0, 1, 1, 1, 2]
    z = [r / math.sqrt(r @ r) for r in f]
    terms = []
    for i in range(6):
        partners = [p for p in range(6) if p != i and y[p] == y[i]]
        if partners:
            below = sum(math.exp(z[i] @ z[a] / 0.5) for a in range(6) if a != i)
            terms.append(-np.mean([math.log(math.exp(z[i] @ z[p] / 0.5) / below) for p in partners]))
    assert len(terms) == 5
    hot = classwise.one_hot(torch.tensor(y), 3, torch.float64)
    close(classwise.supervised_contrastive(tensor(f), hot, 0.5), np.mean(terms))


def test_mixup(rng: np.random.Generator) -> None:
    x, lam, order = rng.normal(size=(4, 2, 3)), rng.uniform(size=4), [2, 0, 3, 1]
    expected = np.array([lam[i] * x[i] + (1 - lam[i]) * x[order[i]] for i in range(4)])
    close(perturb.mixup(tensor(x), tensor(lam), torch.tensor(order)), expected)
