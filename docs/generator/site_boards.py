"""Leaderboards, those of the home page too, and the gallery: made from ``results/`` while the site is built."""

from __future__ import annotations

import csv
import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from site_pages import ROOT, Entry, Results, percent, table

SHOWN_FIRST = 10
FIGURES = {
    "pareto": "accuracy against time",
    "critical_difference": "which mean ranks differ by more than chance",
    "learning_curves": "losses, label-free scores and target accuracy over the steps of training",
    "scatter": "features of source and target",
    "scaling": "time and memory over the number of samples",
}
SEES = {"few_labels", "oracle"}
"""Settings in which a method sees labels of the target."""


@dataclass(frozen=True)
class Picture:
    """A committed figure: its file, its place on the site and what it shows."""

    file: Path
    suite: str
    caption: str

    @property
    def place(self) -> str:
        return f"gallery/{self.suite}_{self.file.name}"


def pictures(root: Path = ROOT) -> list[Picture]:
    """The figures below ``results/``, suites of the ledger left out."""
    found = sorted((root / "results").glob("*/*.png"))
    return [
        Picture(path, path.parent.name, FIGURES.get(path.stem, path.stem.replace("_", " ")))
        for path in found
        if not path.parent.name.startswith("published_")
    ]


def about(suite: str, root: Path = ROOT) -> str:
    """What a suite's file says of it; empty for measurements that are no suites."""
    path = root / "results" / suite / "suite.yaml"
    data = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return " ".join(str(data.get("description") or "").split())


def metric_of(suite: str, root: Path = ROOT) -> str:
    """What the numbers of a suite's leaderboard are, in words."""
    path = root / "results" / suite / "per_task.csv"
    if not path.is_file():
        return "mean"
    with path.open(encoding="utf-8", newline="") as file:
        names = {row["metric"] for row in csv.DictReader(file)}
    return names.pop().replace("_", " ") if len(names) == 1 else "mean"


def board_table(
    results: Results, every: Mapping[str, Entry], suite: str, home: str = "", first: int | None = None
) -> str:
    """Rows of a committed leaderboard; ``home`` leads from the page to the home page."""
    rows, cells = [], []
    rules = sorted({row["selected_by"] for row in results.boards[suite]})
    for row in results.boards[suite][:first]:
        name = html.escape(row["method"])
        sight = _sight(every.get(row["method"]))
        method = f'<a href="{home}methods/{name}/">{name}</a>' if row["method"] in every else name
        span = f"{percent(row['ci_low'])} to {percent(row['ci_high'])}" if row["ci_low"] else ""
        rank = f"{float(row['mean_rank']):.2f}" if row["mean_rank"] else ""
        cells = [
            f"<span class=one>{method}{sight}</span>",
            percent(row["mean"]),
            f"<span class=one>{span}</span>",
            rank,
            row["family"],
        ]
        cells += [] if len(rules) == 1 else [html.escape(row["selected_by"])]
        rows.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    names = ["method", f"{metric_of(suite)} (%)", "95 % interval", "mean rank", "family", "selected by"][: len(cells)]
    head = "<tr>" + "".join(f"<th>{n}</th>" for n in names) + "</tr>"
    rule = f"<p>Trials and checkpoints are selected by <code>{html.escape(rules[0])}</code>.</p>\n\n"
    return (rule if len(rules) == 1 else "") + table(head, rows)


def _sight(entry: Entry | None) -> str:
    """A mark on methods that run in no setting without target labels."""
    sees = entry is not None and {s.value for s in entry.cls.settings} <= SEES
    return ' <abbr title="sees target labels">†</abbr>' if sees else ""


def boards_page(results: Results, every: list[Entry]) -> str:
    """All committed leaderboards, one after the other."""
    named = {e.name: e for e in every}
    parts = [
        "---\ntitle: Leaderboards\n---",
        "# Leaderboards",
        "Made from `results/` while this site was built; the README names the command "
        "behind each. Rows marked † see labels of the target.",
        " · ".join(f'<a href="#{suite}">{suite}</a>' for suite in sorted(results.boards)),
    ]
    for suite, rows in sorted(results.boards.items()):
        many = board_table(results, named, suite, "../")
        if len(rows) > 2 * SHOWN_FIRST:
            head = board_table(results, named, suite, "../", SHOWN_FIRST)
            many = f"{head}\n\n<details><summary>All {len(rows)} rows</summary>{many[many.index('<div') :]}</details>"
        parts += [f"## {suite} {{ #{suite} }}", f"<p>{html.escape(about(suite))}</p>", many]
    return "\n\n".join(parts) + "\n"


def gallery_page(shown: list[Picture]) -> str:
    """Committed figures, suite by suite."""
    parts = [
        "---\ntitle: Gallery\n---",
        "# Gallery",
        "Figures that suites wrote beside their tables. Select one to see it at full size.",
    ]
    for suite in dict.fromkeys(p.suite for p in shown):
        parts += [f"## {suite} {{ #{suite} }}", f"<p>{html.escape(about(suite))}</p>"]
        figures = [
            f'<figure><a href="../{p.place}"><img src="../{p.place}" alt="{suite}: {p.caption}" loading="lazy"></a>'
            f"<figcaption>{p.caption[0].upper()}{p.caption[1:]}</figcaption></figure>"
            for p in shown
            if p.suite == suite
        ]
        parts.append(f'<div class="gallery">{"".join(figures)}</div>')
    return "\n\n".join(parts) + "\n"
