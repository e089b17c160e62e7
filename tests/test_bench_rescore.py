"""Rescoring: new validators score old runs without training, append-only, resumable, and reports use the scores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from dazoo.bench.analysis.select import read_runs
from dazoo.bench.execute import evidence
from dazoo.bench.execute.rescore import chosen, find_unscored, rescore, score
from dazoo.bench.records.kept import Kept
from dazoo.bench.records.store import SCORES, Damage, Writer, records
from dazoo.bench.report.model import load_report
from dazoo.bench.suite_run import run_suite
from dazoo.cli.commands import app
from dazoo.core.errors import DazooError
from dazoo.validators.base import VALIDATORS, Validator
from tests.bench_tools import SMALL, accuracies, scored, write_run

SUITE: dict[str, Any] = {
    **SMALL, "tasks": "upright->noisy", "methods": ["dan", "sa"], "seeds": 1, "trials": 2, "checkpoints": 2,
    "recipe": {"name": "digits", "steps": 6}, "backbone": "mlp", "validators": ["entropy"], "select_by": "entropy",
    "classifier": {"name": "logistic"},
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    run_suite(SUITE, out=folder, device="cpu")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "results"))


def side_lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for p in sorted((folder / SCORES).glob("*.jsonl")) for line in p.read_text().splitlines()]


def later_bnm(target_probs: Tensor) -> Tensor:
    """A validator that did not exist when the runs were made."""
    return -target_probs.var()


def test_a_validator_added_later_selects_old_runs_without_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VALIDATORS._items, "later", Validator("later", later_bnm, ("target_probs",)))
    before = {p: p.read_bytes() for p in (folder / "records").iterdir()}
    with pytest.raises(DazooError, match="no scores of a validator 'later': dazoo rescore"):
        load_report(folder, "later")
    monkeypatch.setattr("dazoo.bench.execute.runner.fit", lambda *a, **k: pytest.fail("nothing is trained"))
    assert rescore(folder, ["later"]) == []
    assert {p: p.read_bytes() for p in (folder / "records").iterdir()} == before
    for record in records(folder):
        kept = Kept(folder, record["key"])
        for i, point in enumerate(record["checkpoints"]):
            scores = kept.scores(i)
            assert scores is not None
            assert point["scores"]["later"] == pytest.approx(-float(torch.softmax(scores, 1).var()))
    runs = read_runs(folder).runs
    for cell in load_report(folder, "later").board.cells.values():
        mine = [r for r in runs if r.label == cell.label]
        best = max(mine, key=lambda r: r.score("later").max())
        assert (cell.trial, cell.picks) == (best.trial, (int(best.score("later").argmax()),))
        assert cell.selected_by == "later"


def test_nothing_is_scored_twice_and_a_stopped_job_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = find_unscored(folder, ["bnm", "rank_me"])
    assert job.total == 4 and len(job.runs) == 4 and all(names == ["bnm", "rank_me"] for _, names in job.runs)

    def stop(n: int, seen: list[int] = []) -> None:  # noqa: B006
        seen.append(n)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(job, stop)
    assert len(side_lines(folder)) == 2
    assert len(find_unscored(folder, ["bnm", "rank_me"]).runs) == 2
    assert [names for _, names in find_unscored(folder, ["bnm", "rank_me", "corr_c"]).runs].count(["corr_c"]) == 2
    rescore(folder, ["bnm", "rank_me"])
    assert len(side_lines(folder)) == 4 and find_unscored(folder, ["bnm", "rank_me"]).size == 0
    rescore(folder, ["bnm", "rank_me"])
    assert len(side_lines(folder)) == 4
    assert len(find_unscored(folder, ["bnm"], again=True).runs) == 4


def test_rescored_values_replace_recorded_ones_only_when_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_unscored(folder, ["entropy"]).size == 0
    monkeypatch.setitem(VALIDATORS._items, "entropy", Validator("entropy", lambda n_classes: 7.0, ("n_classes",)))
    rescore(folder, ["entropy"], again=True)
    assert {p["scores"]["entropy"] for r in records(folder) for p in r["checkpoints"]} == {7.0}


def test_costly_ones_are_scored_on_demand_only() -> None:
    cheap = chosen([])
    assert "bnm" in cheap and not {"dev", "class_cluster", "ensv", "mixval"} & set(cheap)
    assert chosen(["dev", "class_*"]) == ["dev", "class_cluster"]
    with pytest.raises(DazooError, match="unknown validator 'entrpy': did you mean 'entropy'"):
        chosen(["entrpy"])


def test_every_validator_scores_kept_runs(folder: Path) -> None:
    assert rescore(folder, ["*"]) == []
    defined: dict[str, set[str]] = {}
    for record in records(folder):
        for point in record["checkpoints"]:
            assert set(point["scores"]) == set(VALIDATORS.names())
            defined.setdefault(record["spec"]["label"], set()).update(
                n for n, v in point["scores"].items() if v is not None
            )
    elsewhere = {n for n, v in VALIDATORS.items() if v.of_answers or v.needs_left_out}  # rules of other settings
    everything = {n for n, v in VALIDATORS.items() if "closed" in v.labels} - elsewhere
    assert everything - defined["dan"] <= {"mixval"}, "dan keeps features, so nothing can be predicted anew"
    assert everything - defined["sa"] <= {"balancing_principle"}, "sa has no trade-off"


def test_group_validators_see_all_checkpoints_of_all_trials(folder: Path) -> None:
    rescore(folder, ["ensv"])
    group = [r for r in records(folder) if r["spec"]["label"] == "dan"]
    probs = [torch.softmax(s, 1) for r in group for i in (0, 1) if (s := Kept(folder, r["key"]).scores(i)) is not None]
    assert len(probs) == 4
    ensemble = torch.stack(probs).mean(0).argmax(1)
    expected = [float((p.argmax(1) == ensemble).double().mean()) for p in probs]
    assert [p["scores"]["ensv"] for r in group for p in r["checkpoints"]] == pytest.approx(expected)
    assert find_unscored(folder, ["ensv"]).size == 0


def test_a_suite_that_names_a_group_validator_has_its_scores(tmp_path: Path) -> None:
    suite = {**SUITE, "methods": ["sa"], "validators": ["entropy", "ensv"], "select_by": "ensv"}
    made = run_suite(suite, out=tmp_path, device="cpu")
    assert {c.selected_by for c in made.board.cells.values()} == {"ensv"}


def test_runs_without_kept_outputs_are_counted_and_named(folder: Path) -> None:
    gone = next(r for r in records(folder) if r["spec"]["label"] == "sa")
    Kept(folder, gone["key"]).path.unlink()
    job = find_unscored(folder, ["bnm", "ensv"])
    assert job.unkept == [f"sa on digits/upright->noisy, trial {gone['spec']['trial']}, seed 0"]
    assert job.broken == ["sa on digits/upright->noisy, seed 0"] and len(job.groups) == 1
    out = CliRunner().invoke(app, ["rescore", str(folder), "--validators", "bnm,ensv"])
    assert out.exit_code == 0
    assert "scored 3 runs and 1 group" in out.output
    assert "1 run without kept outputs cannot be scored: sa on digits/upright->noisy" in out.output
    assert "1 group with such a run cannot be scored: sa on digits/upright->noisy, seed 0" in out.output
    again = CliRunner().invoke(app, ["rescore", str(folder), "--validators", "bnm"])
    assert "nothing to score" in again.output and "1 run without" in again.output


def test_damaged_kept_outputs_leave_the_others_alone(folder: Path) -> None:
    bad = next(r for r in records(folder) if r["spec"]["label"] == "dan")
    Kept(folder, bad["key"]).path.write_bytes(b"PK")
    (problem,) = rescore(folder, ["bnm"])
    assert problem.startswith("dan on digits/upright->noisy") and "is damaged" in problem
    assert sum("bnm" in r["checkpoints"][0]["scores"] for r in records(folder)) == 3


def test_data_that_are_gone_are_a_problem_of_those_runs_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: Any, **options: Any) -> Any:
        raise DazooError("the dataset is gone")

    evidence._tasks.cache_clear()
    monkeypatch.setattr("dazoo.bench.execute.tasks.load_domain", gone)
    problems = rescore(folder, ["rank_me"])
    evidence._tasks.cache_clear()
    assert len(problems) == 2 and all(p.startswith("sa on") and "the dataset is gone" in p for p in problems)


def test_nan_is_recorded_as_missing_and_never_chosen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(target_probs: Tensor) -> float:
        odd_calls.append(1)
        return float("nan") if len(odd_calls) % 2 else 1.0

    odd_calls: list[int] = []
    monkeypatch.setitem(VALIDATORS._items, "odd", Validator("odd", odd, ("target_probs",)))
    rescore(folder, ["odd"])
    assert {v for line in side_lines(folder) for v in line["scores"]["odd"]} == {None, 1.0}
    cell = load_report(folder, "odd").board.cells["dan", "digits/upright->noisy"]
    assert cell.picks == (1,), "the first checkpoint has no score"


def test_damaged_and_foreign_lines_are_counted(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    write_run(writer, "a", "digits/x->y", scores=scored("v", 0.1, 0.2), target=accuracies(0.5, 0.6))
    (record,) = records(tmp_path)
    side = Writer(tmp_path, SCORES)
    side.append(record["key"], "scores", {"scores": {"new": [1.0, 2.0], "v": [3.0, 4.0], "short": [1.0]}})
    side.append("0" * 32, "scores", {"scores": {"new": [1.0]}})
    side.append(record["key"], "scores", {"wrong": 1})
    side.append(record["key"], "scores", {"scores": {"new": [5.0, None]}})
    (path,) = (tmp_path / SCORES).iterdir()
    with path.open("ab") as file:
        file.write(b'{"format":1,"key":"00","sta')
    damage = Damage()
    (joined,) = records(tmp_path, damage)
    assert [p["scores"] for p in joined["checkpoints"]] == [{"v": 3.0, "new": 5.0}, {"v": 4.0, "new": None}]
    assert sorted(damage.places) == [
        f"scores/{path.name}, line 5 is cut off or no record",
        f"the later scores of run {record['key']} are no valid JSON",
    ]


def test_a_folder_without_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DazooError, match="holds no records"):
        find_unscored(tmp_path)
