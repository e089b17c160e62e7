"""Figures: the critical-difference diagram and the Pareto front, on the page and as files."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from dazoo.bench.records.store import Writer
from dazoo.bench.report.build import report
from dazoo.bench.report.canvas import Dot, Line, Word
from dazoo.bench.report.figures import critical_differences, front_of, pareto
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
