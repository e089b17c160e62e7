"""The conductor of a report: reads the records once, hands the model to the renderers, and writes what they return."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from dazoo.bench.report import curves, label_curves, tables
from dazoo.bench.report import scatter as features
from dazoo.bench.report.figures import figures as drawings
from dazoo.bench.report.latex import Layout, latex
from dazoo.bench.report.markdown import markdown
from dazoo.bench.report.model import Report, load_report
from dazoo.bench.report.page import page
from dazoo.bench.report.sections import sections_of
from dazoo.core.errors import DazooError
from dazoo.core.files import write_text


def report(
    folder: str | Path,
    select_by: str | None = None,
    metric: str | None = None,
    scatter: str = "pca",
    scatter_methods: Sequence[str] = (),
    layout: Layout | None = None,
    figures: bool = False,
) -> Report:
    """Rebuild ``leaderboard.{md,csv,html,tex}``, ``per_task.csv``, ``seconds.csv`` and ``validators.csv``.

    All of it comes from records alone. The page holds the figures; PDF and PNG are written when asked for, and where
    Matplotlib is installed. The scatter of features comes from kept outputs, or from ``scatter.json``, where its
    coordinates are kept.

    Args:
        scatter: ``pca`` or ``tsne``. scatter_methods: whose features are shown, instead of a choice by the numbers.
        layout: of ``leaderboard.tex``. figures: also write PDF and PNG.

    Raises:
        DazooError: as of ``load_report``. NotWritten: some files cannot be written; all others are.
    """
    made = load_report(folder, select_by, metric)
    sections = sections_of(made)
    learned = curves.curves_of(made)
    points = features.scatter(made, scatter, scatter_methods)
    texts = {
        "leaderboard.csv": tables.leaderboard_csv(made),
        "per_task.csv": tables.per_task_csv(made),
        "seconds.csv": tables.seconds_csv(made),
        "validators.csv": sections.validators_csv(),
        "leaderboard.md": markdown(made, sections),
        "leaderboard.tex": latex(made, layout),
        "leaderboard.html": page(made, sections, learned, points),
    }
    if label_curves.label_curves(made):
        texts["label_curves.csv"] = label_curves.csv(made)
    steps: list[Callable[[], object]] = [partial(write_text, made.folder / name, text) for name, text in texts.items()]
    drawn = (
        (*drawings(made), *label_curves.figures(made), curves.figure(made, learned), features.figure(points))
        if figures
        else ()
    )
    steps += [partial(figure.save, made.folder) for figure in drawn if figure is not None]
    steps += [partial(features.store, made.folder, points)]
    problems = [problem for step in steps if (problem := _tried(step))]
    if problems:
        raise NotWritten(made, problems)
    return made


class NotWritten(DazooError):
    """Some files of a report could not be written; the others are there, and ``report`` is what they say."""

    def __init__(self, made: Report, problems: list[str]):
        self.report = made
        super().__init__(f"{'; '.join(problems)}; make room and write them again with: dazoo report {made.folder}")


def _tried(step: Callable[[], object]) -> str:
    """What file a step could not write, and why."""
    try:
        step()
    except OSError as error:
        return f"{error.filename} could not be written ({error.strerror or error})"
    return ""
