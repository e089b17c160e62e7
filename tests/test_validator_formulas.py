"""Every validator against a slow transcription of its formula, and its limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dazoo.validators import (
    _weights,
    bnm,
    class_cluster,
    corr_c,
    davies_bouldin,
    dev,
    diversity,
    iwcv,
    mano,
    rank_me,
    reverse_validation,
    silhouette,
    snd,
)
from dazoo.validators.base import VALIDATORS


@pytest.fixture
def p() -> torch.Tensor:
    return torch.softmax(2 * torch.randn(40, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64), 1)


@pytest.fixture
def collapsed(p: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.zeros(len(p), dtype=torch.int64), 5).double()


@pytest.fixture
def perfect(p: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.arange(len(p)) % 5, 5).double()


def test_diversity(p, collapsed, perfect):
    m = p.numpy().mean(0)
    assert float(diversity.diversity(p)) == pytest.approx(-sum(x * math.log(x) for x in m))
    assert float(diversity.diversity(collapsed)) == 0.0
    assert float(diversity.diversity(perfect)) == pytest.approx(math.log(5))


def test_bnm(p, collapsed, perfect):
    assert float(bnm.bnm(p)) == pytest.approx(np.linalg.svd(p.numpy(), compute_uv=False).sum() / math.sqrt(40 * 5))
    assert float(bnm.bnm(perfect)) == pytest.approx(1.0)
    assert float(bnm.bnm(collapsed)) < float(bnm.bnm(p)) < 1.0
    assert float(bnm.bnm(p[:3])) == pytest.approx(np.linalg.svd(p[:3].numpy(), compute_uv=False).sum() / 3)


def test_corr_c(p, collapsed, perfect):
    r = sum(np.outer(row, row) for row in p.numpy())
    expected = sum(r[i, i] for i in range(5)) / (math.sqrt((r**2).sum()) * math.sqrt(5))
    assert float(corr_c.corr_c(p)) == pytest.approx(expected)
    assert float(corr_c.corr_c(perfect)) == pytest.approx(1.0)
    assert float(corr_c.corr_c(collapsed)) == pytest.approx(1 / math.sqrt(5))


def test_snd_is_the_entropy_of_soft_neighbours_in_any_tile_size(p, monkeypatch):
    f = p.numpy() / np.linalg.norm(p.numpy(), axis=1, keepdims=True)
    total = 0.0
    for i in range(len(f)):
        s = np.array([f[i] @ f[j] / 0.05 for j in range(len(f)) if j != i])
        q = np.exp(s - s.max()) / np.exp(s - s.max()).sum()
        total -= (q * np.log(q)).sum()
    assert float(snd.snd(p)) == pytest.approx(total / len(f), rel=1e-5)
    monkeypatch.setattr(snd, "TILE", 7)
    assert math.isnan(float(snd.snd(p[:2])))
    assert float(snd.snd(p)) == pytest.approx(total / len(f), rel=1e-5)


def _shifted(n=4000):
    g = torch.Generator().manual_seed(1)
    s = torch.randn(n, 1, generator=g, dtype=torch.float64)
    t = 1.0 + torch.randn(n, 1, generator=g, dtype=torch.float64)
    v = torch.randn(n, 1, generator=g, dtype=torch.float64)
    return s, t, v


def test_density_ratio_is_that_of_two_gaussians():
    s, t, v = _shifted()
    w = _weights.density_ratio(s, t, v)
    expected = torch.exp(v[:, 0] - 0.5)
    inner = v[:, 0].abs() < 1.5
    assert float((w / expected - 1).abs()[inner].max()) < 0.15
    assert float(w.mean()) == pytest.approx(1.0, abs=0.1)


def test_weighted_validations_estimate_the_target_error():
    s, t, v = _shifted()
    scores = torch.stack([-v[:, 0] + 1.0, v[:, 0] - 1.0], 1)  # predicts 1 above x = 1
    labels = (v[:, 0] > 0).long()  # truth: 1 above x = 0; wrong between 0 and 1
    target_error = float(((t[:, 0] > 0) & (t[:, 0] <= 1)).double().mean())
    source_error = float(((v[:, 0] > 0) & (v[:, 0] <= 1)).double().mean())
    for fn in (iwcv.iwcv, dev.dev):
        got = -float(fn(s, t, v, scores, labels, 2))
        assert abs(got - target_error) < 0.04
        assert abs(got - source_error) > abs(got - target_error) or abs(source_error - target_error) < 0.02


def test_dev_transcription_and_its_limit():
    w = torch.tensor([0.5, 1.0, 2.0, 0.3], dtype=torch.float64)
    loss = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    lw, ww = (w * loss).numpy(), w.numpy()
    eta = -np.cov(lw, ww, bias=True)[0, 1] / ww.var()
    assert float(dev.controlled(w * loss, w)) == pytest.approx(lw.mean() + eta * ww.mean() - eta)
    assert float(dev.controlled(loss, torch.ones(4))) == pytest.approx(0.5)


def test_values_have_squared_errors():
    got = iwcv.errors(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0]), 0)
    assert got.tolist() == [1.0, 4.0]


def _blobs():
    g = torch.Generator().manual_seed(0)
    y = torch.arange(90) % 3
    centres = torch.tensor([[4.0, 0.0], [-4.0, 0.0], [0.0, 5.0]], dtype=torch.float64)
    return centres[y] + 0.5 * torch.randn(90, 2, generator=g, dtype=torch.float64), y


def test_cluster_scores_prefer_the_true_classes():
    f, y = _blobs()
    right = torch.nn.functional.one_hot(y, 3).double()
    wrong = torch.nn.functional.one_hot((torch.arange(90) // 30) % 3, 3).double()
    for fn in (lambda q: class_cluster.class_cluster(f, q, 3), lambda q: silhouette.silhouette(f, q),
               lambda q: davies_bouldin.davies_bouldin(f, q)):  # fmt: skip
        assert fn(right) > fn(wrong)
    assert class_cluster.class_cluster(f, right, 3) == pytest.approx(1.0)


def test_silhouette_and_davies_bouldin_by_hand():
    f, y = _blobs()
    x, labels = f.numpy(), y.numpy()
    d = np.linalg.norm(x[:, None] - x[None], axis=2)
    values = []
    for i in range(len(x)):
        mine = [d[i, j] for j in range(len(x)) if j != i and labels[j] == labels[i]]
        others = [np.mean([d[i, j] for j in range(len(x)) if labels[j] == c]) for c in range(3) if c != labels[i]]
        a, b = np.mean(mine), min(others)
        values.append((b - a) / max(a, b))
    probs = torch.nn.functional.one_hot(y, 3).double()
    assert silhouette.silhouette(f, probs) == pytest.approx(np.mean(values))
    m = [x[labels == c].mean(0) for c in range(3)]
    spread = [np.mean(np.linalg.norm(x[labels == c] - m[c], axis=1)) for c in range(3)]
    worst = [max((spread[i] + spread[j]) / np.linalg.norm(m[i] - m[j]) for j in range(3) if j != i) for i in range(3)]
    assert davies_bouldin.davies_bouldin(f, probs) == pytest.approx(-np.mean(worst))


def test_collapsed_models_have_no_cluster_score():
    f, _ = _blobs()
    one = torch.tensor([[0.9, 0.1, 0.0]], dtype=torch.float64).expand(90, 3)
    assert silhouette.silhouette(f, one) is None
    assert davies_bouldin.davies_bouldin(f, one) is None
    assert reverse_validation.reverse_validation(f, one, f, torch.zeros(90, dtype=torch.int64)) is None
    assert class_cluster.class_cluster(f[:2], one[:2], 3) is None


def test_reverse_validation_is_high_for_right_pseudo_labels_and_low_for_permuted_ones():
    f, y = _blobs()
    right = torch.nn.functional.one_hot(y, 3).double()
    turned = torch.nn.functional.one_hot((y + 1) % 3, 3).double()
    assert float(reverse_validation.reverse_validation(f, right, f, y)) == pytest.approx(1.0)
    assert float(reverse_validation.reverse_validation(f, turned, f, y)) == pytest.approx(0.0)


@pytest.mark.parametrize("scale", [0.5, 40.0])
def test_mano(scale):
    s = scale * torch.randn(20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = s.numpy()
    soft = np.exp(x - x.max(1, keepdims=True))
    soft /= soft.sum(1, keepdims=True)
    if -np.mean(x - x.max(1, keepdims=True) - np.log(np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True))) <= 5:
        soft = 1 + x + x**2 / 2
        soft /= soft.sum(1, keepdims=True)
    assert float(mano.mano(s, 4)) == pytest.approx(((soft**4).sum() / 80) ** 0.25)
    assert mano.mano(s, 0) is None


def test_rank_me(p):
    sigma = np.linalg.svd(p.numpy(), compute_uv=False)
    q = sigma / sigma.sum() + 1e-7
    assert float(rank_me.rank_me(p)) == pytest.approx(math.exp(-(q * np.log(q)).sum()), rel=1e-6)
    assert float(rank_me.rank_me(torch.eye(6, dtype=torch.float64))) == pytest.approx(6.0, rel=1e-4)
    assert float(rank_me.rank_me(torch.ones(6, 3, dtype=torch.float64))) == pytest.approx(1.0, abs=1e-3)


def test_costly_ones_are_declared():
    costly = {n for n, v in VALIDATORS.items() if v.cost == "costly"}
    assert {"dev", "iwcv", "snd", "class_cluster", "silhouette", "davies_bouldin", "reverse_validation"} <= costly
    assert {"entropy", "info_max", "diversity", "bnm", "corr_c", "mano", "rank_me", "source_validation"}.isdisjoint(
        costly
    )
