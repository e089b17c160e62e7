"""PCT's terms against loops, their limits, and the class proportions it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dazoo.methods.deep_transport.pct import posterior_shares, prototype_transport
from dazoo.nets.parts.shares import Shares
from tests.stage import stage


def transcription(mu: np.ndarray, f: np.ndarray, pi: np.ndarray, share: float) -> float:
    """Both sums of the paper written out."""
    c, n = len(mu), len(f)
    dot = [[float(mu[k] @ f[j]) for j in range(n)] for k in range(c)]
    cost = [[1 - dot[k][j] / np.linalg.norm(mu[k]) / np.linalg.norm(f[j]) for j in range(n)] for k in range(c)]
    to_class = 0.0
    for j in range(n):
        weights = [pi[k] * np.exp(dot[k][j]) for k in range(c)]
        to_class += sum(w * cost[k][j] for k, w in enumerate(weights)) / sum(weights) / n
    to_sample = 0.0
    for k in range(c):
        weights = [np.exp(dot[k][j]) for j in range(n)]
        to_sample += pi[k] * sum(w * cost[k][j] for j, w in enumerate(weights)) / sum(weights)
    return share * to_class + (1 - share) * to_sample


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_both_ways_equal_a_transcription(share):
    st = stage("pct", trade_off=2.0, share=share)
    mu = st.net.head.weight.detach().numpy()
    expected = 2.0 * transcription(mu, st.t, np.full(3, 1 / 3), share)
    assert st.terms()["transport"].item() == pytest.approx(expected, rel=1e-6)


def test_proportions_follow_the_posteriors_and_enter_the_plan():
    st = stage("pct", prior_rate=0.1)
    mu = st.net.head.weight.detach().numpy()
    posterior = np.exp(mu @ st.t.T) / np.exp(mu @ st.t.T).sum(0)
    pi = 0.9 / 3 + 0.1 * posterior.mean(1)
    value = st.terms()["transport"].item()
    np.testing.assert_allclose(st.net.shares.pi.numpy(), pi, rtol=1e-6)
    assert value == pytest.approx(transcription(mu, st.t, pi, 0.5), rel=1e-6)


def test_prototypes_are_constants_and_features_move_towards_them():
    st = stage("pct")
    term = st.terms()["transport"]
    source, target = st.grads(term)
    assert not source.any() and target.any()
    assert torch.autograd.grad(term, st.net.head.weight, allow_unused=True, retain_graph=True)[0] is None
    mu = st.net.head.weight.detach()
    nearer = prototype_transport(mu, st.ft.detach() - 0.05 * target, torch.full((3,), 1 / 3, dtype=torch.float64))
    assert nearer < term


def test_no_cost_where_samples_lie_on_their_prototypes():
    """Far apart prototypes with samples in the same directions: every plan moves along cosine 1."""
    mu = 20.0 * torch.eye(4, dtype=torch.float64)
    prior = torch.full((4,), 0.25, dtype=torch.float64)
    assert prototype_transport(mu, mu.clone(), prior).item() == pytest.approx(0.0, abs=1e-9)
    # one cosine of 1 among prototypes that are equally near: three quarters of the mass pay 1
    assert prototype_transport(mu * 1e-6, mu, prior, 1.0).item() == pytest.approx(0.75, abs=1e-3)


def test_running_shares_find_a_skewed_targets_proportions():
    """With well separated classes the steps are expectation maximisation of the mixture's weights."""
    gen = torch.Generator().manual_seed(0)
    y = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), 3000, replacement=True, generator=gen)
    similarity = 8.0 * torch.nn.functional.one_hot(y, 3).T.float()
    shares = Shares(3)
    for _ in range(60):
        shares(posterior_shares(similarity, shares.pi), 0.1)
    assert torch.allclose(shares.pi, torch.bincount(y) / 3000, atol=0.01)
    shares.eval()
    before = shares.pi.clone()
    shares(torch.tensor([1.0, 0.0, 0.0]), 0.5)
    assert torch.equal(shares.pi, before)
