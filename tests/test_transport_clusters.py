"""Transport between clusters."""

from __future__ import annotations

import numpy as np
import torch

from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import create_method
from dazoo.methods.transport.sot import mixture
from tests.test_subspace import context, toy


def test_sot_weights_solve_their_problem():
    """The softmax is the minimiser: no other plan with the same column sums is better."""
    rng = np.random.default_rng(0)
    cost, reg = torch.from_numpy(rng.random((6, 5))), 0.3

    def value(q: torch.Tensor) -> float:
        return float((q * cost).sum() + reg * (q * q.clamp(min=1e-300).log()).sum())

    best = torch.softmax(-cost / reg, dim=0) / 5
    assert torch.allclose(create_method("sot", weight_reg=reg).weights(cost), best.sum(1))
    for _ in range(50):
        other = (best * torch.from_numpy(np.exp(0.3 * rng.standard_normal((6, 5))))) + 1e-9
        assert value(other / other.sum(0) / 5) > value(best)


def separated(seed: int = 0) -> tuple[Seen, torch.Tensor]:
    rng = np.random.default_rng(seed)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]], dtype=torch.float64)
    y, yt = torch.arange(60) % 3, torch.arange(45) % 3
    x = centres[y] + torch.from_numpy(0.5 * rng.standard_normal((60, 2)))
    xt = centres[yt] + 2.0 + torch.from_numpy(0.5 * rng.standard_normal((45, 2)))
    return Seen(Labeled(x, y, torch.zeros_like(y)), Unlabeled(xt), None, 3, "vector", UNSUPERVISED), yt


def test_sot_with_a_cluster_per_class_pairs_the_clusters():
    """One Gaussian per class: BIC keeps one component each, and the plan pairs classes with their moved clusters."""
    seen, yt = separated()
    method = create_method("sot", clusters=3, reg=0.02)
    means, labels = method.substructures(seen.source.x, seen.source.y, 0)
    assert torch.equal(labels, torch.arange(3))
    expected = torch.stack([seen.source.x[seen.source.y == c].mean(0) for c in range(3)])
    assert torch.allclose(means, expected)
    assert torch.equal(method.fit(seen, context()).predict(seen.target.x).labels, yt)


def test_sot_splits_a_class_of_two_clusters():
    rng = np.random.default_rng(1)
    x = torch.from_numpy(np.r_[rng.standard_normal((40, 3)), rng.standard_normal((40, 3)) + 12])
    means, labels = create_method("sot").substructures(x, torch.zeros(80, dtype=torch.int64), 0)
    assert len(means) == len(labels) == 2
    assert torch.allclose(means.sort(dim=0).values, torch.stack([x[:40].mean(0), x[40:].mean(0)]))


def test_sot_components_equal_scikit_learns_prediction():
    seen = toy(60, 50)
    model = create_method("sot", clusters=6).fit(seen, context())
    seed = int(torch.randint(2**31 - 1, (1,), generator=context().gen))
    reference = mixture(seen.target.x, 6, seed)
    new = seen.target.x + 0.3
    assert np.array_equal(model.head.component(new).numpy(), reference.predict(new.numpy()))
