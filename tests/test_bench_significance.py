"""Tests of significance against the worked example of Demsar (JMLR 7, 2006) and against other implementations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from dazoo.bench.analysis.significance import (
    bayesian_signed_rank,
    cliques,
    critical_difference,
    friedman,
    holm,
    wilcoxon,
)

# AUC of four variants of C4.5 (plain, +m, +cf, +m+cf). On "voting" the paper ranks +cf before +m+cf although both
# print as 0.975; the fourth digit keeps that order.
DEMSAR = {
    "adult (sample)": (0.763, 0.768, 0.771, 0.798),
    "breast cancer": (0.599, 0.591, 0.590, 0.569),
    "breast cancer wisconsin": (0.954, 0.971, 0.968, 0.967),
    "cmc": (0.628, 0.661, 0.654, 0.657),
    "ionosphere": (0.882, 0.888, 0.886, 0.898),
    "iris": (0.936, 0.931, 0.916, 0.931),
    "liver disorders": (0.661, 0.668, 0.609, 0.685),
    "lung cancer": (0.583, 0.583, 0.563, 0.625),
    "lymphography": (0.775, 0.838, 0.866, 0.875),
    "mushroom": (1.000, 1.000, 1.000, 1.000),
    "primary tumor": (0.940, 0.962, 0.965, 0.962),
    "rheum": (0.619, 0.666, 0.614, 0.669),
    "voting": (0.972, 0.981, 0.9751, 0.975),
    "wine": (0.957, 0.978, 0.946, 0.970),
}
TABLE = np.array(list(DEMSAR.values())).T


def test_friedman_and_nemenyi_agree_with_demsar() -> None:
    found = friedman(TABLE)
    assert found.ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert found.chi2 == pytest.approx(9.28, abs=5e-3)
    assert found.f == pytest.approx(3.69, abs=5e-3)
    assert found.f_p < 0.05  # the paper: above the critical value 2.85, the hypothesis is rejected
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
    assert critical_difference(4, 14, alpha=0.10) == pytest.approx(1.12, abs=5e-3)


def test_critical_values_agree_with_demsars_table() -> None:
    for k, q in ((2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)):
        assert critical_difference(k, 1) / np.sqrt(k * (k + 1) / 6) == pytest.approx(q, abs=1.1e-3)


def test_wilcoxon_agrees_with_demsar() -> None:
    t, p = wilcoxon(np.round(TABLE[1] - TABLE[0], 3))
    assert t == 12  # R+ = 93, R- = 12; the paper rejects at 0.05 because T is at most 21
    assert p < 0.05


def test_holm_agrees_with_demsar() -> None:
    p = [0.016, 0.019, 0.607]  # +m+cf, +m and +cf against plain C4.5: the first two are rejected
    adjusted = holm(p)
    assert adjusted == pytest.approx([0.048, 0.048, 0.607])
    assert holm([0.607, 0.019, 0.016]) == pytest.approx(adjusted[::-1])
    z = (3.143 - np.array([1.964, 2.000, 2.893])) / np.sqrt(4 * 5 / (6 * 14))
    assert z == pytest.approx([2.416, 2.342, 0.512], abs=1.1e-3)
    assert 2 * stats.norm.sf(z[:2]) == pytest.approx(p[:2], abs=6e-4)


def test_holm_ignores_missing_tests() -> None:
    adjusted = holm([0.03, float("nan"), 0.02])
    assert np.isnan(adjusted[1]) and adjusted[[0, 2]] == pytest.approx([0.04, 0.04])


def test_friedman_without_ties_is_that_of_scipy() -> None:
    scores = np.random.default_rng(0).random((5, 12))
    want = stats.friedmanchisquare(*scores)
    found = friedman(scores)
    assert (found.chi2, found.p) == pytest.approx((want.statistic, want.pvalue))
    assert friedman(-scores, higher_is_better=False).chi2 == pytest.approx(found.chi2)


def test_friedman_of_identical_rankings_is_certain() -> None:
    found = friedman(np.arange(3.0)[:, None] + np.zeros(8))
    assert found.f == np.inf and found.f_p == 0 and found.chi2 == pytest.approx(16)


def test_wilcoxon_has_clear_answers_at_the_edges() -> None:
    assert wilcoxon(np.zeros(4)) == (5.0, 1.0)
    assert np.isnan(wilcoxon(np.empty(0))[1])
    assert wilcoxon(np.arange(1.0, 11))[1] == pytest.approx(2 / 2**10)  # one of 2^10 sign patterns, both sides


def test_bayesian_signed_rank_agrees_with_baycomp() -> None:
    baycomp = pytest.importorskip("baycomp")
    for seed, shift, rope in ((0, 0.01, 0.01), (1, 0.03, 0.01), (2, -0.005, 0.02)):
        a = np.random.default_rng(seed).normal(0.8 + shift, 0.03, 12)
        b = np.random.default_rng(seed + 10).normal(0.8, 0.03, 12)
        left, equal, right = baycomp.SignedRankTest.probs(b, a, rope, nsamples=4_000, random_state=0)
        found = bayesian_signed_rank(a - b, rope)
        assert (found.worse, found.equal, found.better) == pytest.approx((left, equal, right), abs=0.03)


def test_bayesian_signed_rank_is_symmetric_and_decides() -> None:
    d = np.random.default_rng(3).normal(0.01, 0.02, 14)
    there, back = bayesian_signed_rank(d, 0.01), bayesian_signed_rank(-d, 0.01)
    assert there.better == back.worse and there.equal == back.equal
    assert there.worse + there.equal + there.better == pytest.approx(1)
    assert bayesian_signed_rank(np.full(10, 0.2), 0.01).better > 0.99
    assert bayesian_signed_rank(np.full(10, 0.001), 0.01).equal == 1
    assert bayesian_signed_rank(np.full(10, -0.2), 0.01).worse > 0.99


def test_bayesian_signed_rank_of_one_difference_has_a_closed_form() -> None:
    # one difference d > rope beside the pseudo-observation: it is better where w^2 + 2 w (1 - w) [d > 2 rope] > 1/2,
    # with w ~ Beta(1, s) the weight of the difference
    s, far = 0.5, bayesian_signed_rank(np.array([1.0]), 0.01, draws=200_000)
    assert far.better == pytest.approx(stats.beta.sf(1 - np.sqrt(0.5), 1, s), abs=5e-3)
    near = bayesian_signed_rank(np.array([0.015]), 0.01, draws=200_000)
    assert near.better == pytest.approx(stats.beta.sf(np.sqrt(0.5), 1, s), abs=5e-3)


def test_cliques_are_maximal_and_not_nested() -> None:
    assert cliques(np.array([1.964, 2.0, 2.893, 3.143]), critical_difference(4, 14)) == [(0, 3)]
    assert cliques(np.array([1.0, 1.5, 2.2, 4.0, 4.1]), 1.25) == [(0, 2), (3, 4)]
    assert cliques(np.array([1.0, 2.0, 3.0]), 1.0) == [(0, 1), (1, 2)]
    assert cliques(np.array([1.0, 3.0]), 1.0) == []


@pytest.mark.parametrize(
    "values", [[1, -1, 2, 2, 3, 0, -4, 5], [0, 0, 1], [2, 2, 2, 2, 2, -2], [-3, 1, 1, -1, 4, 4, 0]]
)
def test_ties_and_zeros_have_the_exact_p_value_of_all_signs(values: list[int]) -> None:
    """Written out, since SciPy's own answer is exact for ties from version 1.15 on only."""
    differences = np.array(values, dtype=float)
    ranks = stats.rankdata(np.abs(differences))
    signs = np.array(list(itertools.product((-1, 1), repeat=len(values)))) * (differences != 0)
    sums = signs @ ranks  # R+ less R-; a zero's rank stands on both sides
    found = float(np.sign(differences) @ ranks)
    p = float((np.abs(sums) >= abs(found)).mean())
    assert wilcoxon(differences) == pytest.approx(((ranks.sum() - abs(found)) / 2, p), abs=1e-12)
