"""Stream methods that learn nothing, and the rules by which samples are kept, weighed and destroyed."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from dazoo.methods.base import StreamState, create_method
from dazoo.methods.test_time._certain import shares_corrected
from dazoo.nets.augment import shuffled_pieces
from dazoo.ops import test_time
from tests.parity_stream import stream_net


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def small_net(norm: nn.Module | None = None) -> nn.Module:
    d, c = 5, 4
    return stream_net(norm or nn.LayerNorm(d), 1 + 0.1 * draw(d), draw(d, seed=1), draw(c, d, seed=2), draw(c, seed=3))


def test_t3a_before_any_sample_is_the_head_with_unit_rows_and_no_bias() -> None:
    net = small_net()
    with torch.no_grad():
        net.head.weight.copy_(3 * torch.eye(4, 5) + 0.1 * net.head.weight)
    method = create_method("t3a")
    method.setup(net)
    assert torch.equal(net.head(net.head.weight).argmax(-1), torch.arange(4))
    x = draw(7, 5, seed=9)
    assert torch.allclose(method.predict(net, x).scores, net.body(x) @ normalize(net.head.weight, dim=-1).T)


def test_t3a_keeps_the_surest_and_all_where_told() -> None:
    y, entropy = torch.tensor([0, 1, 0, 0, 1, 2]), torch.tensor([0.3, 0.1, 0.2, 0.4, 0.5, 0.6])
    assert sorted(test_time.surest_rows(y, entropy, 2, 3).tolist()) == [0, 1, 2, 4, 5]
    assert sorted(test_time.surest_rows(y, entropy, 1, 3).tolist()) == [1, 2, 5]
    assert sorted(test_time.surest_rows(y, entropy, 0, 3).tolist()) == list(range(6))
    net = small_net()
    for supports, kept in ((0, 4 + 24), (2, 8)):
        method, state = create_method("t3a", supports=supports), StreamState(rng())
        fresh = small_net()
        method.setup(fresh)
        for t in range(3):
            method.step(fresh, draw(8, 5, seed=t), state, t)
        assert len(state.memory["y"]) <= kept and (supports or len(state.memory["y"]) == kept)
        assert int(state.memory["y"].bincount().max()) <= (supports or 28)
    assert torch.equal(test_time.unit_prototypes(draw(2, 3), torch.tensor([0, 0]), 2)[1], torch.zeros(3).double())
    assert not hasattr(net, "prototypes")


@pytest.mark.parametrize("affinity", ["knn", "rbf"])
def test_lame_without_neighbours_is_the_source(affinity: str) -> None:
    net, x = small_net(), draw(6, 5, seed=4)
    source = net.head(net.body(x)).softmax(-1)
    alone = create_method("lame", affinity=affinity)
    if affinity == "knn":
        none = create_method("lame", neighbours=0)
        assert torch.allclose(none.step(net, x, StreamState(rng()), 0).probs, source, atol=1e-9)
    assert torch.allclose(alone.step(net, x[:1], StreamState(rng()), 0).probs, source[:1], atol=1e-9)
    full = alone.step(net, x, StreamState(rng()), 0)
    assert torch.allclose(full.probs.sum(1), torch.ones(6).double()) and not torch.allclose(full.probs, source)
    assert torch.equal(alone.predict(net, x).probs, source)


def test_lame_of_equal_samples_and_of_more_neighbours_than_samples_is_finite() -> None:
    same = draw(1, 5).expand(4, 5)
    assert torch.equal(test_time.gaussian_affinity(same, 3), torch.zeros(4, 4).double())
    w = test_time.neighbour_affinity(same, 9)
    assert torch.equal(w, 1 - torch.eye(4).double())
    far = torch.cat([draw(3, 2), draw(3, 2) + 100])
    assert torch.isfinite(test_time.laplacian_adjusted(1e4 * draw(6, 3), test_time.neighbour_affinity(far, 2))).all()


def test_lame_lowers_its_energy() -> None:
    scores, w = draw(12, 3), test_time.neighbour_affinity(draw(12, 4, seed=1), 3)
    w = w + w.T
    log_p = torch.log(scores.softmax(-1) + 1e-10)

    def energy(y: Tensor) -> float:
        return float((y * (torch.log(y) - log_p)).sum() - 0.5 * (y * (w @ y)).sum())

    rounds = [energy(test_time.laplacian_adjusted(scores, w, n)) for n in range(1, 8)]
    assert all(b <= a + 1e-12 for a, b in pairwise(rounds)) and rounds[-1] < rounds[0]


def test_rows_that_no_rule_keeps_give_no_loss_and_no_gradient() -> None:
    logits, mean = draw(6, 4).requires_grad_(), torch.full((4,), 0.25, dtype=torch.float64)
    loss, kept, new = test_time.reliable_entropy(logits, mean, 0.0, 2.0)
    assert not kept.any() and torch.equal(new, mean)
    other, none = test_time.shape_dependent_entropy(logits, logits, math.inf, 1.0, 0.0)
    assert not none.any()  # nothing drops where nothing was destroyed
    grads = torch.autograd.grad(loss + other, logits)[0]
    assert loss.item() == other.item() == 0.0 and torch.equal(grads, torch.zeros_like(grads))


def test_the_first_kept_rows_are_the_mean_and_later_ones_join_it() -> None:
    logits = 5 * draw(6, 4)
    p = logits.softmax(-1)
    _, kept, mean = test_time.reliable_entropy(logits, torch.zeros(4).double(), 10.0, 0.5)
    assert kept.all() and torch.allclose(mean, p.mean(0))
    middle = float(torch.nn.functional.cosine_similarity(p, mean[None]).median())
    _, kept, after = test_time.reliable_entropy(logits, mean, 10.0, middle + 1e-9)
    assert 0 < int(kept.sum()) < 6 and torch.allclose(after, 0.9 * mean + 0.1 * p[kept].mean(0))


def test_weights_of_roid_are_finite_where_all_samples_are_alike() -> None:
    even = torch.full((3,), 1 / 3, dtype=torch.float64)
    for logits in (draw(1, 3), draw(1, 3).expand(4, 3), torch.zeros(4, 3).double()):
        assert torch.equal(test_time.certain_and_diverse(logits, even, 1 / 3), torch.ones(len(logits)).double())
    weights = test_time.certain_and_diverse(draw(20, 3), even, 1 / 3)
    assert (weights == 0).any() and (weights >= 1).any() and not ((weights > 0) & (weights < 1)).any()


def test_corrected_shares_multiply_probabilities_whatever_the_sign_of_scores() -> None:
    scores = 4 * draw(50, 3) + torch.tensor([2.0, 0.0, 0.0]).double()
    p = scores.softmax(-1)
    share = p.mean(0)
    smooth = (1 / 3) / share.max()
    expected = p * (share + smooth) / (1 + 3 * smooth)
    expected /= expected.sum(1, keepdim=True)
    for moved in (scores, scores - 100):
        assert torch.allclose(shares_corrected(moved).softmax(-1), expected)


@pytest.mark.parametrize("shape", [(3, 64), (3, 10), (3, 2, 50), (2, 1, 8, 8), (2, 3, 12, 16)])
def test_destroyed_samples_keep_their_values_in_another_order(shape: tuple[int, ...]) -> None:
    x = torch.arange(math.prod(shape)).double().reshape(shape)
    found = shuffled_pieces(x, rng())
    assert found.shape == x.shape and not torch.equal(found, x)
    assert torch.equal(found.flatten(1).sort(1).values, x.flatten(1).sort(1).values)
    assert torch.equal(found, shuffled_pieces(x, rng())) and not torch.equal(found, shuffled_pieces(x, rng(1)))
    if len(shape) == 3:  # the channels of a series stay together in time
        assert torch.equal(found[:, 1] - found[:, 0], x[:, 1] - x[:, 0])
    if len(shape) == 4:  # patches stay whole
        high, wide = shape[2] // 4, shape[3] // 4
        corner = found[0, 0, :high, :wide] - found[0, 0, 0, 0]
        assert torch.equal(corner, x[0, 0, :high, :wide] - x[0, 0, 0, 0])


def test_pictures_of_any_size_can_be_destroyed() -> None:
    for side in (3, 7, 30):
        x = torch.rand(2, 1, side, side, generator=rng())
        assert shuffled_pieces(x, rng()).shape == x.shape
