"""LaTeX tables fit the page they are printed on: heads, sizes, panels, breaks; compiled where LaTeX is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dazoo.bench.report.latex import Layout, latex
from dazoo.bench.report.model import Report, load_report
from dazoo.bench.report.typeset import NORMAL, SMALL, Size, heads, panels, points, widths
from dazoo.cli.commands import app
from tests.test_bench_paper import fill

PLACES = ("amazon", "caltech10", "dslr", "webcam")
TASKS = [f"toy/{a}->{b}" for a in PLACES for b in PLACES if a != b]
METHODS = ("coral", "nearest_neighbor_weighting", "source_only", "sfa", "tca", "gfk", "jda", "bda", "sa", "mida")
LAYOUTS = (
    Layout(), Layout(top=5), Layout(methods=("coral", "sfa")), Layout(families=True), Layout(top=5, families=True),
    Layout(long=True), Layout(long=True, families=True),
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Report:
    values = {name: 0.5 + i / 40 for i, name in enumerate(METHODS)}
    labels = values | {f"{name}_{k}": v - k / 100 for name, v in values.items() for k in range(4)}
    folder = fill(tmp_path_factory.mktemp("wide"), labels | {"target_oracle": 0.999}, TASKS)
    return load_report(folder, "last")


def test_long_names_become_letters_that_the_caption_explains() -> None:
    found, legend = heads(TASKS[:2])
    assert found == [r"A$\to$C", r"A$\to$D"] and legend == "A: amazon, C: caltech10, D: dslr"
    assert heads(["toy/a->b"]) == ([r"a$\to$b"], "")
    assert heads(["toy/a+b_1->c"]) == ([r"a+b\_1$\to$c"], "")
    # no three letters tell these apart
    assert heads(["toy/domain_1->domain_2"]) == ([r"1$\to$2"], r"1: domain\_1, 2: domain\_2")
    # one name begins like another, and case does not count
    assert heads(["toy/art->artistic"])[0] == [r"1$\to$2"]
    assert heads(["toy/amazon->anything"])[0] == [r"Am$\to$An"]


def test_columns_that_do_not_fit_stand_in_panels_of_equal_size() -> None:
    assert panels([50, *[20] * 6], 200) == [[1, 2, 3, 4, 5, 6]]
    assert panels([50, *[20] * 6], 130) == [[1, 2, 3], [4, 5, 6]]
    assert panels([50, *[20] * 7], 110) == [[1, 2], [3, 4], [5, 6, 7]]
    assert panels([50, 20, 20], 10) == [[1], [2]]


def test_every_panel_has_all_methods_and_the_mean_is_in_the_last(made: Report) -> None:
    text = latex(made, Layout(top=5))
    assert text.count(r"\begin{tabular}") == 2 and text.count("source\\_only &") == text.count("coral &")
    first, last = (part.split(r"\end{tabular}")[0] for part in text.split(r"\begin{tabular}")[1:])
    assert "Mean" not in first and "Mean" in last and (first + last).count(r"\to$") == len(TASKS)
    assert "A: amazon, C: caltech10, D: dslr, W: webcam." in text


def test_a_table_too_high_for_a_page_breaks_over_pages_unasked(made: Report) -> None:
    text = latex(made)
    assert r"\begin{longtable}" in text and r"\begin{table" not in text
    assert text.count(r"\addtocounter{table}{-1}") == text.count(r"\begin{longtable}") - 1
    assert r"\addlinespace" in text and r"\textit{target labels (upper bound)}} \\*" in text


def test_the_width_of_the_text_is_an_option(made: Report) -> None:
    wide = latex(made, Layout(top=5, width=600))
    assert wide.count(r"\begin{tabular}") == 1
    done = CliRunner().invoke(app, ["report", str(made.folder), "--top", "5", "--text-width", "600"])
    assert done.exit_code == 0, done.output
    assert (made.folder / "leaderboard.tex").read_text().count(r"\begin{tabular}") == 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex; apt install texlive-latex-recommended")
@pytest.mark.parametrize("width", [240, 397])
def test_every_layout_compiles_and_fits(made: Report, width: int, tmp_path: Path) -> None:
    page = rf"\usepackage[textwidth={width}pt,textheight=600pt]{{geometry}}"
    tables = "\\clearpage\n".join(latex(made, replace(layout, width=width)) for layout in LAYOUTS)
    head = rf"\documentclass{{article}}\usepackage{{booktabs,longtable}}{page}\begin{{document}}"
    (tmp_path / "t.tex").write_text(f"{head}\n{tables}\\end{{document}}")
    log = pdflatex(tmp_path)
    assert "Overfull" not in log and "too large for page" not in log


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex; apt install texlive-latex-recommended")
@pytest.mark.parametrize("size", [NORMAL, SMALL])
def test_estimated_widths_are_close_to_what_latex_measures(size: Size, tmp_path: Path) -> None:
    cells = [
        r"nearest\_neighbor\_weighting$^\dagger$",
        r"A$\to$C",
        rf"43.5 {{{size.spread}$\pm$0.7}}",
        r"\textbf{100.0}",
    ]
    boxes = "".join(rf"\sbox0{{{size.command} {cell}}}\typeout{{W \the\wd0}}" + "\n" for cell in cells)
    (tmp_path / "t.tex").write_text(rf"\documentclass{{article}}\begin{{document}}{boxes}x\end{{document}}")
    measured = [float(w) for w in re.findall(r"W ([\d.]+)pt", pdflatex(tmp_path))]
    assert len(measured) == len(cells)
    assert [points(c, size) for c in cells] == pytest.approx(measured, rel=0.15)
    assert widths([["a", "b"], [cells[0], cells[1]]], size)[0] == points(cells[0], size) + size.gap


def pdflatex(folder: Path) -> str:
    """The log of ``t.tex``, compiled twice, since long tables learn their widths in the first pass."""
    for _ in range(2):
        subprocess.run(
            ["pdflatex", "-draftmode", "-halt-on-error", "t.tex"], cwd=folder, check=True, capture_output=True
        )
    return (folder / "t.log").read_text(errors="replace")
