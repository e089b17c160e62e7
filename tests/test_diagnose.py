"""Diagnosis before training: planted shifts are named, clean tasks are not accused, hidden labels play no part."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

import dazoo
from dazoo.core.errors import DazooError
from dazoo.core.setting import FEW_LABELS, MULTI_SOURCE
from dazoo.data.task import Task
from dazoo.diagnosis import diagnose
from dazoo.diagnosis.advice import LEVEL, TESTS
from dazoo.diagnosis.classes import judge, proportions, separability, skill_of
from dazoo.diagnosis.domains import classifier_test, mmd_test, wasserstein
from dazoo.diagnosis.scores import logme
from dazoo.methods.base import METHODS
from dazoo.ops.adistance import a_distance
from dazoo.ops.mmd import mmd
from tests.test_cli import dazoo as command

NOISE = np.random.default_rng(0).random((20, 2))
IMAGES = np.zeros((20, 8, 8, 1), np.uint8)
EQUAL, SKEWED = (1 / 3, 1 / 3, 1 / 3), (0.1, 0.2, 0.7)


def blobs(n: int, share: tuple[float, ...], rng: np.random.Generator, gap: float = 3.0, d: int = 4):
    """Three Gaussian classes on the corners of a simplex."""
    y = rng.choice(3, n, p=share)
    return np.eye(3, d)[y] * gap + rng.standard_normal((n, d)), y


def task(seed: int = 0, n: int = 300, share=EQUAL, move: float = 0.0, gap: float = 3.0, **fields) -> Task:
    rng = np.random.default_rng(seed)
    (xs, ys), (xt, yt) = blobs(n, EQUAL, rng, gap), blobs(n, share, rng, gap)
    return Task.from_arrays(xs, ys, xt + move, yt, **fields)


def said(found, verdict: str) -> set[str]:
    return {f for a in found.advice if a.verdict == verdict for f in a.families}


# -- planted cases ------------------------------------------------------------------------------------------------


def test_a_label_shifted_task_is_named_so_and_its_shares_are_found():
    found = diagnose(task(share=SKEWED))
    assert found.kind == "labels" and found.labels.p < LEVEL / TESTS and found.labels.rest_p > LEVEL
    np.testing.assert_allclose(found.labels.target, SKEWED, atol=0.08)
    assert all(low < q < high for low, q, high in zip(found.labels.low, SKEWED, found.labels.high))
    assert said(found, "should help") == {"reweighting"} and "adversarial" in said(found, "beware")
    assert "bbse" in found.advice[0].methods and "class proportions differ" in found.advice[0].because


def test_moved_features_call_for_alignment():
    found = diagnose(task(move=0.6))
    assert found.kind in ("features", "both") and found.domains.a_p < 1e-6 and found.domains.mmd_p < 0.01
    assert "subspace" in said(found, "should help") | said(found, "may help")
    far = diagnose(task(move=5.0))
    assert far.domains.a_distance > 1.9 and far.domains.overlap < 0.1
    assert "reweighting" in said(far, "little to gain") and "selftraining" in said(far, "beware")


def test_rotated_features_with_equal_proportions_are_a_shift_of_features_only():
    """Noise that grows along a direction without class information: proportions stay as they are."""
    rng = np.random.default_rng(1)
    (xs, ys), (xt, yt) = blobs(300, EQUAL, rng), blobs(300, EQUAL, rng)
    xt[:, 3] += 2.0
    found = diagnose(Task.from_arrays(xs, ys, xt, yt))
    assert found.kind == "features" and "class proportions look equal" in found.advice[0].because


def test_classes_that_cannot_be_told_apart_come_first():
    found = diagnose(task(gap=0.2))
    assert found.skill < 0.5 and found.advice[0].verdict == "first" and "separable" in found.advice[0].because
    good = diagnose(task(gap=8.0))
    assert good.skill > 0.95 and all(c.recall > 0.95 and c.precision > 0.95 for c in good.classes)


def test_skill_does_not_punish_rare_classes():
    """Balanced error of two Gaussians 2 apart is Phi(-1), however rare one of them is."""
    rng = np.random.default_rng(0)
    y = (np.arange(2000) % 10 == 0).astype(int)
    x = rng.standard_normal((2000, 1)) + 2.0 * y[:, None]
    judged = judge(x, y, x[:10], 2, rng, None)
    assert skill_of(judged, y) == pytest.approx(2 * 0.8413 - 1, abs=0.06)
    assert separability(judged, y, ("a", "b"))[1].recall < 0.6  # the plain predictions do lean to the frequent class


def test_equal_domains_raise_few_alarms():
    """A shift counts from 0.05 / 3 in any of three tests, so at most 5 % of clean tasks may be accused on average."""
    alarms = [diagnose(task(seed=s, n=60)).kind != "none" for s in range(15)]
    assert sum(alarms) <= 4  # P(more than 4 of 15 at 5 %) is 0.06 %; results/diagnosis has the measured rate
    quiet = diagnose(task(seed=0))
    assert quiet.kind == "none" and said(quiet, "little to gain") == {"baseline"}


# -- the parts ----------------------------------------------------------------------------------------------------


def test_mmd_is_the_unbiased_one_and_its_p_value_that_of_all_permutations():
    rng = np.random.default_rng(0)
    xs, xt = torch.from_numpy(rng.standard_normal((30, 3))), torch.from_numpy(rng.standard_normal((20, 3)) + 0.3)
    value, p = mmd_test(xs, xt, rng, permutations=200)
    both = torch.cat([xs, xt])
    sq = (both[:, None] - both).square().sum(2)
    kernel = torch.exp(-sq / (2 * torch.pdist(both).median() ** 2))
    assert value == pytest.approx(float(mmd(xs, xt, lambda _: kernel, unbiased=True)), abs=1e-12)
    deals = [torch.from_numpy(rng.permutation(50)) for _ in range(400)]
    above = [
        float(mmd(both[r[:30]], both[r[30:]], lambda _, r=r: kernel[r][:, r], unbiased=True)) >= value for r in deals
    ]
    assert p == pytest.approx(np.mean(above), abs=0.08)


def test_mmd_in_blocks_is_mmd(monkeypatch):
    rng = np.random.default_rng(0)
    xs, xt = torch.from_numpy(rng.standard_normal((50, 3))), torch.from_numpy(rng.standard_normal((33, 3)))
    whole = mmd_test(xs, xt, np.random.default_rng(1))
    monkeypatch.setattr("dazoo.diagnosis.domains.BLOCK", 7)
    assert mmd_test(xs, xt, np.random.default_rng(1)) == pytest.approx(whole, abs=1e-12)


def test_a_distance_and_wasserstein():
    rng = np.random.default_rng(0)
    xs, xt = torch.from_numpy(rng.standard_normal((200, 1))), torch.from_numpy(rng.standard_normal((200, 1)) + 3.0)
    distance, p, _ = classifier_test(xs, xt)
    assert distance == a_distance(xs, xt) and p < 1e-10
    # in one dimension: the mean distance over the pooled deviation, 3 / sqrt(1 + 9 / 4)
    value, chance = wasserstein(xs, xt, rng)
    assert value == pytest.approx(3 / (1 + 9 / 4) ** 0.5, abs=0.1) and chance < 0.2
    assert classifier_test(xs[:100], xs[100:])[1] > 0.01


def test_proportions_are_the_most_likely_ones():
    counts = np.array([[80.0, 10.0], [20.0, 90.0]])
    q = proportions(counts, np.array([31.0, 69.0]), np.array([0.5, 0.5]))
    assert q[0] == pytest.approx((0.31 - 0.1) / 0.7, abs=1e-5)  # inside the simplex: the solved linear system
    outside = proportions(counts, np.array([99.0, 1.0]), np.array([0.5, 0.5]))
    np.testing.assert_allclose(outside, [1.0, 0.0], atol=1e-6)


def test_scores_are_those_of_ops_and_use_labelled_target_samples_where_there_are_any():
    plain = task()
    found = diagnose(plain)
    rows = plain.seen().source
    assert set(found.scores) == {"h_score", "regularized_h_score", "leep", "nce", "logme", "transrate"}
    assert found.scores["logme"] == pytest.approx(logme(rows.x, rows.y), rel=1e-6)
    assert found.scores["nce"] <= 0 and found.scored_on.startswith("the source")
    few = diagnose(plain.change(setting=FEW_LABELS, few_per_class=5))
    assert few.scored_on == "the labelled target samples" and "finetune" in said(few, "should help")


# -- the contract -------------------------------------------------------------------------------------------------


def test_hidden_labels_play_no_part():
    first = task(share=SKEWED)
    y = first.target.y[torch.randperm(len(first.target.y), generator=torch.Generator().manual_seed(0))]
    other = first.change(target=dataclasses.replace(first.target, y=y))
    a, b = (json.dumps({**diagnose(t).to_json(), "seconds": 0}) for t in (first, other))
    assert a == b


def test_the_advice_names_methods_and_families_of_the_registry():
    families = {METHODS.get(n).family for n in METHODS.names()}
    cases = [task(), task(share=SKEWED), task(move=0.6), task(move=5.0), task(gap=0.2), task(n=12)]
    cases.append(task().change(setting=FEW_LABELS, few_per_class=2))
    several = Task.from_arrays([NOISE[:20]] * 2, [np.arange(20) % 2] * 2, NOISE[:20])
    cases.append(several.change(setting=MULTI_SOURCE))
    seen = [a for t in cases for a in diagnose(t).advice]
    assert {f for a in seen for f in a.families} <= families
    for name in {m for a in seen for m in a.methods}:
        owners = {f for a in seen if name in a.methods for f in a.families}
        assert METHODS.get(name).family in owners, name
    assert {a.verdict for a in seen} == {"first", "should help", "may help", "little to gain", "beware"}


def test_several_sources_are_ranked():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 2))
    y = (x[:, 0] > 0).astype(int)
    found = diagnose(Task.from_arrays([x + 4, x], [y, y], rng.standard_normal((120, 2)), setting=MULTI_SOURCE))
    assert [name for name, _ in found.sources] == ["source1", "source0"]
    assert found.sources[0][1] < 0.5 < 1.9 < found.sources[1][1]


def test_regression_has_what_is_defined_for_it():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3))
    found = diagnose(Task.from_arrays(x, x @ [1.0, 2.0, 3.0], x + np.array([2.0, 0, 0])))
    assert found.kind == "features" and found.r2 > 0.99 and found.labels is None and list(found.scores) == ["logme"]


def test_subsamples_and_wide_features_are_stated():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 300))
    found = diagnose(Task.from_arrays(x, np.arange(80) % 2, x[:40] + 1), limit=50)
    assert (found.used_source, found.used_target, found.n_source) == (50, 40, 80)
    assert any("50 of 80 source" in n for n in found.notes) and any("principal components" in n for n in found.notes)
    assert any("40 samples in 300 dimensions" in a.because for a in found.advice)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Task.from_arrays(IMAGES, np.arange(20) % 2, IMAGES), "name a backbone"),
        (lambda: Task.from_arrays(NOISE[:5], [0, 1, 0, 1, 0], NOISE[:20]), "5 source samples"),
        (lambda: Task.from_arrays(NOISE[:20], np.arange(20) % 2, NOISE[:3]), "3 target samples"),
        (lambda: Task.from_arrays(np.ones((20, 2)), np.arange(20) % 2, np.ones((20, 2))), "no feature varies"),
        (lambda: Task.from_arrays(NOISE[:12], np.arange(12), NOISE), "one source sample per class"),
    ],
)  # fmt: skip
def test_what_cannot_be_diagnosed_is_said_in_one_sentence(make, words):
    with pytest.raises(DazooError, match=words):
        diagnose(make())


def test_images_through_a_backbone():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (40, 8, 8, 1), dtype=np.uint8)
    found = dazoo.diagnose(Task.from_arrays(x, np.arange(40) % 2, x[:30] // 2), backbone="none", limit=30)
    assert found.dims == 64 and found.kind != "none"


# -- the command --------------------------------------------------------------------------------------------------


def test_the_command_prints_tables_and_json():
    text = command("diagnose", "shifts/label_source->label_target", "-o", "n=200").stdout
    for words in ("A-distance", "class proportions", "taken for", "LogME", "What to try", "without any target label"):
        assert words in text
    assert "class proportions differ, and explain the difference" in text
    found = json.loads(command("diagnose", "shifts/covariate_source->covariate_target", "-o", "n=200", "--json").stdout)
    assert found["kind"] in ("features", "both") and found["n_source"] == 200 and 0 < found["domains"]["a_p"] < 0.01
    text = command("diagnose", "shifts_regression/source->target", "--transform", "zscore").stdout
    assert "R² on the source" in text and "taken for" not in text


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("shifts/label_source->label_target", "-o", "m=3"), "no option 'm'"),
        (("shifts/label_source->label_target", "-o", "n"), "NAME=VALUE"),
        (("shifts/label_source->label_target", "--setting", "few_label"), "did you mean 'few_labels'"),
        (("shifts/label_source->label_targe",), "did you mean 'label_target'"),
        (("digits/upright->noisy", "-o", "kind=image"), "name a backbone"),
        (("digits/upright->noisy", "-o", "kind=image", "--backbone", "cnn"), "no pretrained weights"),
        (("shifts/label_source->label_target", "--limit", "5"), "at least 10"),
    ],
)
def test_mistakes_end_in_one_message(args, words):
    done = command("diagnose", *args, ok=False)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
