"""Validators: values by hand, needs by argument name, laziness, undefined stays undefined."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Prediction, Predictor, Seen, Unlabeled
from dazoo.validators.base import NAMES, VALIDATORS, Candidate, Evidence, Validator, register_validator, score_all


@dataclass(frozen=True)
class Table(Predictor):
    """Looks its scores up: the samples are row numbers."""

    scores: Tensor

    def predict(self, x: Tensor) -> Prediction:
        return Prediction(self.scores[x[:, 0].long()])


def seen(n_classes: int = 2, val: bool = True, n: int = 4) -> Seen:
    x = torch.arange(n, dtype=torch.float32)[:, None]
    y = torch.arange(n) % 2
    part = Labeled(x, y.float() if n_classes == 0 else y, torch.zeros(n, dtype=torch.int64))
    return Seen(part, Unlabeled(x), None, n_classes, "vector", UNSUPERVISED, part if val else None)


def test_values_by_hand() -> None:
    probs = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [1.0, 0.0]], dtype=torch.float64)
    evidence = Evidence(Table(probs.log()), seen())
    scores, warnings = score_all(["source_validation", "entropy", "info_max"], evidence)
    h = [-sum(p * math.log(p) for p in row if p > 0) for row in probs.tolist()]
    mean = probs.mean(0).tolist()
    assert not warnings
    assert scores["source_validation"] == pytest.approx(0.75)  # predicts 0, 1, 0, 0 where 0, 1, 0, 1 is true
    assert scores["entropy"] == pytest.approx(-sum(h) / 4)
    assert scores["info_max"] == pytest.approx(-sum(p * math.log(p) for p in mean) - sum(h) / 4)


def test_regression_has_a_squared_error_and_no_entropy() -> None:
    evidence = Evidence(Table(torch.tensor([[0.0], [2.0], [0.0], [1.0]])), seen(n_classes=0))
    scores, _ = score_all(["source_validation", "entropy", "info_max"], evidence)
    assert scores == {"source_validation": pytest.approx(-0.25), "entropy": None, "info_max": None}


def test_nothing_held_out_is_undefined_not_zero() -> None:
    scores, _ = score_all(["source_validation"], Evidence(Table(torch.eye(4)[:, :2]), seen(val=False)))
    assert scores == {"source_validation": None}


def test_only_what_is_asked_for_is_computed() -> None:
    evidence = Evidence(Table(torch.randn(4, 2)), seen())
    score_all(["entropy", "info_max"], evidence)
    assert "target" in vars(evidence)
    assert "source" not in vars(evidence) and "source_val" not in vars(evidence)


def test_a_failing_or_non_finite_validator_is_none_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(target_probs: Tensor) -> float:
        raise ValueError("no")

    monkeypatch.setitem(VALIDATORS._items, "broken", Validator("broken", broken, ("target_probs",)))
    monkeypatch.setitem(VALIDATORS._items, "nan", Validator("nan", lambda n_classes: math.nan, ("n_classes",)))
    scores, warnings = score_all(["broken", "nan", "entropy"], Evidence(Table(torch.randn(4, 2)), seen()))
    assert scores["broken"] is None and scores["nan"] is None and scores["entropy"] is not None
    assert warnings == ["validator broken failed: ValueError: no"]


def test_unknown_evidence_names_the_nearest() -> None:
    with pytest.raises(DazooError, match="'target_prob', which is no evidence: did you mean 'target_probs'"):

        @register_validator()
        def bad(target_prob: Tensor) -> float:
            return 0.0


def test_evidence_offers_no_hidden_label() -> None:
    assert not {n for n in NAMES if n.startswith("target") and "label" in n}


@pytest.mark.parametrize("name", VALIDATORS.names())
def test_every_registered_validator_is_documented_and_runs(name: str) -> None:
    validator = VALIDATORS.get(name)
    assert validator.description
    generator = torch.Generator().manual_seed(0)
    evidence = Evidence(Table(torch.randn(40, 3, generator=generator)), seen(3, n=40))
    values = validator.of([Candidate(lambda: evidence, {})]) if validator.of_group else [validator(evidence)]
    assert all(v is None or math.isfinite(v) for v in values) and len(values) == 1


def test_a_validator_of_groups_scores_no_single_model() -> None:
    evidence = Evidence(Table(torch.randn(4, 2)), seen())
    with pytest.raises(DazooError, match="'ensv' compares all runs of a suite; it cannot score a single model"):
        VALIDATORS.get("ensv")(evidence)
    assert score_all(["ensv", "entropy"], evidence)[0].keys() == {"entropy"}


def test_held_out_source_rows_are_preferred() -> None:
    scores = torch.randn(8, 2)
    held, whole = seen(n=8), seen(n=8, val=False)
    part = held.source_val
    assert part is not None
    held = replace(held, source_val=Labeled(part.x[:3], part.y[:3], part.domain[:3]))

    @dataclass(frozen=True)
    class Featured(Predictor):
        def predict(self, x: Tensor) -> Prediction:
            return Prediction(scores[x[:, 0].long()], x)

    for given, n in ((held, 3), (whole, 8)):
        evidence = Evidence(Featured(), given)
        features, labels = evidence.held_out_features, evidence.held_out_labels
        assert features is not None and labels is not None and len(features) == len(labels) == n
