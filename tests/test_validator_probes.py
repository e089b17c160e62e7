"""MixVal, transfer score, EnsV and the balancing principle against slow transcriptions, and their limits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Prediction, Predictor, Seen, Unlabeled
from dazoo.shallow.steps import CentreScores, LinearScores, Pipeline
from dazoo.validators import balancing_principle as bp
from dazoo.validators import mixval, transfer_score
from dazoo.validators.base import VALIDATORS, Candidate, Evidence


@dataclass(frozen=True)
class Fixed(Predictor):
    """Given scores and features, whatever the samples."""

    scores: Tensor
    features: Tensor | None = None

    def predict(self, x: Tensor) -> Prediction:
        return Prediction(self.scores, self.features)

    def predict_source(self, x: Tensor) -> Prediction:
        return Prediction(torch.zeros(len(x), self.scores.shape[1]), x)


def seen(xs: Tensor, xt: Tensor, n_classes: int = 2) -> Seen:
    y = torch.arange(len(xs)) % max(n_classes, 1)
    return Seen(
        Labeled(xs, y, torch.zeros(len(xs), dtype=torch.int64)), Unlabeled(xt), None, n_classes, "vector", UNSUPERVISED
    )


# -- mixval -------------------------------------------------------------------------------------------------------


def blobs(n: int = 60) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 3
    centres = torch.tensor([[4.0, 0.0], [-4.0, 0.0], [0.0, 5.0]])
    return centres[y] + 0.3 * torch.randn(n, 2, generator=g), y


def nearest_centre(x: Tensor) -> Tensor:
    return -torch.cdist(x, torch.tensor([[4.0, 0.0], [-4.0, 0.0], [0.0, 5.0]]))


def test_mixval_by_hand() -> None:
    x, y = blobs()
    labels = nearest_centre(x).argmax(1)
    assert torch.equal(labels, y)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1)).tolist()
    between = [(i, j) for i, j in enumerate(order) if labels[i] != labels[j]]
    within = list(zip(*(t.tolist() for t in mixval.intra_pairs(labels))))
    assert all(labels[i] == labels[j] and i != j for i, j in within) and len({i for i, _ in within}) == len(x)

    def share(pairs: list[Any]) -> float:
        right = [int(nearest_centre((0.55 * x[i] + 0.45 * x[j])[None]).argmax()) == int(labels[i]) for i, j in pairs]
        return sum(right) / len(right)

    got = mixval.mixval(x, torch.softmax(nearest_centre(x), 1), nearest_centre)
    assert got == pytest.approx((share(within) + share(between)) / 2)


def test_mixval_prefers_boundaries_between_clusters() -> None:
    x, _ = blobs(300)

    def shifted(z: Tensor) -> Tensor:  # a boundary through the middle of a cluster
        return nearest_centre(z + torch.tensor([0.0, -4.1]))

    good = mixval.mixval(x, torch.softmax(nearest_centre(x), 1), nearest_centre)
    bad = mixval.mixval(x, torch.softmax(shifted(x), 1), shifted)
    assert good is not None and bad is not None and good > bad


def test_mixval_of_a_collapsed_model_is_undefined_and_bytes_are_mixed() -> None:
    x, _ = blobs()
    one = torch.tensor([[0.9, 0.1]]).expand(len(x), 2)
    assert mixval.mixval(x, one, lambda z: one[: len(z)]) is None
    images = torch.tensor([[[0, 255]], [[255, 0]], [[10, 240]], [[250, 3]]], dtype=torch.uint8)
    kinds: list[torch.dtype] = []

    def predict(z: Tensor) -> Tensor:
        kinds.append(z.dtype)
        return z.flatten(1).double()

    got = mixval.mixval(images, torch.softmax(images.flatten(1).double(), 1), predict)
    assert set(kinds) == {torch.uint8} and got == 1.0


# -- transfer score -----------------------------------------------------------------------------------------------


def test_unevenness_by_hand_and_zero_for_a_simplex() -> None:
    w = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    total = 0.0
    for a in range(4):
        for b in range(4):
            if a != b:
                cos = w[a] @ w[b] / (np.linalg.norm(w[a]) * np.linalg.norm(w[b]))
                total += (math.acos(cos) - math.acos(-1 / 3)) ** 2 / 12
    assert transfer_score.unevenness(torch.from_numpy(w)) == pytest.approx(total)
    simplex = torch.eye(4, dtype=torch.float64) - 0.25
    assert transfer_score.unevenness(simplex) == pytest.approx(0.0, abs=1e-12)
    assert transfer_score.unevenness(torch.eye(2, dtype=torch.float64)) == pytest.approx((math.pi / 2) ** 2)


def test_hopkins_by_hand_and_between_uniform_and_clustered(monkeypatch: pytest.MonkeyPatch) -> None:
    g = torch.Generator().manual_seed(11)  # not the validator's own seed, which would draw these very points
    uniform = torch.rand(400, 2, generator=g)
    clustered = blobs(400)[0]
    for f in (uniform, clustered):
        draw = torch.Generator().manual_seed(0)
        low, high = f.min(0).values, f.max(0).values
        points = low + (high - low) * torch.rand(20, 2, generator=draw)
        rows = torch.randperm(400, generator=draw)[:20].tolist()
        u = sum(min(float((p - q).norm()) for q in f) for p in points)
        w = sum(min(float((f[i] - f[j]).norm()) for j in range(400) if j != i) for i in rows)
        assert transfer_score.hopkins(f) == pytest.approx(u / (u + w), rel=1e-5)
    monkeypatch.setattr(transfer_score, "CELLS", 1000)
    assert transfer_score.hopkins(f) == pytest.approx(u / (u + w), rel=1e-5)
    assert 0.35 < transfer_score.hopkins(uniform) < 0.65 < 0.85 < transfer_score.hopkins(clustered)
    assert transfer_score.hopkins(torch.ones(30, 2)) == 0.0


def test_transfer_score_adds_its_parts() -> None:
    f, y = blobs()
    head = torch.tensor([[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9]], dtype=torch.float64)
    p = torch.softmax(3 * torch.nn.functional.one_hot(y, 3).double(), 1)
    m = p.mean(0)
    information = float(-(m * m.log()).sum() + (p * p.log()).sum(1).mean()) / math.log(3)
    expected = transfer_score.hopkins(f.double()) + information - transfer_score.unevenness(head)
    assert transfer_score.transfer_score(f.double(), p, head, 3) == pytest.approx(expected)
    collapsed = torch.softmax(torch.tensor([[9.0, 0.0, 0.0]]).double(), 1).expand(60, 3)
    worse = transfer_score.transfer_score(f.double(), collapsed, head, 3)
    assert worse is not None and worse < expected


def test_the_head_is_found_only_where_scores_are_linear_in_features() -> None:
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w, b, classes = torch.randn(4, 3).double(), torch.randn(3).double(), torch.arange(3)
    for kind in ("logits", "decision"):
        model = Pipeline((), None, LinearScores(w, b, classes, 3, kind))
        found = Evidence(model, seen(x, x, 3)).head
        assert found is not None and torch.equal(found, w.T)
    assert Evidence(Pipeline((), None, CentreScores(w.T, b, classes, 3)), seen(x, x, 3)).head is None
    square = torch.randn(4, 4).double()
    model = Pipeline((), None, LinearScores(square, torch.zeros(4).double(), torch.arange(4), 4, "decision"))
    found = Evidence(model, seen(x, x, 4)).head
    assert found is not None and torch.equal(found, square.T)


# -- groups -------------------------------------------------------------------------------------------------------


def candidate(
    scores: Tensor, trade_off: Any = None, last: bool = True, features: Tensor | None = None, n_classes: int = 3
) -> Candidate:
    xs = torch.randn(40, 2, generator=torch.Generator().manual_seed(9))
    given = seen(xs, torch.zeros(len(scores), 2), n_classes)
    hparams = {} if trade_off is None else {"trade_off": trade_off}
    return Candidate(lambda: Evidence(Fixed(scores, features), given), hparams, last)


def test_ensv_is_agreement_with_the_mean_prediction() -> None:
    g = torch.Generator().manual_seed(0)
    scores = [torch.randn(50, 3, generator=g) for _ in range(4)]
    group = [candidate(s) for s in scores]
    soft = [np.exp(s.double().numpy()) / np.exp(s.double().numpy()).sum(1, keepdims=True) for s in scores]
    ensemble = [int(np.argmax(sum(p[i] for p in soft))) for i in range(50)]
    expected = [sum(int(p[i].argmax()) == ensemble[i] for i in range(50)) / 50 for p in soft]
    assert VALIDATORS.get("ensv").of(group) == pytest.approx(expected)


def test_ensv_limits() -> None:
    g = torch.Generator().manual_seed(0)
    right, odd = torch.randn(50, 3, generator=g), torch.randn(50, 3, generator=g)
    ensv = VALIDATORS.get("ensv")
    assert ensv.of([candidate(right)]) == [1.0] and ensv.of([]) == []
    scores = ensv.of([candidate(right), candidate(right), candidate(right), candidate(odd)])
    assert scores[0] == scores[1] == scores[2] and scores[3] is not None and scores[0] is not None
    assert scores[0] > scores[3]
    assert ensv.of([candidate(right[:, :1], n_classes=0)] * 2) == [None, None]


def test_balancing_by_hand() -> None:
    labels = [torch.tensor(v) for v in ([0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1])]
    distances = [1.0, 0.4, 0.2, 0.02]
    # allowed: 8 D_i = 3.2, 1.6, 0.16; largest disagreement: 1/4, 1/2, 1
    assert bp.balanced(labels, distances) == pytest.approx([0.0, 1.0, 2.0, -1.0 - (1.0 - 0.16)])
    assert bp.balanced(labels[:1] * 3, [0.0, 0.0, 0.0]) == [0.0, 1.0, 2.0]


def test_balancing_orders_by_trade_off_and_leaves_earlier_checkpoints_out() -> None:
    g = torch.Generator().manual_seed(0)
    near, far = torch.randn(40, 2, generator=g), 5 + torch.randn(40, 2, generator=g)
    a, b = torch.randn(40, 3, generator=g), torch.randn(40, 3, generator=g)
    principle = VALIDATORS.get("balancing_principle")
    group = [
        candidate(a, 1.0, features=far),
        candidate(b, 1.0, last=False, features=far),
        candidate(a, 0.1, features=far),
        candidate(b, 10.0, features=near),
    ]
    scores = principle.of(group)
    assert scores[:3] == [1.0, None, 0.0]
    assert scores[3] is not None and scores[3] < 0, "no distance is left, and the model differs from the weaker ones"
    assert principle.of([candidate(a, features=far)] * 2) == [None, None]
    assert principle.of([candidate(a, 1.0, features=far), candidate(b, 1.0, features=far)]) == [None, None]
    assert principle.of([candidate(a, 1.0), candidate(b, 2.0)]) == [None, None], "no features"
