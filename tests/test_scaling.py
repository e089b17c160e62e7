"""The scaling benchmark: fresh processes, limits and refusals as results, and a CSV from which work goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

pytest.importorskip("benchmarks.scaling", reason="needs the repository's root on the path")

from benchmarks.scaling import __main__ as command
from benchmarks.scaling import growth, large, on_disk
from benchmarks.scaling.measure import CASES, Case, Result, measure, run_apart
from benchmarks.scaling.tables import Row, page, read, write
from dazoo.cli.listing import _growth
from dazoo.methods.base import METHODS


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


GROWTH = Path(__file__).parent.parent / "results" / "scaling" / "growth.csv"


def test_exponents_are_slopes_of_what_can_be_timed(tmp_path: Path) -> None:
    points = [(1000, 0.001), (2000, 0.1), (8000, 1.6)]
    assert growth.exponent(points) == pytest.approx(2.0) and growth.exponent(points[:2]) is None
    told = {"status": "ok", "added_gib": "0.01", "message": ""}
    rows = {("sa", n): {"method": "sa", "n": str(n), "cpu_seconds": str(s), **told} for n, s in points}
    rows["kmm", 1000] = {"method": "kmm", "n": "1000", "status": "time limit", "cpu_seconds": "", "added_gib": ""}
    growth.write(tmp_path, rows, 8, 60)
    assert growth.exponents(growth.read(tmp_path / "growth.csv")) == {"kmm": (None, None), "sa": (2.0, None)}
    assert "| sa | 2.00 | little | 0.00 s" in (tmp_path / "growth.md").read_text()


@pytest.mark.skipif(not GROWTH.is_file(), reason="the committed table is not here")
def test_methods_say_how_they_were_measured_to_grow() -> None:
    """Every method whose measured exponent of time or memory is above that of n log n has it in ``growth`` or
    ``memory_growth`` and says it in ``dazoo info``, and no other one; the page holds the same exponents."""
    text = GROWTH.with_suffix(".md").read_text()
    said, measured = {}, {}
    for name, powers in growth.exponents(growth.read(GROWTH)).items():
        shown = [w if p is None else f"{p:.2f}" for p, w in zip(powers, ("under the clock", "little"))]
        assert f"| {name} | {' | '.join(shown)} |" in text
        if name in METHODS:
            cls, rounded = METHODS.get(name), [1.0 if p is None else growth.rounded(p) for p in powers]
            said[name], measured[name] = [cls.growth, cls.memory_growth], rounded
            info = _growth(cls)
            for what, power in zip(("time", "memory"), rounded):
                assert (f"{what} about as n^{power:g}" in info) == (power > 1), name
    assert said == measured and len(said) > 90
    guessed = {n for n in METHODS.names() if n not in said and _growth(METHODS.get(n))}
    assert not guessed, f"{guessed} are not in the table"


def test_bounded_forms_have_exponents_of_their_own() -> None:
    rows = {
        ("x", n): growth.row("x", n, {"status": "ok", "cpu_seconds": s, "added_gib": 0.0, "message": said})
        for n, s, said in ((1000, 0.1, ""), (3000, 0.9, ""), (10_000, 1.0, "parts"), (30_000, 3.0, "parts"))
    }
    assert growth.exponents(rows) == {"x": (pytest.approx(2.0), None)}
    assert growth.expected([(1000, 0.1), (3000, 0.9)], 10_000) == pytest.approx(10.0)
    assert growth.bounded("ot_emd") and not growth.bounded("sa")


def test_one_size_says_what_finishes_and_what_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "load", lambda: None)
    order = ["--out", str(tmp_path), "--only", "sa", "source_only", "--n", "80", "--d", "4"]
    rows = {("sa", 80): growth.row("sa", 80, {"status": "refuses", "message": "too many"})}
    growth.write_rows(tmp_path / "large.csv", rows)
    large.main(order)
    text = (tmp_path / "large.md").read_text()
    assert "1 of 2 methods finish, 0 of them by a form" in text and "(1 refuses)" in text
    assert "- sa: refuses: too many" in text and "| source_only | " in text


def test_a_fork_is_ended_beyond_its_time() -> None:
    done = growth.apart("sa", 60, 4, 20, 8.0)
    assert done["status"] == "ok" and done["cpu_seconds"] > 0
    assert growth.apart("sa", 60, 4, 20, 0.001)["status"] == "memory limit"


def test_info_says_what_grows_fast() -> None:
    slow = dataclasses.make_dataclass("Slow", [])
    slow.growth = 2.0  # type: ignore[attr-defined]
    assert _growth(slow).startswith("time about as n^2 with") and _growth(METHODS.get("sa")) == ""


def test_the_page_of_samples_on_disk_holds_all_its_tables() -> None:
    row = on_disk.Row("sa", "ridge", 1000, 4, 2.0, 1.0, 7.0, 2.0, 50.0, 1.0, "a machine", "numpy 2")
    exact = [{"method": "sa", "n": "100000", "difference": "1e-12"}]
    sa = [{"n": "1000", "classifier": c, "accuracy": "70", "least_cosine": "0.01"} for c in on_disk.SA_HEADS]
    samples = [{"method": "ot_sinkhorn", "n": "1000", "sample": "300", "cpu_seconds": "2.1", "accuracy": "95"}]
    text = on_disk.page([row], exact, sa, samples)
    for line in (
        "0 of 1 stayed under 6 GiB",
        "| sa | 1.0e-12 |",
        "| 1,000 | 0.01 | 70.0 % | 70.0 % |",
        "300 | 2 s | 95.0 %",
    ):
        assert line in text
    assert "sa is low" not in on_disk.page([row])
