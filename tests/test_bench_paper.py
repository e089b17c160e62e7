"""What goes into a paper: LaTeX tables, citations, and the difference of two result folders."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dazoo.bench.records.store import Writer
from dazoo.bench.report.build import report
from dazoo.bench.report.cite import bibtex, fragment, keys
from dazoo.bench.report.diff import diff, told
from dazoo.bench.report.latex import Layout, escape, latex
from dazoo.bench.report.model import load_report
from dazoo.cli.commands import app
from dazoo.core.errors import DazooError
from dazoo.core.paper import Paper
from tests.bench_tools import accuracies, write_run

TASKS = [f"toy/{a}->{b}" for a, b in ("ab", "ac", "ad", "bc", "bd", "cd")]


def fill(folder: Path, methods: dict[str, float], tasks: list[str] = TASKS, seeds: int = 2) -> Path:
    writer = Writer(folder)
    for label, value in methods.items():
        for i, task in enumerate(tasks):
            for seed in range(seeds):
                setting = "oracle" if label == "target_oracle" else "unsupervised"
                target = accuracies(value + i / 1000 + (seed - 0.5) / 100)
                write_run(writer, label, task, seed, target=target, setting=setting)
    return folder


def test_the_table_marks_best_second_spread_and_significance(tmp_path: Path) -> None:
    fill(tmp_path, {"coral": 0.7, "top_1": 0.8, "equal": 0.7, "sa": 0.5, "target_oracle": 0.9})
    report(tmp_path, "last")
    text = (tmp_path / "leaderboard.tex").read_text()
    lines = {line.split("$")[0].split(" &")[0].split(" (")[0]: line for line in text.splitlines() if "&" in line}
    assert r"a$\to$b" in lines["Method"] and lines["Method"].endswith(r"Mean \\")
    first = lines[r"top\_1"].split(" & ")
    assert first[1] == r"\textbf{80.0} {\scriptsize$\pm$0.7}" and first[-1] == r"\textbf{80.2} {\scriptsize$\pm$0.7} \\"
    assert r"\underline{70.0}" in lines["coral"] and r"\underline{70.0}" in lines["equal"]  # ties share the place
    assert "textbf" not in lines["sa"] and "underline" not in lines["sa"]
    assert "textbf" not in lines[r"target\_oracle"] and text.index(r"target\_oracle") > text.rindex(r"\midrule")
    assert r"\label{tab:" in text and "second underlined. Mean and standard deviation over 2 seeds." in text
    # six tasks, always behind: p = 2 / 2^6 = 0.031, not below 0.05 after Holm's correction for three
    assert r"\dagger" not in text


def test_a_method_that_is_surely_worse_gets_a_dagger(tmp_path: Path) -> None:
    fill(tmp_path, {"good": 0.8, "bad": 0.5})
    text = latex(load_report(tmp_path, "last"))
    assert r"bad$^\dagger$ &" in text and r"good &" in text and "Wilcoxon" in text


def test_one_seed_prints_no_spread(tmp_path: Path) -> None:
    text = latex(load_report(fill(tmp_path, {"coral": 0.7, "sa": 0.6}, seeds=1), "last"))
    assert r"\pm" not in text and r"\textbf{69.5}" in text and "One seed." in text


def test_many_tasks_make_a_wide_table(tmp_path: Path) -> None:
    few = latex(load_report(fill(tmp_path / "few", {"coral": 0.7, "sa": 0.6}), "last"))
    many = [f"toy/{a}->z" for a in "abcdefgh"]
    wide = latex(load_report(fill(tmp_path / "many", {"coral": 0.7, "sa": 0.6}, many), "last"))
    assert few.count("{table}") == 2 and wide.count("{table*}") == 2 and r"\scriptsize \setlength" in wide


def test_a_table_of_some_methods_in_blocks_that_breaks_over_pages(tmp_path: Path) -> None:
    values = {"coral": 0.7, "top_1": 0.8, "sa": 0.5, "target_oracle": 0.9}
    made = load_report(fill(tmp_path, values), "last")
    best = latex(made, Layout(top=2))
    assert "sa &" not in best and "oracle" not in best and "2 of 4 methods." in best
    named = latex(made, Layout(methods=("sa", "coral")))
    assert r"\textbf" in next(line for line in named.splitlines() if line.startswith("coral"))
    long = latex(made, Layout(long=True, families=True))
    assert long.count("{longtable}") == 2 and r"\endhead" in long and long.count("Method &") == 2
    assert r"\multicolumn{8}{l}{\textit{made up}} \\" in long and long.count("{") == long.count("}")
    with pytest.raises(DazooError, match="no method 'coal': did you mean 'coral'"):
        latex(made, Layout(methods=("coal",)))


def test_special_characters_are_escaped() -> None:
    assert escape(r"a_b&c%\d{e}~") == r"a\_b\&c\%\textbackslash{}d\{e\}\textasciitilde{}"


def test_bibtex_has_one_entry_per_paper() -> None:
    one = Paper("Deep & wide", "Ann Lee, Bo Xu", 2016, "https://e.org/a_b", "ICML")
    two = Paper("Other", "Cy Day", 2020, "https://e.org/c", "Journal of Things")
    papers = {"a": one, "b": two, "a_soft": one}
    assert keys(papers) == {"a": "dazoo:a2016", "b": "dazoo:b2020", "a_soft": "dazoo:a2016"}
    text = bibtex(papers)
    assert text.count("@inproceedings{dazoo:a2016,") == 1 and text.count("@article{dazoo:b2020,") == 1
    assert "author = {Ann Lee and Bo Xu}" in text and r"title = {{Deep \& wide}}" in text
    assert "url = {https://e.org/a_b}" in text and text.count("{") == text.count("}")


def test_the_fragment_says_how_it_was_made(tmp_path: Path) -> None:
    made = load_report(fill(tmp_path, {"coral": 0.7, "sa": 0.6}), "last")
    papers = {"coral": Paper("T", "A", 2016, "u"), "sa": Paper("S", "B", 2013, "v")}
    protocol = {"dataset": "toy_set", "backbone": "resnet50", "frozen": True, "classifier": {"name": "1nn"}}
    text = fragment(made, papers, protocol)
    assert text.startswith(r"We compare coral~\cite{dazoo:coral2016} and sa~\cite{dazoo:sa2013} on 6 tasks of toy\_set")
    assert "frozen features of resnet50 and the classifier 1nn" in text
    assert "1 hyper-parameter setting and up to 2 random seeds" in text and "No model selection takes place" in text


def test_cite_prints_every_key_it_uses_and_names_unknown_methods(tmp_path: Path) -> None:
    fill(tmp_path, {"coral": 0.7, "sa": 0.6, "of_my_own": 0.1})
    done = CliRunner().invoke(app, ["cite", str(tmp_path)])
    assert done.exit_code == 0, done.output
    used = set(re.findall(r"\\cite\{([^}]*)\}", done.output))
    used = {key for keys in used for key in keys.split(",")}
    assert len(used) == 3 and "dazoo" in used and used == set(re.findall(r"^@\w+\{([^,]*),", done.output, re.M))
    assert "% no paper is known here for the method of_my_own" in done.output


def test_cite_names_the_papers_of_the_data(tmp_path: Path) -> None:
    fill(tmp_path, {"coral": 0.7}, ["office_caltech10/amazon->webcam", "digits/upright->noisy"])
    done = CliRunner().invoke(app, ["cite", str(tmp_path)])
    assert done.exit_code == 0, done.output
    used = {key for keys in re.findall(r"\\cite\{([^}]*)\}", done.output) for key in keys.split(",")}
    entries = re.findall(r"^@\w+\{([^,]*),", done.output, re.M)
    assert used == set(entries) and len(entries) == len(used) == 6
    assert "author = {Boqing Gong and Yuan Shi and Fei Sha and Kristen Grauman}" in done.output


def test_diff_shows_what_moved_and_what_is_sure(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    fill(old, {"same": 0.7, "gone": 0.5}, TASKS[:2], seeds=3)
    fill(new, {"same": 0.7, "come": 0.4}, TASKS[:2], seeds=3)
    for folder, values in ((old, (0.50, 0.52, 0.51)), (new, (0.60, 0.621, 0.61))):
        writer = Writer(folder)
        for seed, value in enumerate(values):
            write_run(writer, "moved", TASKS[0], seed, target=accuracies(value))
    one, two = load_report(old, "last"), load_report(new, "last")
    found = diff(one.board.cells, two.board.cells)
    assert found.same == 2 and [(m.label, m.task, m.sure) for m in found.moves] == [("moved", TASKS[0], True)]
    assert found.moves[0].change == pytest.approx(0.1003, abs=1e-4)
    assert {label for label, _ in found.gone} == {"gone"} and {label for label, _ in found.come} == {"come"}
    lines = told(one, two)
    assert lines[0] == "1 of 3 cells moved (accuracy (%))"
    assert lines[1].startswith(f"moved on {TASKS[0]}: 51.00 -> 61.03, +10.03 (p = ") and lines[1].endswith("sure)")
    assert told(one, one) == ["0 of 5 cells moved (accuracy (%))"]


def test_diff_of_unlike_protocols_says_so_first(tmp_path: Path) -> None:
    for name, recipe, seeds, hold in (("old", "digits", 2, 0.0), ("new", "frozen", 3, 0.1)):
        writer = Writer(tmp_path / name)
        for seed in range(seeds):
            write_run(writer, "m", TASKS[0], seed, scores=[{"v": 1.0}], target=accuracies(0.7 + hold + seed / 100))
            write_run(writer, "other", TASKS[0], seed, scores=[{"v": 1.0}], target=accuracies(0.6))
        rewrite(tmp_path / name, recipe, hold)
    one, two = load_report(tmp_path / "old", "last"), load_report(tmp_path / "new", "v")
    lines = told(one, two)
    assert lines[0] == "unlike protocols: the rule of selection was last, now v"
    assert set(lines[1:6]) == {
        "unlike protocols: recipe was digits, now frozen (2 of 2 cells)",
        "unlike protocols: training.lr was 0.1, now 0.2 (2 of 2 cells)",
        "unlike protocols: splits.source_holdout was nothing, now 0.1 (2 of 2 cells)",
        "unlike protocols: hyper-parameters.weight was 1.0, now 1.1 (2 of 2 cells)",
        "unlike protocols: number of seeds was 2, now 3 (2 of 2 cells)",
    }
    assert "need not come from a change of the code" in lines[6] and lines[7] == "1 of 2 cells moved (accuracy (%))"
    fill(tmp_path / "far", {"m": 0.7}, TASKS[1:2])
    assert told(one, load_report(tmp_path / "far", "last"))[0].startswith("no method and task has a number in both")


def rewrite(folder: Path, recipe: str, hold: float) -> None:
    """Give the records of a folder a protocol."""
    (shard,) = (folder / "records").glob("*.jsonl")
    found = [json.loads(line) for line in shard.read_text().splitlines()]
    for record in found:
        lr = {"digits": 0.1, "frozen": 0.2}[recipe]
        protocol = {"recipe": {"name": recipe, "lr": lr}, "source_holdout": hold}
        record.pop("crc", None)  # as an older version wrote it
        record["spec"] |= {"protocol": protocol, "hparams": {"weight": 1.0 + hold}}
    shard.write_text("".join(json.dumps(r, separators=(",", ":")) + "\n" for r in found))


def test_diff_of_single_seeds_claims_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "old", {"m": 0.7}, TASKS[:1], seeds=1)
    fill(tmp_path / "new", {"m": 0.6}, TASKS[:1], seeds=1)
    lines = told(load_report(tmp_path / "old", "last"), load_report(tmp_path / "new", "last"))
    assert lines[1] == f"m on {TASKS[0]}: 69.50 -> 59.50, -10.00"


def test_diff_refuses_different_metrics(tmp_path: Path) -> None:
    fill(tmp_path / "old", {"m": 0.7}, TASKS[:1])
    write_run(Writer(tmp_path / "new"), "m", TASKS[0], target=[{"rmse": 1.0}])
    with pytest.raises(DazooError, match=r"reports accuracy and .* rmse"):
        told(load_report(tmp_path / "old", "last"), load_report(tmp_path / "new", "last"))
