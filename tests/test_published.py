"""The ledger: it says what the records say, and a few of its rows are computed anew."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dazoo.bench.analysis.select import read_runs, select
from dazoo.bench.plan.shipped import find_suite
from dazoo.bench.plan.suite import Suite
from dazoo.bench.published.ledger import Line, ledger, make_ledger, read_results
from dazoo.bench.published.tables import Declared, default_published, read_declaration, read_published
from dazoo.bench.records.store import Writer
from dazoo.bench.report.ledger import markdown
from dazoo.bench.suite_run import run_suite
from dazoo.cli.commands import main
from dazoo.core.errors import DazooError
from tests.bench_tools import accuracies, scored

TOP = Path(__file__).resolve().parent.parent
RESULTS = TOP / "results"
DECLARATION = TOP / "benchmarks" / "published" / "ledger.yaml"
PROTOCOL: dict[str, Any] = {
    "transform": ["row_sum", "zscore"], "recipe": None, "classifier": {"name": "1nn", "k": 1}, "source_holdout": 0.0,
}  # fmt: skip
TABLE = """dataset,representation,method,source,target,accuracy
toy,plain,M,a,b,50
toy,plain,M,b,a,60
toy,plain,N,a,b,50
toy,plain,N,average,average,52
"""


# -- the committed page ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(data_root: Path) -> Path:
    table = default_published(data_root)
    if not table.is_file():
        pytest.skip(f"the table of published numbers is absent: {table} (it is no part of this project)")
    return table


def test_the_committed_page_is_what_the_committed_records_say(published: Path) -> None:
    lines = make_ledger([RESULTS], published, DECLARATION)
    assert markdown(lines) == (RESULTS / "published.md").read_text(encoding="utf-8")
    assert sum(line.ours is not None for line in lines) >= 11


def test_rows_that_are_claimed_are_close_and_the_others_say_why(published: Path) -> None:
    for line in make_ledger([RESULTS], published, DECLARATION):
        if line.difference is not None and abs(line.difference) <= line.declared.within:
            inferred = "inferred, " if line.declared.inferred else ""
            assert line.verdict == f"{inferred}within {line.declared.within:.1f}"
        elif line.difference is not None:
            assert line.verdict == "not reproduced"
            assert line.declared.remark, f"{line.declared.method} differs and the declaration does not say why"


def test_the_declaration_names_suites_and_labels_that_exist() -> None:
    for row in read_declaration(DECLARATION):
        for source in row.runs:
            suite = Suite.load(find_suite(source.suite))
            assert suite.name == source.suite
            labels = [m.label or m.name for m in suite.methods]
            assert any(name == source.label or name.startswith(source.label.rstrip("*")) for name in labels), row.method


def test_records_of_the_surf_table_are_reproduced(data_root: Path, tmp_path: Path) -> None:
    """1-NN, TCA and JDA over the twelve pairs, run again by the suite, against published averages and records."""
    suite = Suite.load(find_suite("published_surf_1nn"))
    methods = ["source_only", "tca", "jda"]
    run_suite(suite, data_root=data_root, out=tmp_path, methods=methods, device="cpu")
    now, then = averages(tmp_path), averages(RESULTS / "published_surf_1nn")
    assert now["source_only"] == pytest.approx(31.37, abs=0.005)
    assert abs(now["tca"] - 46.2) <= 0.7
    assert abs(now["jda"] - 46.8) <= 1.0
    for method in methods:  # another processor may turn single samples over
        assert now[method] == pytest.approx(then[method], abs=0.2)


def averages(folder: Path) -> dict[str, float]:
    """Mean accuracy in percent by label, over twelve tasks."""
    found: dict[str, list[float]] = {}
    for cell in select(read_runs(folder).runs, "last", "accuracy"):
        found.setdefault(cell.label, []).append(100 * cell.mean)
    assert all(len(values) == 12 for values in found.values())
    return {label: float(np.mean(values)) for label, values in found.items()}


# -- the arithmetic, on made-up records -----------------------------------------------------------------------------


def write_run(
    folder: Path, label: str, task: str, values: list[float], scores: list[float] | None = None, **hparams: Any
) -> None:
    spec = {
        "label": label, "method": "made_up", "family": "f", "task": f"toy/{task}", "setting": "unsupervised", "seed": 0,
        "trial": 0, "hparams": hparams, "protocol": PROTOCOL,
    }  # fmt: skip
    targets, found = accuracies(*values), scored("v", *(scores or [0.0] * len(values)))
    points = [{"step": i, "fraction": 1.0, "scores": s, "target": t} for i, (s, t) in enumerate(zip(found, targets))]
    key = hashlib.sha256(repr((folder.name, label, task)).encode()).hexdigest()[:32]
    body = {"variant": "v1", "started": "2024", "spec": spec, "checkpoints": points, "seconds": 1.0}
    writer = Writer(folder)
    writer.append(key, "ok", body)
    writer.close()


def row(method: str, *sources: tuple[str, str], **fields: Any) -> Declared:
    runs = [{"suite": s, "label": n} for s, n in sources]
    made = {"dataset": "toy", "representation": "plain", "method": method, "runs": runs, "within": 1.0, **fields}
    return Declared.model_validate(made)


def line(tmp_path: Path, declared: Declared) -> Line:
    table = tmp_path / "table.csv"
    table.write_text(TABLE, encoding="utf-8")
    (made,) = ledger([declared], read_published(table), read_results([tmp_path], {s.suite for s in declared.runs}))
    return made


def test_averages_and_differences(tmp_path: Path) -> None:
    write_run(tmp_path / "one", "m", "a->b", [0.51], dim=20)
    write_run(tmp_path / "one", "m", "b->a", [0.58], dim=20)
    write_run(tmp_path / "one", "other", "a->b", [0.99])
    made = line(tmp_path, row("M", ("one", "m")))
    assert made.published.average == 55.0
    assert made.ours == pytest.approx(54.5) and made.difference == pytest.approx(-0.5)
    assert made.per_pair == pytest.approx(1.5), "the mean over pairs of |51 - 50| and |58 - 60|"
    assert (made.verdict, made.hparams, made.methods) == ("within 1.0", "dim 20", "made_up")
    assert made.protocol == "row_sum then zscore; 1nn k=1"
    assert line(tmp_path, row("M", ("one", "m"), within=0.4)).verdict == "not reproduced"


def test_a_row_says_which_representation_all_methods_started_from(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(PROTOCOL, "represent", {"name": "msda", "layers": 5})
    write_run(tmp_path / "one", "m", "a->b", [0.5])
    write_run(tmp_path / "one", "m", "b->a", [0.6])
    made = line(tmp_path, row("M", ("one", "m")))
    assert made.protocol == "row_sum then zscore; represented by msda layers=5; 1nn k=1"


def test_a_printed_average_counts_and_pairs_outside_the_row_do_not(tmp_path: Path) -> None:
    write_run(tmp_path / "one", "m", "a->b", [0.52])
    write_run(tmp_path / "one", "m", "b->a", [0.10])
    made = line(tmp_path, row("N", ("one", "m")))
    assert made.published.average == 52.0 and made.ours == pytest.approx(52.0)


def test_settings_are_chosen_pair_by_pair_by_the_validator_and_never_by_accuracy(tmp_path: Path) -> None:
    for name, label, ab, ba in (("one", "m_1", (0.4, 0.9), (0.7, 0.2)), ("two", "m_2", (0.8, 0.1), (0.3, 0.8))):
        weight = float(label[-1])
        write_run(tmp_path / name, label, "a->b", [ab[0], 0.0], [ab[1], -1.0], weight=weight)
        write_run(tmp_path / name, label, "b->a", [ba[0], 1.0], [ba[1], -1.0], weight=weight)
    made = line(tmp_path, row("M", ("one", "m_*"), ("two", "m_*"), select_by="v"))
    assert made.ours == pytest.approx(100 * (0.4 + 0.3) / 2)
    assert made.hparams == "weight 1 (1 of 2), 2 (1 of 2)"
    assert made.chosen_by == "v"
    with pytest.raises(ValueError, match="never selects by target labels"):
        row("M", ("one", "m_*"), select_by="oracle")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    write_run(tmp_path / "one", "m", "a->b", [0.5])
    made = line(tmp_path, row("M", ("one", "m")))
    assert made.ours is None and made.verdict == "incomplete: 1 of 2 pairs"
    assert line(tmp_path, row("M", ("elsewhere", "m"))).verdict == "not run"
    assert "incomplete: 1 of 2 pairs" in markdown([made])
    with pytest.raises(DazooError, match=r"no row toy plain Mm.*M"):
        line(tmp_path, row("Mm", ("one", "m")))
    outside = line(tmp_path, row("Mm", ("one", "m"), average=49.5, reported_in="a paper"))
    assert outside.verdict == "within 1.0" and "49.5 (a paper)" in markdown([outside])
    with pytest.raises(DazooError, match="holds no records"):
        read_results([tmp_path / "nothing"], ["one"])


def test_the_table_and_the_declaration_are_checked(tmp_path: Path) -> None:
    with pytest.raises(DazooError, match="name yours with --published"):
        read_published(tmp_path / "absent.csv")
    table = tmp_path / "table.csv"
    table.write_text("dataset,method\n", encoding="utf-8")
    with pytest.raises(DazooError, match="lacks the columns representation, source, target, accuracy"):
        read_published(table)
    table.write_text(TABLE.replace("60", "many"), encoding="utf-8")
    with pytest.raises(DazooError, match="line 3: the accuracy 'many' is no number"):
        read_published(table)
    rows = tmp_path / "ledger.yaml"
    rows.write_text("- dataset: toy\n  method: M\n  ours: 99.0\n", encoding="utf-8")
    with pytest.raises(DazooError, match=r"ledger\.yaml, line"):
        read_declaration(rows)


def test_the_command_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    write_run(tmp_path / "one", "m", "a->b", [0.5])
    write_run(tmp_path / "one", "m", "b->a", [0.6])
    (tmp_path / "table.csv").write_text(TABLE, encoding="utf-8")
    rows = "- {dataset: toy, representation: plain, method: M, within: 1.0, runs: [{suite: one, label: m}]}\n"
    (tmp_path / "rows.yaml").write_text(rows, encoding="utf-8")
    options = ["--published", str(tmp_path / "table.csv"), "--rows", str(tmp_path / "rows.yaml")]
    page = tmp_path / "page.md"
    monkeypatch.setattr("sys.argv", ["dazoo", "ledger", str(tmp_path / "one"), *options, "--out", str(page)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    assert "toy M: 55.00, published 55.0: within 1.0" in capsys.readouterr().out
    assert "| M | made_up | none | row_sum then zscore; 1nn k=1 | last | 55.0 | 55.00 | +0.00 |" in page.read_text()


def test_rows_inferred_from_the_published_numbers_do_not_count(published: Path) -> None:
    lines = make_ledger([RESULTS], published, DECLARATION)
    counted = [x for x in lines if not x.declared.inferred]
    close = sum(x.verdict.startswith("within") for x in counted)
    assert {x.declared.method for x in lines if x.declared.inferred} == {"PCA", "SVM"}
    assert f"{close} of {len(counted)} rows are reproduced" in markdown(lines)
    (row,) = [x for x in lines if (x.declared.representation, x.declared.method) == ("msda", "DANN")]
    assert row.bound is not None and row.ours is not None and row.bound > row.ours + 1 and len(row.path) == 3
    assert all(x.bound is None for x in lines if x.declared.select_by == "last")
