"""Distances of means, kernels and moments: each term against a slow transcription of its formula, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dazoo.ops import moments
from tests.moments import close, cross_entropy, five_gaussians, mmd_unbiased, sq_distances, weighted_mmd
from tests.stage import stage

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


def test_dsan_takes_the_bandwidth_of_the_program_from_different_rows():
    st = stage("dsan", trade_off=1.0, as_program=True)
    sq, p = sq_distances(np.concatenate([st.s, st.t])), st.probs(st.ft)
    n = len(sq)
    m = sum(sq[i, j] for i in range(n) for j in range(n) if i != j) / (n * n - n)
    k = sum(np.exp(-sq / (m / 4 * 2**i)) for i in range(5))
    shared = [c for c in range(st.n_classes) if c in p.argmax(1)]
    mine = [(st.ys.numpy() == c).astype(float) for c in shared]
    values = [weighted_mmd(k, w / w.sum(), p[:, c] / p[:, c].sum()) for c, w in zip(shared, mine)]
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


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_log_coral_from_inner_products_is_that_of_all_features(dtype):
    """Value and gradient from inner products of rows are those from the (d, d) covariances, which autograd sees."""
    gen = torch.Generator().manual_seed(0)
    fs, ft = (torch.randn(n, 30, generator=gen, dtype=torch.float64).relu() for n in (9, 7))
    found = []
    for kind, all_features in ((torch.float64, True), (dtype, False)):
        s, t = (x.to(kind, copy=True).requires_grad_() for x in (fs, ft))
        if all_features:
            gap = moments._log_spd(moments.covariance(s), 1e-3) - moments._log_spd(moments.covariance(t), 1e-3)
            value = gap.square().sum() / (4 * 30**2)
        else:
            value = moments.log_coral(s, t)
        value.backward()
        found.append([x.double() for x in (value.detach(), s.grad, t.grad)])
    for whole, rows in zip(*found):
        gap = float((whole - rows).abs().max() / whole.abs().max())
        assert gap < (1e-9 if dtype is torch.float64 else 1e-3)


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
