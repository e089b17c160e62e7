"""Moment and kernel methods: each term against a slow transcription of its formula, and limits that it must meet."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from tests.stage import stage

SCALES = (0.125, 0.25, 0.5, 1.0, 2.0)


def close(actual: torch.Tensor, expected: float, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(actual.item(), expected, rtol=rtol, atol=1e-12)


def sq_distances(z: np.ndarray) -> np.ndarray:
    return np.array([[((a - b) ** 2).sum() for b in z] for a in z])


def five_gaussians(z: np.ndarray) -> np.ndarray:
    """Sum of five Gaussian kernels of all rows, around their mean squared distance."""
    sq = sq_distances(z)
    return sum(np.exp(-sq / (2 * a * sq.mean())) for a in SCALES)


def mmd_unbiased(k: np.ndarray, n: int) -> float:
    m = len(k) - n
    ss = sum(k[i, j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    tt = sum(k[n + i, n + j] for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    st = sum(k[i, n + j] for i in range(n) for j in range(m)) / (n * m)
    return ss + tt - 2 * st


def weighted_mmd(k: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """|sum_i a_i phi(s_i) - sum_j b_j phi(t_j)|^2 from the kernel of all rows."""
    w = np.concatenate([a, -b])
    return float(sum(w[i] * w[j] * k[i, j] for i in range(len(w)) for j in range(len(w))))


def cross_entropy(st) -> float:
    p = st.probs(st.fs)
    return -np.mean([np.log(p[i, y]) for i, y in enumerate(st.ys.tolist())])


# -- distances of means and moments -------------------------------------------------------------------------------

MEAN_METHODS = [("ddc", "mmd"), ("cmd", "cmd"), ("mmda", "mmd"), ("homm", "homm")]


@pytest.mark.parametrize(("name", "term"), MEAN_METHODS)
def test_translation_moves_every_mean_distance(name, term):
    near, far = stage(name, shift=0.0, n=40, m=40), stage(name, shift=1.5, n=40, m=40)
    assert far.terms()[term].item() > near.terms()[term].item()


@pytest.mark.parametrize(
    ("name", "term"), [("ddc", "mmd"), ("cmd", "cmd"), ("homm", "homm"), ("log_coral", "logcoral"), ("mmda", "coral")]
)
def test_zero_for_equal_batches(name, term):
    st = stage(name)
    st.ft = st.fs.detach().flip(0).requires_grad_()
    st.m = st.n
    close(st.terms()[term], 0.0)


def test_ddc_is_the_gap_of_means():
    st = stage("ddc", trade_off=0.7)
    gap = [np.mean(st.s[:, j]) - np.mean(st.t[:, j]) for j in range(st.width)]
    terms = st.terms()
    close(terms["mmd"], 0.7 * sum(g * g for g in gap))
    close(terms["cls"], cross_entropy(st))
    # the gradient of the squared gap pulls every source row by 2 gap / n
    np.testing.assert_allclose(st.grads(terms["mmd"])[0].numpy(), np.tile(0.7 * 2 * np.array(gap) / st.n, (st.n, 1)))


def test_jan_is_the_mmd_of_a_product_kernel():
    st = stage("jan", trade_off=2.0)
    p = np.concatenate([st.probs(st.fs), st.probs(st.ft)])
    k = five_gaussians(np.concatenate([st.s, st.t])) * np.exp(-sq_distances(p) / (2 * 0.92**2))
    close(st.terms(ramp=0.3)["jmmd"], 2.0 * 0.3 * mmd_unbiased(k, st.n))


def test_jan_linear_uses_cyclic_pairs():
    st = stage("jan", linear=True, m=7)
    p = np.concatenate([st.probs(st.fs), st.probs(st.ft)])
    k = five_gaussians(np.concatenate([st.s, st.t])) * np.exp(-sq_distances(p) / (2 * 0.92**2))
    n, total = st.n, 0.0
    for i in range(n):
        j = (i + 1) % n
        total += k[i, j] + k[n + i, n + j] - k[i, n + j] - k[j, n + i]
    close(st.terms()["jmmd"], total / n)


def test_dsan_is_a_mean_of_class_mmds():
    st = stage("dsan", trade_off=1.0)
    k, p = five_gaussians(np.concatenate([st.s, st.t])), st.probs(st.ft)
    values = []
    for c in range(st.n_classes):
        mine = (st.ys.numpy() == c).astype(float)
        if c in p.argmax(1) and mine.sum():
            values.append(weighted_mmd(k, mine / mine.sum(), p[:, c] / p[:, c].sum()))
    assert values
    close(st.terms()["lmmd"], np.mean(values))


def test_mmda_adds_kernel_means_and_covariances():
    st = stage("mmda", trade_off=0.5, coral_weight=3.0)
    terms = st.terms()
    close(terms["mmd"], 0.5 * mmd_unbiased(five_gaussians(np.concatenate([st.s, st.t])), st.n))
    gap = np.cov(st.s, rowvar=False) - np.cov(st.t, rowvar=False)
    close(terms["coral"], 3.0 * (gap**2).sum() / (4 * st.width**2))
    scores = stage("mmda", layer="scores", coral_weight=3.0)
    gap = np.cov(scores.scores(scores.fs), rowvar=False) - np.cov(scores.scores(scores.ft), rowvar=False)
    close(scores.terms()["coral"], 3.0 * (gap**2).sum() / (4 * st.n_classes**2))


def test_cmd_compares_central_moments():
    st = stage("cmd", moments=4, span=2.0)
    a, b = np.tanh(st.s), np.tanh(st.t)
    total = np.linalg.norm(a.mean(0) - b.mean(0)) / 2.0
    for k in range(2, 5):
        ca, cb = ((a - a.mean(0)) ** k).mean(0), ((b - b.mean(0)) ** k).mean(0)
        total += np.linalg.norm(ca - cb) / 2.0**k
    close(st.terms()["cmd"], total)


def matrix_log(c: np.ndarray) -> np.ndarray:
    from scipy.linalg import logm

    return logm(c + 1e-3 * np.trace(c) / len(c) * np.eye(len(c)))


def test_log_coral_compares_matrix_logarithms():
    st = stage("log_coral", trade_off=2.0, n=12, m=11)
    gap = matrix_log(np.cov(st.s, rowvar=False)) - matrix_log(np.cov(st.t, rowvar=False))
    close(st.terms()["logcoral"], 2.0 * (gap**2).sum() / (4 * st.width**2), rtol=1e-8)


def test_log_coral_ignores_rotations_of_both():
    st = stage("log_coral", n=12, m=11)
    before = st.terms()["logcoral"].item()
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))).Q
    st.fs, st.ft = st.fs @ turn + 3.0, st.ft @ turn - 1.0
    close(st.terms()["logcoral"], before, rtol=1e-8)


def test_homm_compares_sampled_mixed_moments():
    from dazoo.ops.draws import index_tuples

    st = stage("homm", trade_off=1.0, order=3, samples=20)
    a, b = np.tanh(st.s), np.tanh(st.t)
    total = 0.0
    tuples = index_tuples(st.width, 3, 20, 3, st.fs).tolist()
    for i, j, k in tuples:
        ma = np.mean([row[i] * row[j] * row[k] for row in a])
        mb = np.mean([row[i] * row[j] * row[k] for row in b])
        total += (ma - mb) ** 2
    close(st.terms(step=3)["homm"], total / len(tuples))
    assert index_tuples(st.width, 3, 20, 4, st.fs).tolist() != tuples


def test_homm_of_order_two_sees_covariance():
    """Two batches of equal mean and different spread: invisible to DDC, visible to second moments."""
    st = stage("homm", order=2, samples=500)
    x = torch.linspace(-1, 1, 7, dtype=torch.float64)[:, None] * torch.ones(1, 5, dtype=torch.float64)
    st.fs, st.ft = x, (2 * x)
    assert st.terms()["homm"].item() > 0.1
    plain = stage("ddc")
    plain.fs, plain.ft = x, 2 * x
    close(plain.terms()["mmd"], 0.0)


def test_homm_pulls_confident_targets_to_source_centres():
    st = stage("homm", cluster_weight=1.0, confidence=0.5)
    p, z, zt = st.probs(st.ft), np.tanh(st.s), np.tanh(st.t)
    y = st.ys.numpy()
    rows = [i for i in range(st.m) if p[i].max() > 0.5]
    assert 0 < len(rows) < st.m
    expected = np.mean([((zt[i] - z[y == p[i].argmax()].mean(0)) ** 2).sum() for i in rows])
    close(st.terms(ramp=0.25)["cluster"], 0.25 * expected)
    close(stage("homm", cluster_weight=1.0, confidence=0.99999).terms()["cluster"], 0.0)


def test_draws_depend_on_the_step_alone():
    from dazoo.ops.draws import uniform, unit_directions

    like = torch.zeros(1, dtype=torch.float64)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, again, other = (unit_directions(4, 9, step, like) for step in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)
    torch.testing.assert_close(first.norm(dim=0), torch.ones(9, dtype=torch.float64))
    assert not torch.equal(uniform(9, 5, like), uniform(9, 5, like, "another"))
    assert torch.equal(torch.get_rng_state(), state)


# -- joint, class-wise and learned kernels ------------------------------------------------------------------------


def test_fused_mmd_equals_the_mmd_of_outer_products():
    from dazoo.ops.fused import fused_mmd

    st = stage("rtn")
    z = np.array(
        [
            np.outer(f, p).ravel()
            for f, p in zip(np.concatenate([st.s, st.t]), torch.cat([st.fs, st.ft])[:, :3].tolist())
        ]
    )
    close(fused_mmd((st.fs, st.fs[:, :3]), (st.ft, st.ft[:, :3])), mmd_unbiased(five_gaussians(z), st.n))


def test_rtn_terms():
    st = stage("rtn", trade_off=0.5, entropy_weight=0.2, residual_weight=0.7)
    terms = st.terms(ramp=0.5)
    scores = st.net.head(st.fs)
    total = (scores + 0.7 * st.net.residual(scores)).log_softmax(1).detach().numpy()
    close(terms["cls"], -np.mean([total[i, y] for i, y in enumerate(st.ys.tolist())]))
    z = np.array(
        [
            np.outer(f, p).ravel()
            for f, p in zip(np.concatenate([st.s, st.t]), np.concatenate([st.scores(st.fs), st.scores(st.ft)]))
        ]
    )
    close(terms["mmd"], 0.5 * mmd_unbiased(five_gaussians(z), st.n))
    close(terms["ent"], 0.5 * 0.2 * np.mean([-(p * np.log(p)).sum() for p in st.probs(st.ft)]))
    torch.testing.assert_close(st.method.predict_source(st.net, st.fs).scores.log_softmax(1), torch.tensor(total))
    torch.testing.assert_close(st.method.predict(st.net, st.fs).scores, scores)


def contrast(k: np.ndarray, ys: np.ndarray, yt: np.ndarray, n_classes: int) -> float:
    """Mean MMD of equal classes minus mean MMD of different classes, by indices."""
    same, other = [], []
    for c in range(n_classes):
        for d in range(n_classes):
            a, b = (ys == c).astype(float), (yt == d).astype(float)
            if a.sum() and b.sum():
                (same if c == d else other).append(weighted_mmd(k, a / a.sum(), b / b.sum()))
    return np.mean(same) - np.mean(other)


@pytest.mark.parametrize("layers", ["features", "both"])
def test_can_contrasts_classes(layers):
    yt = np.array([0, 0, 2, -1, 2, 1])  # -1: left out
    assign = torch.tensor([[float(y == c) for c in range(3)] for y in yt], dtype=torch.float64)
    st = stage("can", trade_off=0.5, layers=layers, memory={"assign": assign})
    expected = contrast(five_gaussians(np.concatenate([st.s, st.t])), st.ys.numpy(), yt, 3)
    if layers == "both":
        p = np.concatenate([st.probs(st.fs), st.probs(st.ft)])
        expected += contrast(five_gaussians(p), st.ys.numpy(), yt, 3)
    close(st.terms()["cdd"], 0.5 * expected)


class FixedLook:
    """What ``refresh`` sees: given features, scored by a given network."""

    def __init__(self, net, fs, ft, ys):
        self.source, self.target, self.ys = (fs, net.head(fs)), (ft, net.head(ft)), ys


def test_can_clusters_from_source_means():
    """Three directions, the target's turned a little: clusters keep the source's names; a stray sample is left out."""
    st = stage("can", min_samples=3, max_distance=0.02, width=3)
    gen = torch.Generator().manual_seed(0)
    ys = torch.arange(30) % 3
    fs = torch.eye(3, dtype=torch.float64)[ys] * 4 + 0.1 * torch.randn(30, 3, dtype=torch.float64, generator=gen)
    yt = torch.arange(24) % 3
    ft = torch.eye(3, dtype=torch.float64)[yt] * 9 + 0.1 * torch.randn(24, 3, dtype=torch.float64, generator=gen) + 0.5
    ft[0] = torch.tensor([1.0, 1.0, 1.0])
    with torch.no_grad():
        assign = st.method.refresh(st.net, FixedLook(st.net, fs, ft, ys))["assign"]
    assert assign[0].sum() == 0
    assert torch.equal(assign[1:].argmax(1), yt[1:]) and torch.equal(assign.sum(1)[1:], torch.ones(23).double())
    rare = torch.cat([ft[yt == 0], ft[yt == 1], ft[yt == 2][:2]])
    with torch.no_grad():
        assign = st.method.refresh(st.net, FixedLook(st.net, fs, rare, ys))["assign"]
    assert assign[:, 2].sum() == 0 and assign[:, 1].sum() == 8


def test_spherical_k_means_improves_every_round():
    from dazoo.ops.clusters import spherical_k_means

    f = torch.randn(60, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    totals = [spherical_k_means(f, f[:5], rounds)[2].sum().item() for rounds in range(1, 12)]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(totals)) and totals[-1] < totals[0]
    centres, label, distance = spherical_k_means(f, f[:5])
    z = f / f.norm(dim=1, keepdim=True)
    torch.testing.assert_close(distance, (z - centres[label]).square().sum(1) / 4)
    scaled = spherical_k_means(f * torch.linspace(0.1, 9, 60, dtype=torch.float64)[:, None], f[:5])
    assert torch.equal(scaled[1], label)


def test_mran_terms():
    st = stage("mran", trade_off=0.5, branch_weight=0.3, branches=2, branch_width=4)
    (ls, hs), (lt, ht) = st.method.scores(st.net, st.fs), st.method.scores(st.net, st.ft)
    guess, y = lt.argmax(1).numpy(), st.ys.numpy()
    values = []
    for a, b in zip([st.fs, *hs], [st.ft, *ht]):
        k = five_gaussians(torch.cat([a, b]).detach().numpy())
        shared = [c for c in range(3) if c in y and c in guess]
        per_class = [weighted_mmd(k, (y == c) / (y == c).sum(), (guess == c) / (guess == c).sum()) for c in shared]
        values.append(np.mean(per_class))
    assert len(values) == 3
    close(st.terms(ramp=0.4)["cmmd"], 0.5 * 0.4 * np.mean(values))
    p = ls.log_softmax(1).detach().numpy()
    close(st.terms()["cls"], -np.mean([p[i, c] for i, c in enumerate(y)]))


def test_mran_scores_are_linear_in_all_representations():
    st = stage("mran", branch_weight=0.3, branches=2, branch_width=4)
    scores, hidden = st.method.scores(st.net, st.fs)
    side_by_side = torch.cat([st.fs, *hidden], 1)
    weight = torch.cat([st.net.head.weight, *(0.3 * h.weight for h in st.net.branch_head)], 1)
    bias = st.net.head.bias + 0.3 * sum(h.bias for h in st.net.branch_head)
    torch.testing.assert_close(scores, side_by_side @ weight.T + bias)
    torch.testing.assert_close(st.method.predict(st.net, st.fs).scores, scores)
    assert len(list(st.net.branch[0].children())) < len(list(st.net.branch[1].children()))


def test_ddan_mixes_two_distances():
    at = {
        mu: stage("ddan", trade_off=1.0, memory={"mu": torch.tensor(mu, dtype=torch.float64)}).terms()
        for mu in (0.0, 0.3, 1.0)
    }
    st = stage("ddan")
    k = five_gaussians(np.concatenate([st.s, st.t]))
    marginal = mmd_unbiased(k, st.n)
    y, guess = st.ys.numpy(), st.probs(st.ft).argmax(1)
    shared = [c for c in range(3) if c in y and c in guess]
    within = np.mean([weighted_mmd(k, (y == c) / (y == c).sum(), (guess == c) / (guess == c).sum()) for c in shared])
    close(at[0.3]["marginal"], 0.7 * marginal)
    close(at[0.3]["conditional"], 0.3 * within, rtol=1e-6)
    close(at[0.0]["conditional"], 0.0)
    close(at[1.0]["marginal"], 0.0)


def test_a_distance_limits():
    from dazoo.ops.adistance import a_distance

    gen = torch.Generator().manual_seed(0)
    a, b = torch.randn(200, 3, generator=gen), torch.randn(200, 3, generator=gen)
    assert a_distance(a, b) < 0.3
    assert a_distance(a, b + 20.0) == 2.0
    assert 0.3 < a_distance(a, b + 1.0) < 2.0
    assert a_distance(a[:3], b) == 0.0


def test_balance_follows_the_shift():
    """Classes that swap places leave the marginal as it is; a shift of everything counts once for every part."""
    from dazoo.ops.adistance import conditional_share

    gen = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    x = torch.randn(200, 3, generator=gen) + 6.0 * y[:, None]
    again = torch.randn(200, 3, generator=gen) + 6.0 * y[:, None]
    swapped = torch.randn(200, 3, generator=gen) + 6.0 * (1 - y)[:, None]
    assert conditional_share(x, swapped, y, y, 2) > 0.9
    assert conditional_share(x, again + 50.0, y, y, 2) == pytest.approx(1 - 2 / 6)
    assert conditional_share(x[:3], x[:3], y[:3], y[:3], 2) == 0.5


def test_adv_skm_is_the_mmd_of_its_map():
    st = stage("adv_skm", trade_off=0.5, spectral_width=4)
    part = st.net.spectral
    z = []
    for f in np.concatenate([st.s, st.t]):
        h = np.cos(part.first.weight.detach().numpy() @ f + part.first.bias.detach().numpy())
        h = np.cos(part.second.weight.detach().numpy() @ h + part.second.bias.detach().numpy())
        z.append(np.concatenate([h, part.plain(torch.tensor(f)).detach().numpy()]))
    value = mmd_unbiased(five_gaussians(np.array(z)), st.n)
    close(st.terms()["mmd"], 0.5 * value)
    close(st.terms("ascend")["kernel"], -value)


def test_adv_skm_phases_play_against_each_other():
    st = stage("adv_skm", trade_off=1.0)
    assert [p.update for p in st.method.phases] == [("spectral",), ("body", "head")]
    weight = st.net.spectral.first.weight
    up = torch.autograd.grad(st.terms("ascend")["kernel"], weight)[0]
    down = torch.autograd.grad(st.terms()["mmd"], weight)[0]
    torch.testing.assert_close(up, -down)
    gs, gt = st.grads(st.terms("ascend")["kernel"] + 0 * st.fs.sum())
    assert not gs.any() and not gt.any()


# -- subspaces and inverse Gram matrices, for regression ----------------------------------------------------------


def test_rsd_terms():
    st = stage("rsd", n_classes=0, width=20, n=7, m=7, trade_off=0.5, base_weight=0.2)
    us, ut = (np.linalg.svd(x.T, full_matrices=False)[0] for x in (st.s, st.t))
    ps, cos, pt = np.linalg.svd(us.T @ ut)
    expected = np.sqrt(1 - cos**2).sum() + 0.2 * np.linalg.norm(np.abs(ps) - np.abs(pt.T))
    close(st.terms()["rsd"], 0.5 * expected)
    values = st.net.head(st.fs).detach().numpy()[:, 0]
    close(st.terms()["cls"], np.mean((values - st.ys.numpy()) ** 2))


def test_rsd_sees_angles_alone():
    st = stage("rsd", n_classes=0, width=20, n=7, m=7, base_weight=0.0)
    before = st.terms()["rsd"].item()
    mix = torch.randn(7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    st.ft = 5.0 * mix @ st.ft  # other rows of the same subspace
    close(st.terms()["rsd"], before, rtol=1e-8)
    st.ft = mix @ st.fs
    assert st.terms()["rsd"].item() < 1e-8


def test_rsd_gradients_are_finite_for_repeated_and_empty_rows():
    st = stage("rsd", n_classes=0, width=20, n=8, m=8)
    st.fs = torch.cat([st.fs[:3], st.fs[:3], torch.zeros(2, 20, dtype=torch.float64)]).detach().requires_grad_()
    gs, gt = st.grads(st.terms()["rsd"])
    assert bool(torch.isfinite(gs).all()) and bool(torch.isfinite(gt).all()) and gt.any()


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_steady_svd_has_the_gradients_of_the_plain_one(shape):
    from dazoo.ops.decompose import steady_svd

    gen = torch.Generator().manual_seed(0)
    x = torch.randn(*shape, dtype=torch.float64, generator=gen).requires_grad_()
    weights = [torch.randn(k, k, dtype=torch.float64, generator=gen) for k in shape]

    def through(u, s, v):
        """A function of the leading pair of directions that no choice of sign changes."""
        return (u[:, :2] @ u[:, :2].T * weights[0]).sum() + (v[:, :2] @ v[:, :2].T * weights[1]).sum() + s.pow(3).sum()

    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    plain, steady = through(u, s, vh.T), through(*steady_svd(x))
    torch.testing.assert_close(steady, plain)
    torch.testing.assert_close(
        torch.autograd.grad(steady, x)[0], torch.autograd.grad(plain, x)[0], rtol=1e-8, atol=1e-8
    )


def test_daregram_terms():
    st = stage("daregram", n_classes=0, n=9, m=8, trade_off=2.0, angle_weight=0.3, scale_weight=0.2, threshold=0.95)
    inverses, spectra, ranks = [], [], []
    grams = [np.c_[np.ones(len(x)), x].T @ np.c_[np.ones(len(x)), x] for x in (st.s, st.t)]
    for g in grams:
        spectrum = np.sort(np.linalg.eigvalsh(g))[::-1]
        share = np.cumsum(spectrum) / spectrum.sum()
        spectra.append(spectrum)
        ranks.append(max(i for i, v in enumerate(share) if v <= max(0.95, share[1])))
    k = max(ranks)
    for g in grams:
        values, vectors = np.linalg.eigh(g)
        values, vectors = values[::-1][:k], vectors[:, ::-1][:, :k]
        inverses.append(vectors / values @ vectors.T)
    a, b = inverses
    cos = (a * b).sum(0) / (np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0))
    expected = 0.3 * np.abs(cos - 1).mean() + 0.2 * np.linalg.norm(spectra[0][:k] - spectra[1][:k]) / k
    close(st.terms()["daregram"], 2.0 * expected, rtol=1e-7)


def test_daregram_is_zero_for_equal_batches():
    st = stage("daregram", n_classes=0)
    st.ft = st.fs.detach().flip(0).requires_grad_()
    assert abs(st.terms()["daregram"].item()) < 1e-10


# -- augmentation and graphs --------------------------------------------------------------------------------------


def tsa_stage(**fields):
    gen = torch.Generator().manual_seed(5)
    shift = torch.randn(3, 5, dtype=torch.float64, generator=gen)
    half = torch.randn(3, 5, 5, dtype=torch.float64, generator=gen)
    memory = {"shift": shift, "spread": half @ half.transpose(1, 2) / 5}
    return stage("tsa", memory=memory, **fields)


def test_tsa_terms():
    st = tsa_stage(trade_off=0.4, info_weight=0.3)
    w = st.net.head.weight.detach().numpy()
    m, cov = st.memory["shift"].numpy(), st.memory["spread"].numpy()
    scores, strength, losses = st.scores(st.fs), 0.4 * 0.5, []
    for i, y in enumerate(st.ys.tolist()):
        moved = [
            scores[i, c] + strength * ((w[c] - w[y]) @ m[y] + 0.5 * (w[c] - w[y]) @ cov[y] @ (w[c] - w[y]))
            for c in range(3)
        ]
        losses.append(np.log(np.exp(moved).sum()) - moved[y])
    terms = st.terms(fraction=0.5)
    close(terms["cls"], np.mean(losses))
    p = st.probs(st.ft)
    mean = p.mean(0)
    info = np.mean([-(q * np.log(q)).sum() for q in p]) + (mean * np.log(mean)).sum()
    close(terms["info"], 0.3 * info, rtol=1e-3)
    close(st.terms(fraction=0.0)["cls"], cross_entropy(st))


def test_tsa_bounds_the_sampled_loss():
    """The closed form is at least the mean loss over features really drawn from the Gaussian, and close to it."""
    st = tsa_stage(trade_off=0.2)
    gen = torch.Generator().manual_seed(0)
    total = 0.0
    with torch.no_grad():
        for i, y in enumerate(st.ys.tolist()):
            root = torch.linalg.cholesky(st.memory["spread"][y])
            noise = torch.randn(20000, 5, dtype=torch.float64, generator=gen) @ root.T
            moved = st.fs[i] + 0.2 * st.memory["shift"][y] + 0.2**0.5 * noise
            total -= st.net.head(moved).log_softmax(1)[:, y].mean().item() / st.n
    bound = st.terms(fraction=1.0)["cls"].item()
    assert total - 0.005 < bound < total + 0.1


def test_tsa_statistics():
    st = stage("tsa")
    fs, ft = st.fs.detach(), st.ft.detach()
    with torch.no_grad():
        kept = st.method.refresh(st.net, FixedLook(st.net, fs, ft, st.ys))
    guess, y = st.probs(st.ft).argmax(1), st.ys.numpy()
    for c in range(3):
        if c in guess:
            np.testing.assert_allclose(kept["shift"][c], st.t[guess == c].mean(0) - st.s[y == c].mean(0))
            np.testing.assert_allclose(
                kept["spread"][c], np.atleast_2d(np.cov(st.t[guess == c], rowvar=False, bias=True)), atol=1e-12
            )
        else:
            assert not kept["shift"][c].any() and not kept["spread"][c].any()


def test_spa_terms():
    votes = torch.rand(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    votes = votes / votes.sum(1, keepdim=True)
    st = stage("spa", n=6, m=6, graph_weight=0.5, neighbour_weight=0.7, disc_width=8, memory={"votes": votes})
    terms = st.terms(ramp=0.5)
    m = (sq_distances(st.s).mean() + sq_distances(st.t).mean()) / 2
    spectra = []
    for x in (st.s, st.t):
        a = np.exp(-sq_distances(x) / (2 * m))
        # the random walk's matrix has the spectrum of the symmetric one
        spectra.append(np.sort(1 - np.linalg.eigvals(a / a.sum(1, keepdims=True)).real))
    close(terms["graph"], 0.5 * np.linalg.norm(spectra[0] - spectra[1]), rtol=1e-7)
    p, v = st.probs(st.ft), votes.numpy()
    close(terms["neighbours"], 0.5 * 0.7 * np.mean([-v[j].max() * np.log(p[j, v[j].argmax()]) for j in range(6)]))
    d = st.net.disc(torch.cat([st.fs, st.ft])).sigmoid().detach().numpy()[:, 0]
    close(terms["dom"], -(np.log(d[:6]).mean() + np.log(1 - d[6:]).mean()) / 2)


def test_spa_reverses_the_discriminators_gradient():
    votes = torch.full((6, 3), 1 / 3, dtype=torch.float64)
    grads = [
        stage_.grads(stage_.terms(ramp=ramp)["dom"])[0]
        for ramp in (0.5, 1.0)
        for stage_ in [stage("spa", n=6, trade_off=2.0, memory={"votes": votes})]
    ]
    st = stage("spa", n=6, memory={"votes": votes})
    from dazoo.ops.adversarial import domain_bce

    plain = torch.autograd.grad(domain_bce(st.net.disc(torch.cat([st.fs, st.ft])), 6), st.fs)[0]
    torch.testing.assert_close(grads[0], -1.0 * plain)
    torch.testing.assert_close(grads[1], -2.0 * plain)


def test_spectra_ignore_the_order_of_rows():
    from dazoo.ops.graphs import laplacian_spectrum, spectral_gap

    st = stage("spa", n=6)
    assert spectral_gap(st.fs, st.fs.flip(0) + 3.0).item() < 1e-10
    values = laplacian_spectrum(torch.tensor(sq_distances(st.s)), torch.tensor(2.0))
    assert abs(values[0].item()) < 1e-12 and values.max().item() <= 2


def test_neighbours_vote():
    from dazoo.ops.graphs import neighbour_vote

    f = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, -0.1], [0.0, 1.0], [0.1, 1.0], [-0.1, 1.0]]).double()
    scores = torch.tensor([[-1.0, 1.0], [2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 2.0], [0.0, 2.0]]).double()
    votes = neighbour_vote(f, scores, 2, 0.5)
    assert votes[0].argmax() == 0  # outvoted by its two neighbours
    torch.testing.assert_close(votes.sum(1), torch.ones(6).double())
    q = (2 * scores).softmax(1)
    q = q / q.mean(0)
    q = q / q.sum(1, keepdim=True)
    torch.testing.assert_close(votes[0], (q[1] + q[2]) / 2)


# -- several sources ----------------------------------------------------------------------------------------------


def test_m3sda_matches_all_pairs():
    st = stage("m3sda", trade_off=0.5, moments=2, n=9, n_sources=3)
    parts = [st.s[np.arange(9) % 3 == i] for i in range(3)]
    total = 0.0
    for k in (1, 2):
        total += np.mean([np.linalg.norm((p**k).mean(0) - (st.t**k).mean(0)) for p in parts])
        pairs = itertools.combinations(parts, 2)
        total += np.mean([np.linalg.norm((p**k).mean(0) - (q**k).mean(0)) for p, q in pairs])
    close(st.terms()["moments"], 0.5 * total)


def test_m3sda_drops_absent_sources():
    few = stage("m3sda", n_sources=2, n=8, ds=torch.arange(8) % 2)
    many = stage("m3sda", n_sources=5, n=8, ds=torch.arange(8) % 2 * 3)
    close(many.terms()["moments"], few.terms()["moments"].item())
    assert bool(torch.isfinite(many.grads(many.terms()["moments"])[0]).all())
    lone = stage("m3sda", n_sources=2, n=8, moments=1, trade_off=1.0, ds=torch.zeros(8, dtype=torch.int64))
    close(lone.terms()["moments"], np.linalg.norm(lone.s.mean(0) - lone.t.mean(0)))


def test_mfsan_terms():
    st = stage("mfsan", trade_off=0.5, agree_weight=0.3, branch_width=4, n=9, n_sources=3)
    terms, ds = st.terms(ramp=0.5), np.arange(9) % 3
    distances, p, losses = [], [], np.zeros(9)
    for i in range(3):
        hs, ht = (st.net.branch[i](f).detach() for f in (st.fs, st.ft))
        mine = hs.numpy()[ds == i]
        distances.append(mmd_unbiased(five_gaussians(np.concatenate([mine, ht.numpy()])), 3))
        p.append(st.net.own_head[i](ht).softmax(1).detach().numpy())
        own = st.net.own_head[i](hs).log_softmax(1).detach().numpy()
        for r in np.flatnonzero(ds == i):
            losses[r] = -own[r, st.ys[r]]
    close(terms["cls"], losses.mean())
    close(terms["mmd"], 0.5 * 0.5 * np.mean(distances))
    close(terms["agree"], 0.5 * 0.3 * np.mean([np.abs(a - b).mean() for a, b in itertools.combinations(p, 2)]))


def test_mfsan_predicts_the_mean_probability():
    st = stage("mfsan", branch_width=4, n_sources=2)
    p = [st.net.own_head[i](st.net.branch[i](st.ft)).softmax(1) for i in range(2)]
    torch.testing.assert_close(st.method.predict(st.net, st.ft).probs, (p[0] + p[1]) / 2)


def test_mfsan_sources_train_their_own_branch():
    st = stage("mfsan", branch_width=4, n_sources=2, ds=torch.zeros(7, dtype=torch.int64))
    first, second = (h.weight for h in st.net.own_head)
    got = torch.autograd.grad(st.terms()["cls"], (first, second), allow_unused=True)
    assert got[0].any() and not got[1].any()


@pytest.mark.parametrize("name", ["log_coral", "rsd", "daregram", "spa"])
def test_decompositions_stay_precise_in_half_precision(name):
    """Inside an autocast region the terms are those of the same features outside of it, not of rounded products."""
    votes = torch.full((6, 3), 1 / 3)
    st = stage(name, n=6, n_classes=0 if name in ("rsd", "daregram") else 3, width=12, memory={"votes": votes})
    st.net.float()
    rounded = [f.detach().bfloat16() for f in (st.fs, st.ft)]
    st.net.features = lambda xs, xt: tuple(rounded)
    term = {"log_coral": "logcoral", "spa": "graph"}.get(name, name)
    with torch.autocast("cpu", torch.bfloat16):
        inside = st.terms()[term]
    st.net.features = lambda xs, xt: tuple(f.float() for f in rounded)
    torch.testing.assert_close(inside, st.terms()[term])
