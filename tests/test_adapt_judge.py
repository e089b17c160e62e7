"""Choosing without target labels: votes, vetoes, doubt; temperatures; what accuracy to expect."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dazoo.adaptation.calibrated import LEFT, Calibrated, calibration_error, effective, temperature, weights
from dazoo.adaptation.expected import SPREAD, expected, to_label
from dazoo.adaptation.judge import AGREE, KNOWING, Facts, Trial, clusters_of, judge, veto, weight_of
from dazoo.adaptation.portfolio import BASELINE, MOST, advised, portfolio
from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Prediction, Predictor
from dazoo.data.registry import load_task
from dazoo.diagnosis import diagnose
from dazoo.encoders.image_features import ImageFeatures

Y = torch.arange(200) % 4
HELD = torch.arange(80) % 4


def trial(name: str, wrong: int, *, held: int = 0, sure: float = 0.9, method: str = "coral", **fields) -> Trial:
    """A candidate that errs on the first ``wrong`` of the target rows and ``held`` of the source's, at random."""

    def probs(y: torch.Tensor, k: int) -> torch.Tensor:
        said = y.clone()
        said[:k] = torch.randint(4, (k,), generator=torch.Generator().manual_seed(len(name)))
        return torch.nn.functional.one_hot(said, 4) * (sure - (1 - sure) / 3) + (1 - sure) / 3

    return Trial(name, method, "none", 1.0, "", probs(Y, wrong).double(), probs(HELD, held).double(), **fields)


FACTS = Facts(HELD, (Y.numpy(),))


def test_clusters_that_agree_replace_the_model_of_the_source() -> None:
    trials = [trial("source_only", 90, sure=0.7), trial("better", 10), trial("alike", 12)]
    verdict = judge(trials, FACTS)
    assert verdict.chosen == 1 and verdict.members == ("clusters", "corr_c", "consensus")
    assert verdict.holds["clusters"] >= 0.9 and "clusters in 100 %" in verdict.why[0]
    clusters, _, consensus = (verdict.scores[m][1] for m in verdict.members)
    assert verdict.totals[1] == pytest.approx(clusters + AGREE * consensus)


def test_confidence_and_agreement_alone_keep_the_model_of_the_source() -> None:
    """More confident and agreed upon, but against the target's own clusters."""
    other = torch.roll(Y, 7)[torch.randperm(200, generator=torch.Generator().manual_seed(0))]
    sure = torch.nn.functional.one_hot(other, 4).double()
    trials = [trial("source_only", 60, sure=0.7), *(Trial(n, "coral", "none", 1.0, "", sure, None) for n in "ab")]
    assert judge(trials, FACTS).chosen == 0


def test_clusters_alone_keep_the_model_of_the_source() -> None:
    """It names the clusters, but is less sure than the source's model, and hardly any other agrees."""
    named = trial("named", 0, sure=0.4)
    trials = [trial("source_only", 60, sure=0.99), named, trial("a", 58, sure=0.99), trial("b", 58, sure=0.99)]
    trials += [trial(n * 4, 60, sure=0.99) for n in "cd"]
    wrong = Trial("n", "coral", "none", 1.0, "", named.probs.roll(1, 1), None)  # type: ignore[union-attr]
    verdict = judge([trials[0], wrong, *trials[2:]], FACTS)
    assert verdict.chosen == 0 and "corr_c and consensus are against it" in verdict.why[0]


def test_clusters_that_know_no_classes_decide_nothing() -> None:
    gen = torch.Generator().manual_seed(0)
    vague = torch.where(torch.rand(200, generator=gen) < 0.2, Y, torch.randint(4, (200,), generator=gen)).numpy()
    trials = [trial("source_only", 90, sure=0.7), trial("better", 10), trial("alike", 12)]
    verdict = judge(trials, Facts(HELD, (vague,)))
    assert 0.02 < max(verdict.scores["clusters"]) < KNOWING and verdict.chosen == 0


def test_a_lead_by_chance_keeps_the_model_of_the_source() -> None:
    trials = [trial("source_only", 40), trial("a", 39), trial("b", 41)]
    verdict = judge(trials, FACTS)
    assert verdict.chosen == 0


@pytest.mark.parametrize(
    ("candidate", "says"),
    [
        (Trial("c", "coral", "none", 1.0, "", torch.tensor([[1.0, 0, 0, 0]]).double().repeat(200, 1)), "collapsed"),
        (trial("d", 0, findings=({"kind": "blind discriminator", "text": "says nothing"},)), "blind discriminator"),
        (trial("e", 0, method="kmm", warnings=("kmm: 80 samples weigh no more than 2 equal ones",)), "in doubt"),
        (trial("f", 0, held=60), "points on held-out"),
        (trial("g", 0), ""),
    ],
)
def test_vetoes(candidate: Trial, says: str) -> None:
    found = veto(candidate, trial("source_only", 30), HELD)
    assert says in found and bool(says) == bool(found)


