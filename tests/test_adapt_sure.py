"""No answer where it would be wrong too often, and sets that hold the right class: coverage under shifts."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import dazoo
from dazoo.adaptation import run
from dazoo.adaptation.calibrated import Calibrated, calibration, confidence_of
from dazoo.adaptation.portfolio import Choice
from dazoo.cli.commands import app
from dazoo.core.errors import DazooError
from dazoo.core.types import Prediction, Predictor
from dazoo.engine.confidence import Confidence, density_ratio
from dazoo.ops.conformal import answer_from, prediction_sets, weighted_quantile
from tests.test_adapt import frame, hasty

F = torch.float64
N = 4000


def drawn(centre: float, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Samples (N, 2), probabilities (N, 2) and labels: the larger the first number, the less certain the label is.

    The probabilities know nothing of that, so that they are too sure where the target (``centre`` above 0) lies.
    """
    gen = torch.Generator().manual_seed(seed)
    x = torch.randn(N, 2, generator=gen, dtype=F)
    x[:, 0] += centre
    scores = 3 * torch.stack([x[:, 1], -x[:, 1]], 1)
    y = torch.multinomial((scores * torch.exp(-x[:, :1])).softmax(1), 1, generator=gen)[:, 0]
    return x, scores.softmax(1), y


@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_sets_under_covariate_shift_hold_the_right_class_as_often_as_asked(alpha: float) -> None:
    """And those without weights do not."""
    (x, held, y), (xt, probs, yt) = drawn(0.0, 0), drawn(1.0, 1)
    ratio, w = density_ratio(x, drawn(1.0, 2)[0])
    assert float(w.mean()) == pytest.approx(1) and float((w * x[:, 0]).mean()) == pytest.approx(1, abs=0.1)
    covered = []
    for known in (Confidence(held, y, w, ratio), Confidence(held, y, torch.ones(N))):
        sets = known.sets(Prediction(probs.log()), xt, alpha)
        covered.append(float(sets[torch.arange(N), yt].double().mean()))
        assert bool(sets.any(1).all()) and not bool(sets.all())
    assert covered[0] >= 1 - alpha - 0.01 > covered[1] + 0.05


def test_sets_under_label_shift_hold_the_right_class_as_often_as_asked() -> None:
    gen = torch.Generator().manual_seed(0)

    def of(shares: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.multinomial(torch.tensor(shares), N, replacement=True, generator=gen)
        x = torch.tensor([0.0, 2.0, 3.0])[y] + torch.randn(N, generator=gen)
        return (-(x[:, None] - torch.tensor([0.0, 2.0, 3.0])).square() / 2).softmax(1), y

    (held, y), (probs, yt) = of([0.8, 0.1, 0.1]), of([0.1, 0.2, 0.7])
    shares = torch.tensor([0.1 / 0.8, 2.0, 7.0])
    for known, right in (
        (Confidence(held, y, shares[y], shares=shares), True),
        (Confidence(held, y, 0 * y + 1), False),
    ):
        sets = known.sets(Prediction(probs.log()), probs, 0.1)
        assert (float(sets[torch.arange(N), yt].double().mean()) >= 0.88) == right


def test_without_weights_the_quantile_is_that_of_split_conformal_prediction() -> None:
    scores = torch.rand(99, generator=torch.Generator().manual_seed(0), dtype=F)
    one = torch.ones(99, dtype=F)
    for level in (0.5, 0.9, 0.95):
        rank = int(np.ceil(round(100 * level, 9)))
        assert float(weighted_quantile(scores, one, torch.ones(1), level)) == float(scores.sort().values[rank - 1])
    assert weighted_quantile(scores, one, torch.tensor([[1e9]]), 0.9).tolist() == [[float("inf")]]
    w = torch.rand(99, generator=torch.Generator().manual_seed(1), dtype=F)
    found = weighted_quantile(scores, w, torch.tensor([0.3]), 0.8)
    below = [float(w[scores <= s].sum()) >= 0.8 * float(w.sum() + 0.3) for s in scores]
    assert float(found) == float(scores[torch.tensor(below)].min())


def test_sets_are_never_empty_and_a_class_that_nobody_knows_is_in_none() -> None:
    held = torch.eye(2, dtype=F).repeat(50, 1) * 0.98 + 0.01
    y = torch.arange(100) % 2
    probs = torch.tensor([[0.6, 0.4], [0.99, 0.01]], dtype=F)
    one = torch.ones(2, 2)
    assert prediction_sets(probs, held, y, torch.ones(100), one, 0.1).tolist() == [[True, False], [True, False]]
    y[:20] = -1
    assert prediction_sets(probs, held, y, torch.ones(100), one, 0.1).all()


def test_answers_that_are_kept_are_right_as_often_as_asked() -> None:
    (x, held, y), (_, probs, yt) = drawn(0.0, 0), drawn(1.0, 1)
    ratio, w = density_ratio(x, drawn(1.0, 2)[0])
    known, out = Confidence(held, y, w, ratio), Prediction(probs.log(), classes=("a", "b"))
    kept = []
    for accuracy in (0.8, 0.85):
        labels = known.abstaining(out, accuracy).labels
        answered = labels < 2
        kept.append(float(answered.double().mean()))
        assert float((labels == yt)[answered].double().mean()) >= accuracy - 0.02
    assert 1 > kept[0] > kept[1] > 0.1
    never = known.abstaining(out, 0.999)
    assert set(never.names) == {"unknown"} and never.threshold == -1
    assert (never.scores == out.scores).all()


def test_the_least_probability_that_is_enough() -> None:
    top, right = torch.tensor([0.9, 0.5, 0.8, 0.8, 0.7]), torch.tensor([1, 0, 1, 1, 1])
    one = torch.ones(5)
    assert answer_from(top, right, one, 0.75) == pytest.approx(0.7)  # 3 of 4 need 4 kept: 4 / 5 = 0.8
    assert answer_from(top, right, one, 0.66) == 0  # 4 / 6, of all
    assert answer_from(top, right, one, 0.81) == float("inf")
    assert answer_from(top, 1 - right, one, 0.5) == float("inf")
    lone = torch.tensor([1.0, 1e-9, 1e-9, 1e-9, 1e-9])  # one sample in effect: at best 1 / 2
    assert answer_from(top, one, lone, 0.45) == 0 and answer_from(top, one, lone, 0.55) == float("inf")
    tied = answer_from(torch.tensor([0.9, 0.8, 0.8]), torch.tensor([1, 1, 0]), one[:3], 0.6)
    assert tied == float("inf")  # 2 / 3 would do, but both samples of 0.8 are kept together: 2 / 4


def test_questions_that_make_no_sense() -> None:
    known, out = (
        Confidence(torch.full((9, 2), 0.5), torch.zeros(9).long(), torch.ones(9)),
        Prediction(torch.zeros(3, 2)),
    )
    with pytest.raises(DazooError, match="share of answers"):
        known.abstaining(out, 1.5)
    with pytest.raises(DazooError, match="rule"):
        known.abstaining(dataclasses.replace(out, unknown=torch.zeros(3)), 0.9)
    with pytest.raises(DazooError, match="alpha"):
        known.sets(out, torch.zeros(3, 1), 0.0)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run, "portfolio", lambda found, setting: [Choice("coral", "none")])
    monkeypatch.setattr(run, "diagnose", hasty)
    monkeypatch.chdir(tmp_path)
    frame(200, 0.0, 0).to_csv("train.csv", index=False)
    frame(80, 0.7, 1).drop(columns="y").to_csv("new.csv", index=False)
    return tmp_path


