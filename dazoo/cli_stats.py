"""The commands that read result folders: ``compare``, ``cite`` and ``diff``."""

from __future__ import annotations

from pathlib import Path


def show_compare(folder: Path, a: str, b: str, select_by: str | None, metric: str | None) -> None:
    """Print whether ``a`` is better than ``b``."""
    from dazoo.bench.compare import compare, sentence
    from dazoo.bench.report import load_report

    made = load_report(folder, select_by, metric)
    print(sentence(made, compare(made.board.cells, a, b, made.board.higher_is_better, made.percent)))