def test_labelled_rows_count_by_their_number() -> None:
    trials = [trial("source_only", 90, sure=0.7), trial("better", 10), trial("alike", 12)]
    rows = np.arange(0, 60)
    verdict = judge(trials, Facts(HELD, (Y.numpy(),), (rows, Y.numpy()[rows])))
    assert verdict.chosen == 1 and verdict.holds["labelled rows"] == 1
    against = judge(trials, Facts(HELD, (Y.numpy(),), (rows, trials[0].labels.numpy()[:60])))
    assert against.chosen == 0 and "disagree" in against.why[0]
    facts = Facts(HELD, (Y.numpy(),), (rows[:15], Y.numpy()[:15]))
    assert weight_of("labelled rows", facts) == 0.5 and weight_of("corr_c", facts) == 0


def test_clusters_are_as_many_as_classes_and_more() -> None:
    x = torch.randn(300, 80, generator=torch.Generator().manual_seed(0))
    found = clusters_of(x, 3)
    assert [len(set(c.tolist())) for c in found] == [3, 6, 12]
    assert [len(set(c.tolist())) for c in clusters_of(x[:12], 3)] == [3, 4]


def test_nothing_but_the_source_and_failures() -> None:
    verdict = judge([trial("source_only", 9), Trial("x", "coral", "none", 0.1, "it failed")], FACTS)
    assert verdict.chosen == 0 and "nothing else" in verdict.why[0]


def test_the_portfolio_is_what_the_diagnosis_advises() -> None:
    none = portfolio(None, UNSUPERVISED)
    assert {c.method for c in none} == {BASELINE} and len(none) == 3
    task = load_task("shifts/label_source->label_target")
    found = diagnose(task)
    methods = advised(found, task.setting)
    assert methods and len(methods) <= MOST and BASELINE not in methods
    warned = {m for a in found.advice if a.verdict == "beware" for m in a.methods}
    plan = portfolio(found, task.setting)
    assert not warned & set(methods) and len(plan) == 3 * (1 + len(methods)) and plan[0].name == BASELINE


class Scores(Predictor):
    """Answers with its samples."""

    def predict(self, x: torch.Tensor) -> Prediction:
        return Prediction(x)


def test_a_temperature_makes_confidence_accuracy() -> None:
    gen = torch.Generator().manual_seed(0)
    logits = torch.randn(3000, 3, generator=gen, dtype=torch.float64)
    y = _drawn(logits, gen)
    t = temperature(5 * logits, y, torch.ones(3000, dtype=torch.float64))
    assert t == pytest.approx(5, rel=0.12)
    before = calibration_error((5 * logits).softmax(1), y, torch.ones(3000))
    after = calibration_error(Calibrated(Scores(), t).predict(5 * logits).probs, y, torch.ones(3000))
    assert after < 0.03 < before


def _drawn(logits: torch.Tensor, gen: torch.Generator) -> torch.Tensor:
    return torch.multinomial(logits.softmax(1), 1, generator=gen)[:, 0]


def test_weights_are_those_of_the_target() -> None:
    gen = torch.Generator().manual_seed(0)
    source, target = torch.randn(4000, 1, generator=gen), torch.randn(4000, 1, generator=gen) + 0.5
    w = weights(source, target)
    assert float(w.mean()) == pytest.approx(1) and 1 < effective(w) < 4000
    assert float((w * source[:, 0]).mean()) == pytest.approx(0.5, abs=0.06)


def test_weights_of_domains_apart_are_flattened() -> None:
    gen = torch.Generator().manual_seed(0)
    w = weights(torch.randn(500, 3, generator=gen), torch.randn(500, 3, generator=gen) + 4)
    assert effective(w) == pytest.approx(LEFT * 500, rel=1e-3) and float(w.mean()) == pytest.approx(1)


def test_what_to_expect_is_the_least_of_its_parts_and_a_guess_is_called_so() -> None:
    best, other = trial("best", 20, held=8), trial("other", 30, method="sa")
    w = torch.ones(80, dtype=torch.float64)
    found = expected(best, [best, other], HELD, w, distance=0.0)
    assert len(found.parts) == 2 and found.value == min(found.parts.values())
    assert found.low < found.value < found.high and "guess" not in found.sure
    apart = expected(best, [best, other], HELD, w)
    assert apart.value == found.value and "guess" in apart.sure
    assert found.low - apart.low == pytest.approx(SPREAD)
    rows = np.arange(50)
    measured = expected(best, [best], HELD, w, (rows, Y.numpy()[rows]))
    assert measured.value == float((best.labels[:50] == Y[:50]).double().mean()) and "measured" in measured.sure
    third = expected(best, [best, other], HELD, w, (rows[:10], Y.numpy()[:10]))
    share = float((best.labels[:10] == Y[:10]).double().mean())
    assert third.value == pytest.approx(2 / 3 * found.value + share / 3)


def test_rows_to_label_are_those_of_disagreement() -> None:
    trials = [trial("a", 0), trial("bb", 20), trial("ccc", 10)]
    rows = to_label(trials, 0, 5)
    assert all(r < 20 and e > 0 and len(v) > 1 for r, e, v in rows)


def test_pictures_as_pixels_through_an_encoder() -> None:
    x = torch.randint(0, 255, (6, 8, 8, 3), dtype=torch.uint8)
    made = ImageFeatures(backbone="none").fit(x, x)(x)
    assert made.shape == (6, 192) and made.dtype == torch.float32
