"""Reports: exact columns, failures in words, one page without a network, and speed at ten thousand runs."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from dazoo.bench.records.store import Writer
from dazoo.bench.report.build import report
from dazoo.bench.report.curves import curves_of
from dazoo.bench.report.model import load_report
from dazoo.bench.report.tables import OVERALL, PER_TASK
from dazoo.core.errors import DazooError
from tests.bench_tools import accuracies, scored, write_run

T, U = "toy/a->b", "toy/b+c->a"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    w = Writer(tmp_path)
    for seed in range(2):
        for task in (T, U):
            write_run(
                w, "best", task, seed, scores=scored("info_max", 0.2, 0.9), target=accuracies(0.1, 0.6 + seed / 10)
            )
            write_run(
                w, "few", task, seed, scores=scored("info_max", 0.2), target=accuracies(0.9), setting="few_labels"
            )
            status = "failed" if task == U and seed else "ok"
            write_run(w, "<bad>", task, seed, target=accuracies(0.3), status=status)
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_files_have_exactly_the_promised_columns(folder: Path) -> None:
    report(folder)
    assert (folder / "leaderboard.csv").read_text().split("\n")[0] == ",".join(OVERALL)
    assert (folder / "leaderboard.csv").read_text().split("\n")[0] == (
        "method,family,mean,ci_low,ci_high,mean_rank,seconds,selected_by"
    )
    assert ",".join(PER_TASK) == "method,source,target,metric,mean,std,n_seeds,selected_by"
    tasks = {(r["method"], r["source"]): r for r in rows(folder / "per_task.csv")}
    best = tasks["best", "b+c"]
    assert (best["target"], best["metric"], best["n_seeds"], best["selected_by"]) == ("a", "accuracy", "2", "info_max")
    assert float(best["mean"]) == pytest.approx(0.65) and float(best["std"]) == pytest.approx(0.0707107, abs=1e-6)
    assert tasks["<bad>", "b+c"]["mean"] == "failed 1 of 2" and tasks["<bad>", "b+c"]["n_seeds"] == "0"
    assert tasks["<bad>", "a"]["selected_by"] == "last (info_max undefined)"
    overall = {r["method"]: r for r in rows(folder / "leaderboard.csv")}
    assert float(overall["best"]["ci_low"]) <= 0.65 <= float(overall["best"]["ci_high"])
    assert overall["<bad>"]["mean"] == "failed 1 of 4 runs" and overall["<bad>"]["ci_low"] == ""


def test_markdown_says_the_rule_marks_and_failures(folder: Path) -> None:
    report(folder)
    text = (folder / "leaderboard.md").read_text()
    assert "chosen by the label-free validator `info_max`" in text
    assert "| few † |" in text and "| few target labels |" in text
    assert "&lt;bad> on toy/b+c->a: failed 1 of 2 runs: ValueError: it broke" in text
    assert "| failed 1 of 4 runs |" in text


def test_the_page_is_self_contained_and_escapes(folder: Path) -> None:
    report(folder)
    page = (folder / "leaderboard.html").read_text()
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#|data:,)|@import|url\(|https?://""", page)
    assert "<bad>" not in page and "&lt;bad&gt;" in page
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page
    assert "few target labels" in page and "failed 1 of 4 runs" in page and "it broke" in page
    assert "oracle (target labels)" in page


def test_another_rule_or_metric_is_a_query(folder: Path) -> None:
    report(folder, select_by="oracle")
    assert {r["selected_by"] for r in rows(folder / "leaderboard.csv")} == {"oracle (target labels)"}
    assert "upper bound" in (folder / "leaderboard.md").read_text().split("\n")[2]
    with pytest.raises(DazooError, match=r"no scores of a validator 'info_mx': did you mean 'info_max'"):
        report(folder, select_by="info_mx")
    with pytest.raises(DazooError, match=r"no metric 'f1': known: accuracy"):
        report(folder, metric="f1")


def test_a_folder_without_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DazooError, match="holds no records"):
        report(tmp_path)
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "shard-x.jsonl").write_text('{"format":1,')
    with pytest.raises(DazooError, match=r"no usable record.*line 1 is cut off"):
        report(tmp_path)


def test_damage_is_shown_on_the_page_but_does_not_change_the_tables(folder: Path) -> None:
    report(folder)
    before = {n: (folder / n).read_bytes() for n in ("leaderboard.md", "leaderboard.csv", "per_task.csv")}
    (folder / "records" / "shard-cut.jsonl").write_text('{"format":1,"key":"ab","status":"ok","spec"')
    report(folder)
    assert before == {n: (folder / n).read_bytes() for n in before}
    assert "1 line was skipped: records/shard-cut.jsonl, line 1 is cut off" in (folder / "leaderboard.html").read_text()


