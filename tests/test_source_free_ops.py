"""Formulas of source-free and black-box adaptation against transcriptions in loops, and at their limits."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from dazoo.nets.net import NetSpec, build_net
from dazoo.ops import neighbourhood, source_free
from dazoo.ops.entropy import info_max


def _probabilities(*shape: int, seed: int = 0) -> Tensor:
    return torch.softmax(2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double(), -1)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_two_means_is_the_best_of_all_splits(offset: float) -> None:
    x = torch.rand(9, generator=torch.Generator().manual_seed(3)).double() + offset
    best = min(
        (sum(((side - side.mean()) ** 2).sum() for side in (x[list(a)], x[[i for i in range(9) if i not in a]])), a)
        for size in range(1, 9)
        for a in itertools.combinations(range(9), size)
    )[1]
    low, high, is_high = source_free.two_means(x)
    one, other = x[list(best)], x[[i for i in range(9) if i not in best]]
    assert torch.allclose(torch.stack([low, high]), torch.stack(sorted([one.mean(), other.mean()])))
    assert is_high.tolist() == (x > (low + high) / 2).tolist()


def test_equal_numbers_are_one_cluster() -> None:
    for n in (1, 2, 5):
        low, high, is_high = source_free.two_means(torch.full((n,), 0.3).double())
        assert low == high and not is_high.any()


def test_unknown_rows_are_the_uncertain_ones() -> None:
    sure, unsure = torch.eye(4)[:3].double() * 0.96 + 0.01, torch.full((2, 4), 0.25).double()
    h, threshold, unknown = source_free.unknown_split(torch.cat([sure, unsure]))
    assert unknown.tolist() == [False] * 3 + [True] * 2
    assert (h > threshold).tolist() == unknown.tolist()


def test_neighbours_leave_the_sample_out_and_stop_at_the_bank() -> None:
    bank = torch.nn.functional.normalize(torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).double(), dim=1)
    rows = torch.tensor([3, 0])
    near = neighbourhood.similar_rows(bank[rows], rows, bank, 9)
    assert sorted(near[0].tolist()) == [0, 1, 2, 4] and sorted(near[1].tolist()) == [1, 2, 3, 4]
    nobody = neighbourhood.similar_rows(bank[rows], torch.tensor([-1, -1]), bank, 1)
    assert nobody[:, 0].tolist() == [3, 0]


def test_nrc_and_aad_equal_loops() -> None:
    gen = torch.Generator().manual_seed(5)
    n, b, c, k, kk = 12, 4, 3, 3, 2
    bank_f = torch.nn.functional.normalize(torch.randn(n, 5, generator=gen).double(), dim=1)
    bank_p, rows = _probabilities(n, c, seed=6), torch.tensor([7, 2, 11, 0])
    logits = torch.randn(b, c, generator=gen).double()
    p = logits.softmax(-1)

    def around(j: int, count: int) -> list[int]:
        sim = bank_f @ bank_f[j]
        return [int(m) for m in sim.argsort(descending=True) if m != j][:count]

    close = far = attract = disperse = 0.0
    for i, row in enumerate(rows.tolist()):
        for j in around(row, k):
            second = around(j, kk)
            close -= float(p[i] @ bank_p[j]) * (1.0 if row in second else 0.1) / b
            attract -= float(p[i] @ bank_p[j]) / b
            far -= 0.1 * sum(float(p[i] @ bank_p[m]) for m in second) / b
        disperse += sum(float(p[i] @ p[m]) for m in range(b) if m != i) / b
    found = neighbourhood.nrc(logits, bank_f[rows], rows, bank_f, bank_p, k, kk)
    assert np.allclose([float(v) for v in found], [close, far])
    found = neighbourhood.aad(logits, bank_f[rows], rows, bank_f, bank_p, k)
    assert np.allclose([float(v) for v in found], [attract, disperse])


def test_a_renewed_bank_is_a_copy() -> None:
    bank, rows = torch.zeros(4, 2), torch.tensor([2, 0])
    new = neighbourhood.renewed(bank, rows, torch.tensor([[1.0, 1.0], [2.0, 2.0]]))
    assert bank.sum() == 0 and new[2].tolist() == [1, 1] and new[0].tolist() == [2, 2] and new[1].sum() == 0


def test_gaussians_weigh_rows_near_their_class() -> None:
    gen = torch.Generator().manual_seed(2)
    y = torch.arange(60) % 3
    f = torch.eye(4).double()[y] + 0.05 * torch.randn(60, 4, generator=gen).double()
    p = torch.eye(3).double()[y] * 0.7 + 0.1
    f[0] = torch.eye(4).double()[:2].sum(0)  # between two classes
    q, w = source_free.jmds(f, p, 1e-3)
    assert torch.allclose(q.sum(1), torch.ones(60).double()) and ((w >= 0) & (w <= 1)).all()
    assert (q.argmax(1)[1:] == y[1:]).all() and w[0] < w[1:].min()


def test_gaussians_bear_a_class_that_nobody_predicts_and_more_dimensions_than_rows() -> None:
    f = torch.randn(6, 20, generator=torch.Generator().manual_seed(0)).double()
    p = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).double().repeat(3, 1)
    for features in (f, torch.zeros_like(f), f.float()):
        q, w = source_free.jmds(features, p)
        assert torch.isfinite(q).all() and torch.isfinite(w).all() and (q[:, 2] == 0).all()


def test_a_mixture_of_one_model_is_that_model() -> None:
    logits = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(4)).double()
    for w in (torch.rand(5, 1).double() + 0.1, torch.zeros(5, 1).double()):
        assert torch.allclose(source_free.mixed_scores(logits, w), logits[0])
        assert torch.allclose(info_max(source_free.mixed_scores(logits, w)), info_max(logits[0]))
    two = source_free.mixed_scores(torch.stack([logits[0], -logits[0]]), torch.zeros(5, 2).double())
    assert torch.allclose(two, torch.zeros_like(two))  # no weight at all: each counts the same


def test_top_smoothed_keeps_the_largest_and_sums_to_one() -> None:
    q = _probabilities(7, 5, seed=8)
    for top in (1, 2, 5, 9):
        found = source_free.top_smoothed(q, top)
        assert torch.allclose(found.sum(1), torch.ones(7).double()) and (found.argmax(1) == q.argmax(1)).all()
    one = source_free.top_smoothed(q, 1)
    rest = one.sort(1).values[:, :-1]
    assert torch.allclose(rest, rest[:, :1].expand_as(rest)) and torch.allclose(one.amax(1), q.amax(1))


def test_distillation_is_zero_at_the_teacher() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(9)).double()
    assert abs(float(source_free.soft_target_kl(logits, logits.softmax(-1)))) < 1e-12
    assert torch.isfinite(source_free.soft_target_kl(logits, torch.eye(3).double()[[0, 1, 2, 0]]))


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_head_of_normed_weights(norm: str) -> None:
    spec = NetSpec("none", (5,), "vector", 3, 4, norm=norm, head="weight_norm", activation="none", smooth=0.1)
    assert NetSpec.from_json(spec.to_json()) == spec
    net = build_net(spec, 0, lambda width, n_classes: {})
    x = torch.randn(6, 5)
    f = net.body(x)
    assert (f < 0).any()  # no ReLU ends the bottleneck
    assert torch.allclose(net.head(f), f @ net.head.weight.T + net.head.bias)
    before = net.head.weight.detach().clone()
    with torch.no_grad():
        net.head.direction.mul_(3.0)
    assert torch.allclose(net.head.weight, before, atol=1e-6)
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    scores = net.head(net.body(x))
    log_p = scores.log_softmax(-1)
    expected = -(0.9 * log_p.gather(1, y[:, None]).squeeze(1) + 0.1 * log_p.mean(1)).mean()
    assert torch.allclose(net.criterion(scores, y), expected)
