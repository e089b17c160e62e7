"""Selection, metrics, statistics: a query over records, and no look at target labels goes unmarked."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from dazoo.bench.analysis.select import Cell, read_runs, select
from dazoo.bench.analysis.statistics import bootstrap_interval, mean_ranks
from dazoo.bench.analysis.table import leaderboard
from dazoo.bench.metrics.formulas import class_metrics, value_metrics
from dazoo.bench.records.store import Writer
from tests.bench_tools import accuracies, scored, write_run

T, U = "toy/a->b", "toy/b->a"


def cell(tmp_path: Path, rule: str = "v") -> Cell:
    (only,) = select(read_runs(tmp_path).runs, rule, "accuracy")
    return only


def test_checkpoints_are_chosen_per_run_by_the_validator(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    write_run(w, "m", T, 0, scores=scored("v", 0.1, 0.9, 0.2), target=accuracies(0.9, 0.5, 0.7))
    write_run(w, "m", T, 1, scores=scored("v", 0.3, 0.1, 0.2), target=accuracies(0.8, 0.5, 0.7))
    assert cell(tmp_path).values.tolist() == [0.5, 0.8]
    assert cell(tmp_path).picks == (1, 0) and cell(tmp_path).selected_by == "v"
    last = cell(tmp_path, "last")
    assert last.values.tolist() == [0.7, 0.7] and last.selected_by == "last"
    best = cell(tmp_path, "oracle")
    assert best.values.tolist() == [0.9, 0.8] and best.selected_by == "oracle (target labels)"


def test_trials_are_chosen_by_the_mean_over_seeds(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    for trial, scores in enumerate([(0.5, 0.5), (0.9, 0.3), (1.0, 0.0)]):
        for seed, score in enumerate(scores):
            write_run(w, "m", T, seed, trial, scored("v", score), accuracies(trial / 10))
    assert cell(tmp_path).trial == 1 and cell(tmp_path).values.tolist() == [0.1, 0.1]
    assert cell(tmp_path, "last").trial == 0
    assert cell(tmp_path, "oracle").trial == 2


def test_undefined_scores_are_never_chosen(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    write_run(w, "m", T, 0, scores=scored("v", None, -5.0, math.nan), target=accuracies(0.9, 0.5, 0.7))
    assert cell(tmp_path).values.tolist() == [0.5]
    write_run(w, "m", T, 1, scores=scored("v", None, None, math.nan), target=accuracies(0.9, 0.5, 0.7))
    assert cell(tmp_path).values.tolist() == [0.5, 0.7]
    assert cell(tmp_path).selected_by == "v, last where undefined"
    write_run(w, "m", T, 0, 1, scored("v", -9.0), accuracies(0.1))
    write_run(w, "m", T, 1, 1, scored("v", -9.0), accuracies(0.1))
    assert cell(tmp_path).trial == 1, "a trial with defined scores beats one without"
    assert cell(tmp_path, "unheard").selected_by == "last (unheard undefined)"


def test_the_oracle_knows_that_small_errors_are_good(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    write_run(w, "m", T, target=[{"rmse": 2.0}, {"rmse": 1.0}, {"rmse": 3.0}])
    (only,) = select(read_runs(tmp_path).runs, "oracle", "rmse")
    assert only.values.tolist() == [1.0]


def test_a_failed_run_leaves_the_task_without_a_number(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    for seed in range(3):
        write_run(w, "good", T, seed, target=accuracies(0.5))
        write_run(w, "bad", T, seed, target=accuracies(0.9), status="failed" if seed == 1 else "ok")
        for label in ("good", "bad"):
            write_run(w, label, U, seed, target=accuracies(0.6))
    board = leaderboard(read_runs(tmp_path).runs, "last")
    good, bad = board.rows
    assert (good.label, bad.label) == ("good", "bad")
    assert math.isnan(bad.mean) and math.isnan(bad.rank) and bad.problem == "failed 1 of 6 runs"
    assert len(board.cells["bad", T].values) == 0 and board.cells["bad", T].errors == ("ValueError: it broke",)
    assert board.cells["bad", U].mean == 0.6
    assert good.mean == pytest.approx(0.55) and good.rank == 1.0


def test_a_trial_that_failed_is_passed_over(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    for seed in range(2):
        write_run(w, "m", T, seed, 0, scored("v", 0.1), accuracies(0.5))
        write_run(w, "m", T, seed, 1, scored("v", 0.9), accuracies(0.9), status="ok" if seed else "failed")
    assert cell(tmp_path).trial == 0 and cell(tmp_path).failed == 1


def test_a_method_that_lacks_a_task_is_incomplete(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    write_run(w, "all", T, target=accuracies(0.1))
    write_run(w, "all", U, target=accuracies(0.1))
    write_run(w, "some", T, target=accuracies(0.9))
    first, second = leaderboard(read_runs(tmp_path).runs, "last").rows
    assert first.label == "all" and second.problem == "incomplete: 1 of 2 tasks" and math.isnan(second.mean)


def test_who_sees_target_labels_is_marked_and_ranked_apart(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    for label, setting, value in [("a", "unsupervised", 0.4), ("b", "multi_source", 0.5), ("few", "few_labels", 0.8),
                                  ("top", "oracle", 0.9)]:  # fmt: skip
        write_run(w, label, T, target=accuracies(value), setting=setting)
    rows = {r.label: r for r in leaderboard(read_runs(tmp_path).runs, "last").rows}
    assert {k: r.rank for k, r in rows.items()} == {"a": 2.0, "b": 1.0, "few": 1.0, "top": 1.0}
    assert rows["a"].mark == rows["b"].mark == ""
    assert rows["few"].mark == "few target labels" and "upper bound" in rows["top"].mark


def test_only_the_newest_variant_of_a_label_counts(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    for seed in range(3):
        write_run(w, "m", T, seed, target=accuracies(0.1), variant="old", started="2024-01-01")
    write_run(w, "m", T, 0, target=accuracies(0.7), variant="new", started="2024-01-02")
    runs = read_runs(tmp_path)
    assert [r.variant for r in runs.runs] == ["new"] and runs.superseded == 3


def test_a_run_at_a_former_default_gives_way_to_the_one_at_the_new_default(tmp_path: Path) -> None:
    """A changed default changes keys and not the variant, which holds what the suite itself sets."""
    w = Writer(tmp_path)
    for when, value in (("2024-01-02", 0.7), ("2024-01-01", 0.1)):
        for seed in range(2):
            write_run(w, "m", T, seed, target=accuracies(value), started=when, at=str(value))
    runs = read_runs(tmp_path)
    assert [r.target[0, 0] for r in runs.runs] == [0.7, 0.7] and runs.superseded == 2
    assert cell(tmp_path, "last").values.tolist() == [0.7, 0.7]


def test_class_metrics_agree_with_scikit_learn() -> None:
    from sklearn.metrics import balanced_accuracy_score, f1_score

    rng = np.random.default_rng(0)
    true, guess = rng.integers(0, 5, 200), rng.integers(0, 6, 200)
    got = class_metrics(guess, true, 7)
    assert got["accuracy"] == pytest.approx((true == guess).mean(), abs=1e-12)
    assert got["macro_f1"] == pytest.approx(f1_score(true, guess, average="macro"), abs=1e-12)
    known = guess < 5
    got = class_metrics(guess[known], true[known], 7)
    assert got["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true[known], guess[known]), abs=1e-12)


def test_value_metrics_agree_with_scikit_learn() -> None:
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    rng = np.random.default_rng(0)
    true, guess = rng.normal(size=50), rng.normal(size=50)
    got = value_metrics(guess, true)
    assert got["mae"] == pytest.approx(mean_absolute_error(true, guess), abs=1e-12)
    assert got["rmse"] == pytest.approx(mean_squared_error(true, guess) ** 0.5, abs=1e-12)
    assert got["r2"] == pytest.approx(r2_score(true, guess), abs=1e-12)
    assert math.isnan(value_metrics(guess, np.ones(50))["r2"])


def test_bootstrap_covers_and_shrinks() -> None:
    rng = np.random.default_rng(1)
    hits, widths = 0, []
    for _ in range(200):
        low, high = bootstrap_interval(list(rng.normal(0, 1, (40, 3))))
        hits += low <= 0 <= high
        widths.append(high - low)
    # these tasks differ through their seeds alone, which the interval then counts twice: 98.9 % of a normal law
    assert hits / 200 >= 0.95
    assert np.mean(widths) == pytest.approx(2 * 1.96 * math.sqrt((1 / 3) * (1 + 2 / 3) / 40), rel=0.12)


def test_bootstrap_ends_are_those_of_all_samples() -> None:
    """Four tasks of one run: all 256 samples by hand."""
    groups = [np.array([v]) for v in (0.5, 0.55, 0.7, 0.9)]
    means = np.sort([np.mean(s) for s in itertools.product((0.5, 0.55, 0.7, 0.9), repeat=4)])
    want = means[math.ceil(0.025 * 256) - 1], means[math.ceil(0.975 * 256) - 1]
    assert bootstrap_interval(groups) == pytest.approx(want, abs=1e-4)


@pytest.mark.parametrize("shape", [(1, 3), (4, 3), (12, 5)])
def test_bootstrap_ends_are_the_limit_of_many_draws(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    groups = list(rng.normal(0.6, 0.02, shape) + rng.normal(0, 0.1, (shape[0], 1)))
    assert bootstrap_interval(groups) == pytest.approx(bootstrap_interval(groups, draws=50_000), abs=2e-3)


def test_bootstrap_does_not_depend_on_chance_and_is_exact_for_one_number() -> None:
    groups = [np.array([0.1, 0.2, 0.3]), np.array([0.9])]
    assert bootstrap_interval(groups) == bootstrap_interval(groups, seed=1) == bootstrap_interval(groups[::-1])
    assert bootstrap_interval(groups, draws=100) == bootstrap_interval(groups, draws=100)
    low, high = bootstrap_interval(groups)
    assert 0.1 <= low < high <= 0.9
    assert bootstrap_interval([np.array([0.5])]) == (0.5, 0.5)
    large = bootstrap_interval([1e6 * g for g in groups])
    assert large == pytest.approx((1e6 * low, 1e6 * high), rel=1e-12)


def test_mean_ranks_average_ties_and_leave_out_the_incomplete() -> None:
    scores = np.array([[3.0, 1.0], [3.0, 2.0], [1.0, 3.0], [9.0, math.nan]])
    assert mean_ranks(scores)[:3].tolist() == [(1.5 + 3) / 2, (1.5 + 2) / 2, (3 + 1) / 2]
    assert math.isnan(mean_ranks(scores)[3])
    assert mean_ranks(np.array([[0.1 + 0.2], [0.3], [0.2]])).tolist() == [1.5, 1.5, 3.0]
    assert mean_ranks(scores, higher_is_better=False)[:3].tolist() == [(2.5 + 1) / 2, (2.5 + 2) / 2, (1 + 3) / 2]
