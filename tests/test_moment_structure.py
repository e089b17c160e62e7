"""Moment methods of subspaces, graphs, augmentation and several sources: transcriptions, limits and gradients."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from tests.moments import FixedLook, close, cross_entropy, five_gaussians, mmd_unbiased, sq_distances
from tests.stage import stage

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
    from dazoo.ops.linalg.decompose import steady_svd

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


def test_spa_graph_and_votes_of_the_program():
    votes = torch.rand(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    st = stage("spa", n=6, m=6, graph_weight=0.5, neighbour_weight=0.7, as_program=True, memory={"votes": votes})
    terms = st.terms(ramp=0.9, fraction=0.25)
    spectra = []
    for x in (st.s, st.t):
        a = np.array([[np.exp(-0.5 * np.linalg.norm(u - v) / 1.5**2) for u in x] for v in x]) * (1 - np.eye(6))
        spectra.append(np.linalg.svd(-np.diag(1 / a.sum(1)) @ a)[1])
    close(terms["graph"], 0.5 * np.linalg.norm(spectra[0] - spectra[1]), rtol=1e-7)
    p, v = st.probs(st.ft), votes.numpy()
    nll = [-np.log(p[j, v[j].argmax()]) for j in range(6)]
    close(terms["neighbours"], 0.25 * 0.7 * (v.max(1) @ nll) / v.max(1).sum())
    assert all(torch.isfinite(g).all() for g in st.grads(terms["graph"]))


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
    from dazoo.methods.moment.spa import laplacian_spectrum, spectral_gap

    st = stage("spa", n=6)
    assert spectral_gap(st.fs, st.fs.flip(0) + 3.0).item() < 1e-10
    values = laplacian_spectrum(torch.tensor(sq_distances(st.s)), torch.tensor(2.0))
    assert abs(values[0].item()) < 1e-12 and values.max().item() <= 2


def test_neighbours_vote():
    from dazoo.methods.moment.spa import neighbour_vote

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
