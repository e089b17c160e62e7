"""The scaling benchmark: fresh processes, limits and refusals as results, and a CSV from which work goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("benchmarks.scaling", reason="needs the repository's root on the path")

from benchmarks.scaling import __main__ as command
from benchmarks.scaling.measure import CASES, Case, Result, measure, run_apart
from benchmarks.scaling.tables import Row, page, read, write


def test_two_methods_are_measured_once_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="the figure needs the extra 'figures'")
    order = ["--out", str(tmp_path), "--only", "sa", "coral", "--n", "200", "--d", "8", "--threads", "1"]
    command.main(order)
    first = read(tmp_path / "scaling.csv")
    assert [r.case for r in first] == ["sa", "coral"]
    for row in first:
        assert row.result.status == "ok" and row.result.seconds > 0 and 0 < row.result.peak_gib < 4
        assert row.result.accuracy > 50 and "numpy" in row.versions
    capsys.readouterr()
    command.main(order)
    assert capsys.readouterr().err.count("(kept)") == 2
    assert read(tmp_path / "scaling.csv") == first
    for name in ("scaling.md", "scaling.png", "scaling.pdf"):
        assert (tmp_path / name).stat().st_size > 500


def test_a_process_beyond_its_time_or_memory_is_ended() -> None:
    case = Case("sa", "sa")
    assert run_apart(case, 100, 4, "1nn", 1, seconds=0.2, gib=8.0).status == "time limit"
    assert run_apart(case, 100, 4, "1nn", 1, seconds=1e9, gib=0.01).status == "memory limit"


def test_refusals_say_how_much_memory_the_plan_would_need() -> None:
    for name in ("ot_emd", "ot_sinkhorn"):
        (case,) = [c for c in CASES if c.name == name]
        result = measure(Case(case.name, case.method, {"memory_gib": 1e-3, "large": "error"}), 300, 4, "1nn", 1)
        assert result.status == "refuses" and "GiB" in result.message and "large='minibatch'" in result.message
        assert measure(Case("", name, {"memory_gib": 1e-3, "large": "minibatch"}), 300, 4, "1nn", 1).status == "ok"


def test_the_page_says_what_meets_the_aim(tmp_path: Path) -> None:
    def row(case: str, n: int, result: Result) -> Row:
        return Row(case, "logistic", n, 256, 2, "a machine", "numpy 2", result)

    rows = [
        row("sa", 50_000, Result("ok", 12.0, 20.0, 1.5, 99.0)),
        row("kmm", 50_000, Result("ok", 70.0, 20.0, 1.5, 99.0)),
        row("ot_emd", 50_000, Result("refuses", peak_gib=1.0, message="needs about 111.8 GiB")),
    ]
    text = page(rows, "about")
    assert "in under 60 s and 4 GiB: sa. Not: kmm (70 s, 1.5 GiB); ot_emd (refuses)." in text
    assert "ot_emd, n = 50,000: refuses: needs about 111.8 GiB" in text
    write(tmp_path / "scaling.csv", rows)
    stored = read(tmp_path / "scaling.csv")
    assert [r.key for r in stored] == [r.key for r in rows]
    assert stored[0].result == rows[0].result and stored[2].result.message == rows[2].result.message
