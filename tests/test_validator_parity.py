"""Validators against other libraries where these have a correct one.

Not compared: skada's soft neighbourhood density, which normalises over the whole matrix instead of per sample, and its
MaNo of unconfident predictions, which shifts the polynomial (already positive) to a minimum of 0.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dazoo.validators import bnm, class_cluster, dev, diversity, entropy, info_max, mano, mixval, snd

N, C = 60, 4


@pytest.fixture
def logits() -> Tensor:
    return 2 * torch.randn(N, C, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


class Linear:
    """Classes of vectors by their largest coordinate, with the few names skada asks a model for."""

    module_ = SimpleNamespace(layer_name="any")

    def predict(self, x: np.ndarray, **_: Any) -> np.ndarray:
        return x.argmax(1)

    def predict_proba(self, x: np.ndarray, **_: Any) -> np.ndarray:
        return torch.softmax(torch.from_numpy(x), 1).numpy()

    def predict_log_proba(self, x: np.ndarray, **_: Any) -> np.ndarray:
        return torch.log_softmax(torch.from_numpy(x), 1).numpy()

    def infer(self, x: np.ndarray, **_: Any) -> Tensor:
        return torch.from_numpy(x)

    def score(self, x: np.ndarray, y: np.ndarray, **_: Any) -> float:
        return float((x.argmax(1) == y).mean())

    def fit(self) -> None:
        """Scorers insist on it."""


def skada_score(scorer: Any, x: Tensor) -> float:
    y = np.arange(len(x)) % C
    return float(scorer._score(None, Linear(), x.numpy(), y, sample_domain=np.full(len(x), -2)))


def test_entropy_and_mano_as_in_skada(logits: Tensor) -> None:
    metrics = pytest.importorskip("skada.metrics", reason="the optional library skada is not installed")
    probs = torch.softmax(logits, 1)
    # theirs is a mean over samples and classes
    assert float(entropy.entropy(probs)) == pytest.approx(C * skada_score(metrics.PredictionEntropyScorer(), logits))
    ours, theirs = mano.mano(20 * logits, C), skada_score(metrics.MaNoScorer(), 20 * logits)
    assert ours is not None and float(ours) == pytest.approx(theirs)


@pytest.mark.parametrize("kind", ["intra", "inter"])
def test_mixval_as_in_skada_on_the_same_pairs(logits: Tensor, kind: str) -> None:
    metrics = pytest.importorskip("skada.metrics", reason="the optional library skada is not installed")
    partner = torch.from_numpy(np.random.RandomState(5).permutation(N))
    labels = logits.argmax(1)
    same = labels == labels[partner]
    rows = torch.nonzero(same if kind == "intra" else ~same)[:, 0]
    ours = mixval.consistency(lambda x: x, logits, labels, rows, partner[rows])
    theirs = skada_score(metrics.MixValScorer(ice_type=kind, random_state=5, alpha=mixval.LAM), logits)
    assert ours == pytest.approx(theirs) and 0.5 < ours <= 1.0


@pytest.fixture
def adapt() -> Any:
    return pytest.importorskip(
        "pytorch_adapt.validators", reason="pytorch-adapt is not installed; it needs torchmetrics 0.9 of its own"
    )


def test_label_free_losses_as_in_pytorch_adapt(adapt: Any, logits: Tensor) -> None:
    probs = torch.softmax(logits, 1)
    given = {"target_train": {"logits": logits, "preds": probs, "features": logits}}
    assert float(entropy.entropy(probs)) == pytest.approx(adapt.EntropyValidator()(**given), rel=1e-6)
    assert float(diversity.diversity(probs)) == pytest.approx(adapt.DiversityValidator()(**given), rel=1e-6)
    assert float(info_max.info_max(probs)) == pytest.approx(adapt.IMValidator()(**given), rel=1e-6)
    assert float(snd.snd(probs)) == pytest.approx(adapt.SNDValidator()(**given), rel=1e-4)
    # theirs is divided by n, ours by sqrt(n min(n, C))
    assert float(bnm.bnm(probs)) * (N * C) ** 0.5 == pytest.approx(N * adapt.BNMValidator()(**given), rel=1e-6)


def test_class_cluster_as_in_pytorch_adapt_on_clear_clusters(adapt: Any) -> None:
    g = torch.Generator().manual_seed(0)
    y = torch.arange(N) % C
    f = torch.nn.functional.normalize(10 * torch.eye(C)[y] + 0.3 * torch.randn(N, C, generator=g))
    wrong = torch.where(torch.arange(N) < 12, (y + 1) % C, y)
    logits = 5 * torch.eye(C, dtype=torch.float64)[wrong]
    ours = class_cluster.class_cluster(f.double(), torch.softmax(logits, 1), C)
    theirs = adapt.ClassClusterValidator()(target_train={"features": f, "logits": logits, "preds": logits})
    assert ours == pytest.approx(theirs) and 0.5 < ours < 1


def test_deep_embedded_validation_as_in_pytorch_adapt(adapt: Any) -> None:
    module = pytest.importorskip("pytorch_adapt.validators.deep_embedded_validator")
    g = torch.Generator().manual_seed(1)
    weights, errors = torch.rand(N, 1, generator=g).double(), torch.rand(N, 1, generator=g).double()
    theirs = module.get_dev_risk(weights, errors, None)
    assert float(dev.controlled((weights * errors)[:, 0], weights[:, 0])) == pytest.approx(float(theirs))
