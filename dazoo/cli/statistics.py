"""The commands that read result folders: ``compare``, ``cite``, ``diff`` and ``export-model``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dazoo.cli.mirrored import mirrored

if TYPE_CHECKING:
    from dazoo.bench.report.model import Report


def _read(folder: Path, select_by: str | None = None, metric: str | None = None) -> Report:
    """The report of a folder; records that cannot be used are named on standard error."""
    from dazoo.bench.report.model import load_report

    made = load_report(folder, select_by, metric)
    for problem in [made.runs.damage.summary(), *made.problems]:
        if problem:
            print(f"warning: {folder}: {problem}", file=sys.stderr)
    return made


@mirrored
def show_compare(folder: Path, a: str, b: str, select_by: str | None, metric: str | None) -> None:
    """Print whether ``a`` is better than ``b``."""
    from dazoo.bench.analysis.compare import compare
    from dazoo.bench.report.verdict import sentence

    made = _read(folder, select_by, metric)
    print(sentence(made, compare(made.board.cells, a, b, made.board.higher_is_better, made.percent)))


@mirrored
def show_cite(folder: Path) -> None:
    """Print a method-section fragment and the BibTeX of dazoo, the datasets and all methods of a folder."""
    from dazoo.bench.report.cite import bibtex, data_of, fragment, papers_of, protocol_of, software

    made = _read(folder)
    papers, unknown = papers_of(made)
    print("% method section")
    print(fragment(made, papers, protocol_of(made)))
    print("% references")
    for name in unknown:
        print(f"% no paper is known here for the method {name}; cite it by hand")
    print(software() + "\n")
    if data := data_of(made):
        print(bibtex(data))
    print(bibtex(papers))


@mirrored
def show_diff(old: Path, new: Path, select_by: str | None, metric: str | None) -> None:
    """Print what moved between two result folders."""
    from dazoo.bench.report.diff import told

    print("\n".join(told(_read(old, select_by, metric), _read(new, select_by, metric))))


@mirrored
def show_export(folder: Path, out: Path, **options: Any) -> None:
    """Write the selected model of a folder and say what it is."""
    from dazoo.bench.export import export_model

    place = out.with_suffix(".safetensors") if out.suffix == ".onnx" else out
    made = export_model(folder, place, **options)
    if place != out:
        from dazoo.cli.deploy import show_onnx

        show_onnx(place, out)
    how = "fitted again" if made.again else "as it was kept"
    print(f"{made.path}: {made.label} on {made.task}, seed {made.seed}, step {made.step}, {how}")
    if made.prepared:
        print(f"it expects samples as the suite prepared them: {made.prepared}")
