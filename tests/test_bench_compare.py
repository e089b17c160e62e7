"""Comparing two methods: hand-computed numbers, one sentence, and honest answers where nothing can be said."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dazoo.bench.analysis.compare import Comparison, compare, seed_spread
from dazoo.bench.records.store import Writer
from dazoo.bench.report.model import Report, load_report
from dazoo.bench.report.verdict import sentence
from dazoo.core.errors import DazooError
from tests.bench_tools import accuracies, write_run


def folder_of(path: Path, values: dict[str, dict[str, list[float]]]) -> Report:
    writer = Writer(path)
    for label, tasks in values.items():
        for task, numbers in tasks.items():
            for seed, value in enumerate(numbers):
                write_run(writer, label, f"toy/{task}->t", seed, target=accuracies(value))
    return load_report(path, "last")


def answer(made: Report, a: str, b: str) -> tuple[Comparison, str]:
    found = compare(made.board.cells, a, b, made.board.higher_is_better, made.percent)
    return found, sentence(made, found)


def test_one_task_is_the_paired_t_test(tmp_path: Path) -> None:
    a, b = [0.80, 0.84, 0.79, 0.83], [0.75, 0.82, 0.74, 0.80]
    found, text = answer(folder_of(tmp_path, {"a": {"x": a}, "b": {"x": b}}), "a", "b")
    want = stats.ttest_rel(a, b)
    low, high = want.confidence_interval(0.95)
    assert found.spread.p() == pytest.approx(want.pvalue)
    assert found.spread.interval() == pytest.approx((low, high))
    assert found.more_seeds == 0 and math.isnan(found.wilcoxon_p)
    assert text.startswith("a is ahead of b by 3.75 points of accuracy on average over 1 task: one task says nothing")
    assert f"a is ahead on average on this very task (95 % interval over seeds {100 * low:.2f} points to" in text
    assert "probability" not in text and "is better" not in text
    assert text.endswith("only more tasks can settle it for others.")


def test_tasks_decide_and_seeds_are_no_tasks(tmp_path: Path) -> None:
    """Six tasks that all say the same settle it; four that split two to two do not, however sure the seeds are."""
    rng = np.random.default_rng(0)

    def values(shifts: list[float]) -> dict[str, list[float]]:
        return {f"t{i}": list(0.5 + s + rng.normal(0, 0.002, 5)) for i, s in enumerate(shifts)}

    split = folder_of(tmp_path / "4", {"a": values([0.2, 0.1, -0.02, -0.03]), "b": values([0.0] * 4)})
    found, text = answer(split, "a", "b")
    assert found.spread.p() < 1e-6 and found.wilcoxon_p > 0.2 and not found.decided
    assert text.startswith("a is ahead of b, but not surely, by 6.") and "is better than" not in text
    assert "ahead on 2 and behind on 2 of them, Wilcoxon over tasks p = " in text
    assert "fewer than 6 tasks cannot show a difference" in text
    assert "seeds alone show that a is ahead on average on these very tasks" in text
    alike = folder_of(tmp_path / "6", {"a": values([0.02, 0.03, 0.04, 0.05, 0.06, 0.07]), "b": values([0.0] * 6)})
    found, text = answer(alike, "b", "a")
    assert found.decided and found.wilcoxon_p == pytest.approx(2 / 64)
    assert text.startswith("a is better than b by 4.") and "b is ahead on 0 and behind on 6 of them" in text
    five = folder_of(tmp_path / "5", {"a": values([0.02, 0.03, 0.04, 0.05, 0.06]), "b": values([0.0] * 5)})
    assert not answer(five, "a", "b")[0].decided


def test_a_mean_against_the_ranks_is_not_called_better(tmp_path: Path) -> None:
    """One task carries the mean, all others say the opposite."""
    made = folder_of(
        tmp_path,
        {
            "a": {f"t{i}": [v, v] for i, v in enumerate([0.9, *(0.5 - i / 1000 for i in range(1, 12))])},
            "b": {f"t{i}": [0.5, 0.5] for i in range(12)},
        },
    )
    found, text = answer(made, "a", "b")
    assert found.spread.mean > 0 and found.wilcoxon_p < 0.1 and not found.decided and "is better than" not in text


def test_the_loser_may_be_named_first(tmp_path: Path) -> None:
    made = folder_of(tmp_path, {"a": {"x": [0.80, 0.84, 0.79]}, "b": {"x": [0.75, 0.80, 0.74]}})
    (there, one), (back, two) = answer(made, "a", "b"), answer(made, "b", "a")
    assert there.spread.mean == pytest.approx(-back.spread.mean)
    assert one.split(";")[0] == two.split(";")[0]
    assert there.posterior.better == back.posterior.worse


def test_one_seed_shows_no_interval_and_says_why(tmp_path: Path) -> None:
    found, text = answer(folder_of(tmp_path, {"a": {"x": [0.8], "y": [0.7]}, "b": {"x": [0.7], "y": [0.6]}}), "a", "b")
    assert found.more_seeds is None and math.isnan(found.spread.error)
    assert "no interval is shown, because with one seed the spread between seeds is unknown" in text
    assert "at least one more seed is needed" in text and "is better than" not in text


def test_a_deterministic_method_stands_for_every_seed(tmp_path: Path) -> None:
    made = folder_of(tmp_path, {"a": {"x": [0.80, 0.84, 0.79]}, "b": {"x": [0.75]}})
    found, _ = answer(made, "a", "b")
    assert found.seeds == 3 and found.spread.p() == pytest.approx(stats.ttest_1samp([0.80, 0.84, 0.79], 0.75).pvalue)


def test_the_number_of_seeds_it_names_is_enough() -> None:
    # a difference of 1 point under a spread of 3 points: simulate with the seeds it asks for
    rng = np.random.default_rng(0)
    found = compare_groups([np.array([0.01 + d for d in (-0.03, 0.0, 0.03)])])
    assert found is not None
    n = 3 + found
    assert n == math.ceil((1.959964 + 0.841621) ** 2 * 9)
    draws = rng.normal(0.01, 0.03, (2000, n))
    power = float((stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean())
    assert 0.75 < power < 0.85


def compare_groups(groups: list[np.ndarray]) -> int | None:
    from dazoo.bench.analysis.compare import more_seeds

    return more_seeds(seed_spread(groups), len(groups), min(map(len, groups)))


def test_the_seed_test_keeps_its_level() -> None:
    rng = np.random.default_rng(1)
    alarms = sum(seed_spread([rng.normal(0, s, 3) for s in (0.01, 0.02, 0.03)]).p() < 0.05 for _ in range(2000))
    assert alarms / 2000 < 0.065


def test_errors_are_better_when_lower(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for seed in range(3):
        write_run(writer, "good", "toy/x->t", seed, target=[{"rmse": 1.0 + seed / 100, "mae": 1.0, "r2": 0.5}])
        write_run(writer, "poor", "toy/x->t", seed, target=[{"rmse": 2.0 + seed / 50, "mae": 1.0, "r2": 0.5}])
    found, text = answer(load_report(tmp_path, "last"), "good", "poor")
    assert found.spread.mean == pytest.approx(1.01) and text.startswith("good is ahead of poor by 1.0100 of rmse")
    assert found.rope == pytest.approx(0.01 * (1.01 + 2.02) / 2) and "of rmse" in text


def test_equal_methods_are_equal(tmp_path: Path) -> None:
    made = folder_of(tmp_path, {"a": {"x": [0.8, 0.7], "y": [0.5, 0.6]}, "b": {"x": [0.8, 0.7], "y": [0.5, 0.6]}})
    found, text = answer(made, "a", "b")
    assert found.posterior.equal == 1 and found.wilcoxon_p == 1
    assert text.startswith("a and b are equal in accuracy on average over 2 tasks: a is ahead on 0 and behind on 0")
    assert "no number of seeds is expected to tell them apart" in text


def test_unknown_and_incomparable_methods_are_named(tmp_path: Path) -> None:
    made = folder_of(tmp_path, {"coral": {"x": [0.8]}, "dan": {"y": [0.7]}})
    with pytest.raises(DazooError, match=r"no method 'corall': did you mean 'coral'"):
        answer(made, "corall", "dan")
    with pytest.raises(DazooError, match="no task on which both 'coral' and 'dan' have a number"):
        answer(made, "coral", "dan")
    with pytest.raises(DazooError, match="cannot be compared with itself"):
        answer(made, "dan", "dan")