def adapt(**options: object) -> run.Adaptation:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dazoo.adapt("train.csv", options.pop("target", "new.csv"), label="y", say=None, **options)


def test_models_know_their_errors_and_keep_that_in_their_files(place: Path) -> None:
    made = adapt(out="model")
    new = pd.read_csv("new.csv")
    done = CliRunner().invoke(
        app, ["predict", "model", "new.csv", "--out", "p.csv", "--abstain", "0.9", "--conformal", "0.1"]
    )
    assert done.exit_code == 0, done.output
    assert " rows" in done.output and "sets:" in done.output
    table = pd.read_csv("p.csv")
    loaded = dazoo.load("model/model.safetensors")
    assert list(table.prediction) == list(loaded.predict(new, abstain=0.9).names)
    assert list(table["set"].str.split(" | ", regex=False)) == [list(s) for s in loaded.predict_set(new, alpha=0.1)]
    assert loaded.predict_set(new) == made.model.predict_set(new)
    told = json.loads(Path("model/adapt.json").read_text())["calibration"]
    assert set(told) == {"temperature", "before", "after"} and told["after"] == made.expected.error
    older = dataclasses.replace(loaded, confidence=None)
    for ask in (lambda: older.predict(new, abstain=0.9), lambda: older.predict_set(new)):
        with pytest.raises(DazooError, match=r"dazoo\.fit, by an older version"):
            ask()


def test_labelled_target_rows_take_the_place_of_held_out_source_rows(place: Path) -> None:
    few = frame(80, 0.7, 1)
    known = adapt(target=few.assign(y=few.y.where(few.index < 40))).model.confidence
    assert known.origin == "labelled target rows" and len(known.y) == 40 and known.ratio is None
    assert adapt(target=few.assign(y=few.y.where(few.index < 9))).model.confidence.ratio is not None


class Scores(Predictor):
    """Answers with its samples."""

    def predict(self, x: torch.Tensor) -> Prediction:
        return Prediction(x)


def test_calibration_is_told_without_and_with_the_temperature() -> None:
    gen = torch.Generator().manual_seed(0)
    logits = torch.randn(2000, 3, generator=gen, dtype=F)
    y = torch.multinomial(logits.softmax(1), 1, generator=gen)[:, 0]
    found = calibration(Calibrated(Scores(), 4.0), logits.softmax(1), y, torch.ones(2000))
    assert found["temperature"] == 4 and found["after"] < 0.04 < 0.2 < found["before"]
    assert calibration(Scores(), logits.softmax(1), y, torch.ones(2000)) == {}
    task = dazoo.Task.from_arrays(logits[:20], y[:20], logits[20:60], source_holdout=0.2)
    assert confidence_of(Scores(), task.seen(), task.seen(), None, None, 0) is None  # four rows tell nothing
