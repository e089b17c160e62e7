"""Transferability scores: limits, invariances and refusals; their values stand in test_parity."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.diagnosis import scores
from dazoo.ops import classwise


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labelled(separation: float, n: int = 120, d: int = 6, c: int = 3) -> tuple[Tensor, Tensor]:
    y = torch.arange(n) % c
    return normal(n, d) + separation * normal(c, d, seed=1)[y], y


@pytest.mark.parametrize("name", ["h_score", "regularized_h_score", "logme", "transrate"])
def test_scores_rise_with_separation(name: str) -> None:
    values = [getattr(scores, name)(*labelled(s)) for s in (0.0, 0.5, 1.0, 3.0)]
    assert values == sorted(values) and values[-1] > values[0] + 0.1


def test_score_limits() -> None:
    y = torch.arange(12) % 3
    certain = classwise.one_hot(y, 3, torch.float64)
    assert scores.leep(certain, y) == pytest.approx(0.0)
    assert scores.leep(torch.full((12, 5), 0.2), y) == pytest.approx(-math.log(3))
    assert scores.nce(y * 7, y) == 0.0
    assert scores.nce(torch.zeros(12), y) == pytest.approx(-math.log(3))
    features, labels = labelled(1.0)
    assert scores.h_score(features, labels) <= 2.0 + 1e-9  # at most classes - 1
    # invertible linear maps change nothing
    assert scores.h_score(features @ normal(6, 6, seed=4), labels) == pytest.approx(scores.h_score(features, labels))


def test_scores_count_the_classes_that_occur() -> None:
    features, labels = labelled(1.0)
    for name in ("h_score", "regularized_h_score", "logme", "transrate"):
        score = getattr(scores, name)
        assert score(features, labels * 5) == pytest.approx(score(features, labels), rel=1e-12)
    p = normal(120, 5, seed=5).softmax(1)
    assert scores.leep(p, labels * 5) == pytest.approx(scores.leep(p, labels), rel=1e-12)


@pytest.mark.parametrize("name", ["h_score", "regularized_h_score", "logme", "transrate"])
def test_scores_of_more_features_than_samples_are_finite(name: str) -> None:
    assert math.isfinite(getattr(scores, name)(*labelled(1.0, n=12, d=40)))


def test_logme_of_values() -> None:
    x = normal(80, 5)
    good = x @ normal(5, 1, seed=1) + 0.1 * normal(80, 1, seed=2)
    assert scores.logme(x, good, regression=True) > scores.logme(x, normal(80, 1, seed=3), regression=True) + 0.5


def test_scores_refuse_nonsense() -> None:
    with pytest.raises(DazooError, match="shapes"):
        scores.h_score(normal(4, 3), torch.zeros(5))
    with pytest.raises(DazooError, match="finite"):
        scores.transrate(normal(4, 3) / 0.0, torch.zeros(4))
    with pytest.raises(DazooError, match="equally many"):
        scores.nce(torch.zeros(3), torch.zeros(4))
    with pytest.raises(DazooError, match="at least 2 samples"):
        scores.logme(normal(1, 3), torch.zeros(1))