DAMAGED = {
    "no spec": lambda r: r.pop("spec"),
    "a word for a spec": lambda r: r.update(spec="dann"),
    "no start": lambda r: r.pop("started"),
    "a checkpoint without scores": lambda r: r["checkpoints"][0].pop("scores"),
    "a word for a score": lambda r: r["checkpoints"][0].update(scores={"info_max": "high"}),
    "a number for predicted classes": lambda r: r["checkpoints"][0].update(predicted=3),
    "a finding without its subject": lambda r: r.update(info={"findings": [{"kind": "inert term"}]}),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_record_that_is_none_is_named_by_every_command_and_changes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    from dazoo.bench.execute.rescore import find_unscored
    from dazoo.cli.statistics import show_cite, show_compare, show_diff

    before = load_report(folder)
    (shard,) = (folder / "records").glob("*.jsonl")
    record = json.loads(shard.read_text().splitlines()[0])
    DAMAGED[what](record)
    head = {k: record.pop(k) for k in ("format", "key", "status")} | {"key": "ab12"}
    (folder / "records" / "bad.jsonl").write_text(json.dumps(head | record, separators=(",", ":")) + "\n")
    made = load_report(folder)
    assert repr(made.board.rows) == repr(before.board.rows)  # NaN is not equal to itself
    assert len(made.runs.damage) == 1 and made.runs.damage.places[0].startswith("the record of run ab12 ")
    find_unscored(folder)
    show_compare(folder, "best", "few", None, None)
    show_cite(folder)
    show_diff(folder, folder, None, None)
    told = capsys.readouterr()
    assert told.err.count("1 line was skipped: the record of run ab12 ") == 4 and "Traceback" not in told.err


def test_damaged_curves_cost_no_more_than_the_curves(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    write_run(w, "good", T, target=accuracies(0.5, 0.6), curves={"cls": [(0, 1.0), (1, 0.5)]})
    write_run(w, "bad", T, target=accuracies(0.5, 0.7), curves={"cls": [1.0, 0.5, 0.2]})  # type: ignore[dict-item]
    made = report(tmp_path, "last")
    assert {r.label: r.mean for r in made.board.rows} == {"good": 0.6, "bad": 0.7}
    assert [c.run.label for c in curves_of(made).shown] == ["good"]


def test_single_seeds_have_no_standard_deviation(tmp_path: Path) -> None:
    write_run(Writer(tmp_path), "m", T, target=accuracies(0.5))
    report(tmp_path)
    assert rows(tmp_path / "per_task.csv")[0]["std"] == ""
    assert "| 50.0 |" in (tmp_path / "leaderboard.md").read_text()


def test_one_seed_has_no_interval_and_says_why(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    for task in (T, U):
        write_run(w, "single", task, target=accuracies(0.5 + (task == T) / 10))
        for seed in range(2):
            write_run(w, "double", task, seed, target=accuracies(0.6 + seed / 10))
    made = report(tmp_path, "last")
    assert {r.label: r.no_interval for r in made.board.rows} == {"single": "one seed", "double": ""}
    overall = {r["method"]: r for r in rows(tmp_path / "leaderboard.csv")}
    assert overall["single"]["ci_low"] == "" and float(overall["double"]["ci_low"]) >= 0.6
    page, text = (tmp_path / "leaderboard.html").read_text(), (tmp_path / "leaderboard.md").read_text()
    assert page.count("none: one seed") == 1 and text.count("| one seed |") == 1
    for told in (page, text):
        assert "No interval stands beside methods with one seed per task" in told


def test_a_suite_whose_runs_all_failed_is_a_report_in_words(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    for label in ("a", "b", "c"):
        for task in (T, U):
            write_run(w, label, task, target=accuracies(0.5), status="failed")
    made = report(tmp_path)
    assert [r.problem for r in made.board.rows] == ["failed 2 of 2 runs"] * 3
    page = (tmp_path / "leaderboard.html").read_text()
    assert "No method has a number: 6 of 6 runs failed" in page and page.count("ValueError: it broke") >= 6
    assert "There is no selected run whose features could be shown" in page
    assert not list(tmp_path.glob("*.pdf")) and "failed 2 of 2 runs" in (tmp_path / "leaderboard.md").read_text()


def test_records_of_several_versions_are_told_apart(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    for label, version in (("a", "0.1.0"), ("b", "0.2.0"), ("c", "0.2.0")):
        write_run(w, label, T, target=accuracies(0.5), more={"versions": {"dazoo": version}})
    (tmp_path / "records" / "shard-new.jsonl").write_text('{"format":9,"key":"ab","status":"ok","spec":{}}\n')
    report(tmp_path, "last")
    page = (tmp_path / "leaderboard.html").read_text()
    assert "made by several versions of dazoo: 0.1.0 (1 runs), 0.2.0 (2 runs)" in page
    assert "shard-new.jsonl, line 1 has format 9, this version reads 1" in page


def test_scores_that_are_no_numbers_are_missing_and_never_chosen(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    nan = float("nan")
    write_run(w, "some", T, scores=scored("snd", nan, 0.1, nan), target=accuracies(0.9, 0.4, 0.8))
    write_run(w, "all", T, scores=scored("snd", nan, None), target=accuracies(0.9, 0.3))
    made = report(tmp_path, "snd")
    assert {r.label: r.mean for r in made.board.rows} == {"some": 0.4, "all": 0.3}
    page = (tmp_path / "leaderboard.html").read_text()
    assert "snd gave no number at 4 of 5 checkpoints; it never chooses those." in page
    assert "1 cells: selected by last (snd undefined)." in page


def test_regression_reports_errors_not_percent(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    write_run(w, "worse", T, target=[{"rmse": 2.0, "mae": 1.0, "r2": 0.0}])
    write_run(w, "better", T, target=[{"rmse": 1.5, "mae": 1.2, "r2": 0.1}])
    made = load_report(tmp_path)
    assert made.board.metric == "rmse" and [r.label for r in made.board.rows] == ["better", "worse"]
    assert made.show(1.5) == "1.5000" and made.unit == "rmse"


# the peak of getrusage would be that of the test process, where it is larger: it outlives fork and exec
MANY = """
import resource, sys
from pathlib import Path
from dazoo.bench.report.build import report
made = report(sys.argv[1])
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.is_file() else []
own = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
peak = own[0] if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(made.runs.runs), peak / 1024)
"""


@pytest.mark.slow
def test_ten_thousand_runs_report_in_little_memory(tmp_path: Path) -> None:
    values = [0.123456789012345 + i / 997 for i in range(20)]
    names = [f"some_validator_{i:02d}" for i in range(19)] + ["info_max"]
    scores = [{n: v * (j + 1) for n, v in zip(names, values)} for j in range(20)]
    target = [{"accuracy": v / 2, "balanced_accuracy": v / 3, "macro_f1": v / 4} for v in values]
    write_run(Writer(tmp_path), "method_mm", "toy/att->b", 7, scores=scores, target=target)
    (shard,) = (tmp_path / "records").glob("*.jsonl")
    record = json.loads(shard.read_text())
    record.pop("crc")
    line, key = json.dumps(record, separators=(",", ":")), record["key"]
    assert line.startswith('{"format":') and line.count("method_mm") == 2 and line.count('"seed":7') == 1
    with shard.open("w") as file:
        for i, (m, t, seed) in enumerate(product(range(20), range(50), range(10))):
            run = line.replace(key, f"{i:032x}").replace("method_mm", f"method_{m:02d}")
            file.write(run.replace("toy/att", f"toy/a{t:02d}").replace('"seed":7', f'"seed":{seed}') + "\n")
    done = subprocess.run([sys.executable, "-c", MANY, str(tmp_path)], capture_output=True, text=True, check=True)
    runs, megabytes = map(float, done.stdout.split())
    assert runs == 10_000
    assert megabytes < 1000


def test_names_of_others_are_text_and_no_markup(tmp_path: Path) -> None:
    for label in ("<img src=x onerror=alert(1)>", "[a](javascript:b)", "*x*`y`", "=1+1", "@sum"):
        write_run(Writer(tmp_path), label, T, target=accuracies(0.5))
    report(tmp_path, "last")
    text, table = (tmp_path / "leaderboard.md").read_text(), (tmp_path / "leaderboard.csv").read_text()
    assert "<img" not in text and "[a](" not in text and "*x*" not in text.replace("\\*", "")
    assert "<img" not in (tmp_path / "leaderboard.html").read_text()
    assert {r["method"] for r in rows(tmp_path / "leaderboard.csv")} >= {"'=1+1", "'@sum"} and "\n=" not in table
