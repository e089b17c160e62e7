"""Formulas of open-set and universal adaptation: limits, transcriptions, and the plan against POT."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dazoo.ops import universal
from tests.small import draw


def plan(s, b, **options):
    g = universal.class_potentials(s, b, rounds=20_000, tolerance=1e-12, **options)
    solved = {k: v for k, v in options.items() if k != "a"}
    rows = universal.row_plan(s, g, b, **solved)
    if "a" in options:
        rows = rows + options["a"].log()[:, None]
    return rows.flatten().softmax(0).view_as(s)


def shares(k, seed=0):
    return draw(k, seed=seed).softmax(0)


@pytest.mark.parametrize("seed", [0, 1])
def test_plan_is_that_of_pot(seed):
    import ot

    s, a, b = draw(14, 5, seed=seed), shares(14, 1), shares(5, 2)
    expected = ot.unbalanced.sinkhorn_unbalanced(
        a.numpy(), b.numpy(), -s.numpy(), 0.1, 0.5, reg_type="kl", numItermax=100_000, stopThr=1e-14
    )
    found = plan(s, b, a=a, reg=0.1)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-7, atol=1e-12)


def test_infinite_mass_is_balanced_transport():
    s, b = draw(12, 4), shares(4)
    q = plan(s, b, reg=0.1, mass=math.inf)
    torch.testing.assert_close(q.sum(0), b)
    torch.testing.assert_close(q.sum(1), torch.full((12,), 1 / 12, dtype=torch.float64))


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_plan_is_finite_at_any_scale(scale):
    q = plan(scale * draw(30, 6), shares(6))
    assert torch.isfinite(q).all() and q.sum().item() == pytest.approx(1.0)


def test_the_plan_of_a_row_depends_on_that_row_alone():
    s, b = draw(20, 4), shares(4)
    g = universal.class_potentials(s, b)
    torch.testing.assert_close(universal.row_plan(s, g, b)[:7], universal.row_plan(s[:7], g, b))


def test_balanced_assignment_with_many_rounds_has_both_marginals():
    q = universal.balanced_assignment(draw(12, 4), 0.5, rounds=500)
    torch.testing.assert_close(q.sum(1), torch.full((12,), 1 / 12, dtype=torch.float64))
    torch.testing.assert_close(q.sum(0), torch.full((4,), 1 / 4, dtype=torch.float64))


def test_batch_weights_have_mean_one_and_are_one_where_nothing_tells_rows_apart():
    w = universal.batch_weights(draw(9))
    assert w.mean().item() == pytest.approx(1.0) and w.min() == 0
    assert torch.equal(universal.batch_weights(torch.full((5,), 0.3)), torch.ones(5))


def test_entropy_share_reaches_from_zero_to_one_whatever_the_number_of_classes():
    for k in (2, 7, 40):
        assert universal.entropy_share(torch.zeros(1, k)).item() == pytest.approx(1.0)
        assert universal.entropy_share(torch.eye(k)[:1] * 1e4).item() == 0.0


def test_an_infinite_margin_leaves_no_separation():
    l = draw(8, 4).requires_grad_()  # noqa: E741
    value = universal.entropy_separation(l, math.log(4) / 2, math.inf)
    assert value.item() == 0
    assert torch.autograd.grad(value, l, allow_unused=True)[0].abs().sum() == 0


def test_separation_lowers_low_entropies_and_raises_high_ones():
    l = torch.stack([torch.tensor([4.0, 0, 0, 0]), torch.tensor([0.3, 0, 0, 0])]).requires_grad_()  # noqa: E741
    grad = torch.autograd.grad(universal.entropy_separation(l, math.log(4) / 2, 0.1), l)[0]
    before = universal.entropy_share(l)
    after = universal.entropy_share((l - grad).detach())
    assert after[0] < before[0] and after[1] > before[1]


def test_neighbours_are_never_the_row_itself():
    """A bank of the batch alone, and a batch of one sample twice as far from everybody as -1 is near."""
    f, rows = draw(5, 3), torch.tensor([2, 0, 1, 4, 3])
    bank = torch.nn.functional.normalize(f[rows.argsort()], dim=-1)
    l = draw(5, 4, seed=3)  # noqa: E741
    z = torch.nn.functional.normalize(f, dim=-1)
    expected = []
    for i in range(5):
        others = [(z[i] @ z[j]).item() / 0.5 if j != i else -2.0 for j in range(5)]
        q = torch.tensor([*l[i].tolist(), *[-2.0] * 5, *others], dtype=torch.float64).softmax(0)
        expected.append(-(q * q.log()).sum().item())
    found = universal.neighbourhood_entropy(l, f, rows, bank, 0.5)
    assert found.item() == pytest.approx(float(np.mean(expected)))


def test_equal_heads_are_consistent():
    one = draw(6, 4)
    entropy, inconsistency, confidence = universal.ensemble_uncertainty(one.expand(5, 6, 4))
    torch.testing.assert_close(inconsistency, torch.zeros_like(inconsistency))
    torch.testing.assert_close(entropy, universal.entropy_share(one))
    torch.testing.assert_close(confidence, one.softmax(-1).amax(-1))
