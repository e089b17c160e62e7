"""Figures: the critical-difference diagram and the Pareto front, on the page and as files."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from dazoo.bench.records.store import Writer
from dazoo.bench.report.build import report
from dazoo.bench.report.canvas import Dot, Line, Word
from dazoo.bench.report.figures import CROWD, _beside, critical_differences, front_of, pareto
from dazoo.bench.report.model import Report, load_report
from tests.bench_tools import accuracies, write_run
from tests.test_bench_significance import DEMSAR

NAMES = ("plain", "+m", "+cf", "+m+cf")


def demsar(folder: Path) -> Report:
    writer = Writer(folder)
    for i, row in enumerate(DEMSAR.values()):
        for j, (name, value) in enumerate(zip(NAMES, row)):
            write_run(writer, name, f"uci/a{i}->b", target=accuracies(value), seconds=(1.0, 2.0, 4.0, 3.0)[j])
    return load_report(folder, "last")


def test_the_diagram_shows_demsars_ranks(tmp_path: Path) -> None:
    figure = critical_differences(demsar(tmp_path))
    assert figure is not None and "14 tasks" in figure.title and "difference 1.25" in figure.title
    words = [p.text for p in figure.parts if isinstance(p, Word)]
    assert {"plain (3.14)", "+m (2.00)", "+cf (2.89)", "+m+cf (1.96)"} <= set(words)
    bars = [p for p in figure.parts if isinstance(p, Line) and p.kind == "strong"]
    assert len(bars) == 1  # all ranks lie within 1.25 of each other: Nemenyi tells none apart


def test_the_front_is_what_nothing_beats(tmp_path: Path) -> None:
    assert front_of([1, 2, 3, 4], [0.5, 0.7, 0.6, 0.8]) == {0, 1, 3}
    assert front_of([1, 1, 1], [0.5, 0.7, 0.7]) == {1}
    figure = pareto(demsar(tmp_path))
    assert figure is not None
    full = {p.title.split(":")[0] for p in figure.parts if isinstance(p, Dot) and p.full}
    assert full == {"plain", "+m", "+m+cf"}
    for p in figure.parts:
        if isinstance(p, Dot):
            assert 0 < p.x < figure.width and 0 < p.y < figure.height


def test_pages_hold_the_figures_and_files_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    demsar(tmp_path)
    report(tmp_path, "last")
    assert not [*tmp_path.glob("*.pdf"), *tmp_path.glob("*.png")], "drawn when asked for"
    report(tmp_path, "last", figures=True)
    page = (tmp_path / "leaderboard.html").read_text()
    drawings = re.findall(r'<svg class="figure".*?</svg>', page, re.S)
    assert len(drawings) == 2
    for text in drawings:
        assert ElementTree.fromstring(text).tag == "svg"
    for name in ("critical_difference", "pareto"):
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_names_cannot_break_the_drawing(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for label in ("<b>&", 'x"', "$y$"):
        for task in ("toy/a->b", "toy/b->a"):
            write_run(writer, label, task, target=accuracies(0.5))
    made = load_report(tmp_path, "last")
    for figure in (critical_differences(made), pareto(made)):
        assert figure is not None and ElementTree.fromstring(figure.svg()).tag == "svg"
        figure.save(tmp_path)


def test_two_methods_or_one_task_have_no_diagram(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for label in ("a", "b", "c"):
        write_run(writer, label, "toy/a->b", target=accuracies(0.5))
    assert critical_differences(load_report(tmp_path, "last")) is None


def test_a_crowd_of_methods_is_cut_and_long_names_have_room(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for i in range(CROWD + 5):
        for task in "abc":
            write_run(
                writer, f"a_method_with_a_very_long_name_{i:02}", f"toy/s->{task}", target=accuracies(0.9 - i / 100)
            )
    figure = critical_differences(load_report(tmp_path, "last"))
    assert figure is not None and f"the first {CROWD} of {CROWD + 5} are drawn" in figure.title
    words = [p for p in figure.parts if isinstance(p, Word) and "long_name" in p.text]
    assert len(words) == CROWD
    assert all(p.x - 7 * len(p.text) > 0 for p in words if p.anchor == "end")
    assert all(p.x + 7 * len(p.text) < figure.width for p in words if p.anchor == "start")


def test_far_outliers_do_not_take_the_axis_and_names_do_not_cover_each_other(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for i in range(12):
        write_run(writer, f"method_{i:02}", "toy/s->a", target=accuracies(0.1 if i == 0 else 0.8 + i / 1000))
    made = load_report(tmp_path, "last")
    figure = pareto(made)
    assert figure is not None and "1 worse than the axis reaches are drawn at its end" in figure.title
    lowest = min(float(p.text) for p in figure.parts if isinstance(p, Word) and p.anchor == "end" and p.soft)
    assert lowest > 70
    dots = [(10.0 * i, 50.0, "a_long_name") for i in range(3)]
    assert len(_beside(dots, [(x, y) for x, y, _ in dots], 800)) < 3
    assert len(_beside([(300.0 * i + 100, 50.0, "name") for i in range(3)], [], 900)) == 3
