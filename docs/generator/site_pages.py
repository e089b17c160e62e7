"""The pages made from the registry and from committed results: one per method and the index by family.

Nothing here is written by hand about a method: text and formula come from its file's docstring, hyper-parameters from
its fields, promises from ``dazoo.contracts``, numbers from ``results/``.
"""

from __future__ import annotations

import csv
import html
import inspect
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from site_formula import formula, prose

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "unsupervised": "labelled source, unlabelled target",
    "multi_source": "several labelled sources, unlabelled target",
    "few_labels": "also a few labelled target samples",
    "oracle": "half of the target with its labels",
    "partial": "the target lacks classes",
    "open_set": "the target has unknown classes",
    "label_shift": "the shares of the classes are estimated",
    "unlabelled": "clusters of two domains, where no label is seen",
    "universal": "both have classes of their own",
    "source_free": "a model of the source instead of its samples",
    "black_box": "only probabilities of the source's model",
    "test_time": "the target arrives in batches",
}


@dataclass(frozen=True)
class Entry:
    """A method and what its page says."""

    name: str
    cls: Any

    @cached_property
    def doc(self) -> str:
        return inspect.cleandoc(sys.modules[self.cls.__module__].__doc__ or self.cls.__doc__ or "")

    @cached_property
    def blocks(self) -> list[str]:
        return re.split(r"\n\s*\n", self.doc)

    @property
    def title(self) -> str:
        """The first sentence, without the citation that follows it."""
        first = " ".join(self.blocks[0].split())
        return re.split(r"(?<=[a-z)'0-9])\.(?:\s|$)", first, maxsplit=1)[0]

    @property
    def kind(self) -> str:
        from dazoo.methods.base import GradientMethod, ShallowMethod

        ways = [(GradientMethod, "trained by gradients"), (ShallowMethod, "solved on vectors")]
        return " or ".join(text for base, text in ways if issubclass(self.cls, base))

    @property
    def file(self) -> str:
        return self.cls.__module__.replace(".", "/") + ".py"

    @property
    def evidence(self) -> str:
        found = re.search(r"Evidence:\s*(.*?)(?:\n\s*\n|\Z)", self.doc, re.S)
        return " ".join(found[1].split()) if found else ""

    @property
    def deviations(self) -> str:
        """What differs from the paper."""
        text: str = self.cls.paper.deviations
        return text or "none known"


def entries() -> list[Entry]:
    """All methods that come with dazoo."""
    from dazoo.methods.base import METHODS

    return [Entry(n, c) for n, c in METHODS.items() if c.__module__.startswith("dazoo.methods.")]


# -- results that are committed -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Results:
    """Rows of ``results/published.md`` and of the leaderboards, by method."""

    published: list[dict[str, str]]
    boards: dict[str, list[dict[str, str]]]

    @staticmethod
    def read(root: Path = ROOT) -> Results:
        return Results(_published(root / "results" / "published.md"), _boards(root / "results"))

    def published_of(self, name: str) -> list[dict[str, str]]:
        return [row for row in self.published if name in re.findall(r"[a-z0-9_]+", row["ours"])]

    def boards_of(self, name: str) -> list[tuple[str, dict[str, str], int]]:
        """(suite, row, number of rows) of the suites that hold the method under its own name."""
        return [
            (suite, row, len(rows))
            for suite, rows in sorted(self.boards.items())
            for row in rows
            if row["method"] == name
        ]


def _published(path: Path) -> list[dict[str, str]]:
    rows, section, head = [], "", []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        if line.startswith("## "):
            section, head = line[3:], []
        elif line.startswith("| ") and section:
            cells = [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not head:
                head = cells
            elif not set(line) <= set("| -"):
                rows.append({"section": section, **dict(zip(head, cells, strict=True))})
    return rows


def _boards(folder: Path) -> dict[str, list[dict[str, str]]]:
    found = {}
    for path in sorted(folder.glob("*/leaderboard.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = [r for r in csv.DictReader(file) if r.get("mean")]
        if rows and not path.parent.name.startswith("published_"):
            found[path.parent.name] = rows
    return found


# -- pages --------------------------------------------------------------------------------------------------------


def method_page(entry: Entry, family: list[Entry], results: Results) -> str:
    """The page of one method, in Markdown with HTML where Markdown would read formulas wrongly."""
    from dazoo.core.bibtex import bibtex_entry
    from dazoo.core.hparam import space

    cls, paper = entry.cls, entry.cls.paper
    parts = [
        "---",
        f"title: {entry.name}",
        "---",
        f"# {entry.name}",
        f'<p class="lead">{prose(entry.title)}</p>',
        _facts(entry),
        "## Formula",
        *_body(entry),
        "## Hyper-parameters",
        _knobs(cls),
        "## Paper",
        f'<p>{html.escape(paper.authors)}: <a href="{html.escape(paper.url)}">{html.escape(paper.title)}</a>. '
        f"{html.escape(paper.where + ', ' if paper.where else '')}{paper.year}.</p>",
        "```bibtex\n" + bibtex_entry(paper, entry.name) + "\n```",
        "## Deviations from the paper",
        f"<p>{prose(entry.deviations, space(cls))}</p>",
        "## Evidence",
        *_evidence(entry),
        "## Results",
        *_results(entry, results),
        "## Use",
        _use(entry),
        f"## Others of the family {cls.family}",
        "<p>" + ", ".join(f'<a href="../{e.name}/">{e.name}</a>' for e in family if e is not entry) + "</p>",
    ]
    return "\n\n".join(parts) + "\n"


def _facts(entry: Entry) -> str:
    cls = entry.cls
    rows = {
        "family": f'<a href="../#{cls.family}">{cls.family}</a>',
        "how": entry.kind,
        "settings": ", ".join(
            f"<code>{s}</code> ({SETTINGS[s]})" for s in SETTINGS if s in {x.value for x in cls.settings}
        ),
        "predicts": " or ".join(sorted(cls.targets)),
        "file": f"<code>{entry.file}</code>",
    }
    if cls.start:
        rows["starts from"] = f'<a href="../{cls.start}/">{cls.start}</a>'
    body = "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in rows.items())
    return f'<dl class="facts">{body}</dl>'


def _body(entry: Entry) -> list[str]:
    """The docstring's blocks, less what stands under headings of its own."""
    from dazoo.core.hparam import space

    names = set(space(entry.cls))
    out = []
    for i, block in enumerate(entry.blocks):
        if i == 0:
            citation = " ".join(block.split()).removeprefix(entry.title).lstrip(". ")
            if citation:
                out.append(f'<p class="citation">{prose(citation, names)}</p>')
        elif all(line.startswith("    ") for line in block.split("\n") if line.strip()):
            out.append(formula(block, names))
        else:
            kept = re.split(r"(?:^|\s)(?:Evidence|Source|Deviations):", " ".join(block.split()))[0].strip()
            if kept:
                out.append(f"<p>{prose(kept, names)}</p>")
    return out


def _knobs(cls: type) -> str:
    from dazoo.core.hparam import space

    found = space(cls)
    if not found:
        return "<p>None.</p>"
    rows = []
    for name, meta in found.items():
        if meta.choices:
            span = ", ".join(str(c) for c in meta.choices)
        elif meta.low is None or meta.high is None:
            span = "not searched"
        else:
            span = f"{meta.low:g} to {meta.high:g}" + (", log" if meta.log else "")
        cells = (
            f"<code>{name}</code>",
            f"<code>{html.escape(str(meta.default))}</code>",
            html.escape(span),
            prose(meta.help, found),
        )
        rows.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    head = "<tr><th>name</th><th>default</th><th>search range</th><th>meaning</th></tr>"
    return table(head, rows)


def table(head: str, rows: list[str]) -> str:
    """A table that scrolls where the page is narrower."""
    return f'<div class="wide"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def _cell(text: str) -> str:
    """A cell; one with sentences in it is wider."""
    return f"<td{' class=long' if len(text) > 50 else ''}>{html.escape(text)}</td>"


def percent(text: str) -> str:
    """A share as percent; an unfinished row says so instead of a number."""
    try:
        return f"{100 * float(text):.2f}"
    except ValueError:
        return html.escape(text)


def _evidence(entry: Entry) -> list[str]:
    from dazoo.contracts import CONTRACTS

    held = [c.promise for c in CONTRACTS if not c.skip(entry.cls)]
    evidence = re.sub(
        r"(tests/\w+\.py(?:::\w+)?|\btest_\w+|`dazoo check[^`]*`)", lambda m: f"``{m[1].strip('`')}``", entry.evidence
    )
    return [
        f"<p>Tests of the formula: {prose(evidence)}</p>",
        f"<p>Contract tests (<code>dazoo check {entry.name}</code>) that concern it: "
        f"{html.escape('; '.join(held))}.</p>",
    ]


def _results(entry: Entry, results: Results) -> list[str]:
    """Rows of the ledger and of the committed leaderboards."""
    out = []
    published = results.published_of(entry.name)
    if published:
        wanted = ("published row", "published", "ours (%)", "difference", "verdict", "hyper-parameters", "protocol")
        head = "<tr><th>dataset</th>" + "".join(f"<th>{w}</th>" for w in wanted) + "</tr>"
        rows = ["<tr>" + "".join(_cell(row[w]) for w in ("section", *wanted)) + "</tr>" for row in published]
        out += [
            "<p>Published rows (<code>results/published.md</code>, made by <code>dazoo ledger</code>):</p>",
            table(head, rows),
        ]
    else:
        out.append("<p>No published row is compared with it yet.</p>")
    boards = results.boards_of(entry.name)
    if boards:
        rows = []
        for suite, row, n in boards:
            span = f"{percent(row['ci_low'])} to {percent(row['ci_high'])}" if row["ci_low"] else ""
            rank = f"{float(row['mean_rank']):.2f} of {n}" if row["mean_rank"] else ""
            cells = (
                f'<a href="../../leaderboards/#{suite}">{suite}</a>',
                percent(row["mean"]),
                f"<span class=one>{span}</span>",
                f"<span class=one>{rank}</span>",
                html.escape(row["selected_by"]),
            )
            rows.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
        names = ("suite", "mean (%)", "95 % interval", "mean rank", "selected by")
        head = "<tr>" + "".join(f"<th>{n}</th>" for n in names) + "</tr>"
        out += ["<p>Leaderboards of this repository:</p>", table(head, rows)]
    return out


def _use(entry: Entry) -> str:
    from dazoo.core.hparam import space

    first = next(((k, m.default) for k, m in space(entry.cls).items()), None)
    options = f", {first[0]}={first[1]!r}" if first else ""
    return (
        f'```python\nimport dazoo\n\nmodel = dazoo.fit("{entry.name}", task{options})\n'
        f"labels = model.predict(x_target).labels\n```"
    )


def index_page(every: list[Entry]) -> str:
    """All methods by family."""
    families = sorted({e.cls.family for e in every})
    parts = [
        "---\ntitle: Methods\n---",
        "# Methods",
        f"{len(every)} methods of {len(families)} families. The pages are made from the files of the methods; "
        "`dazoo info NAME` shows the same on the command line.",
        " · ".join(f'<a href="#{f}">{f}</a>' for f in families),
    ]
    for family in families:
        about = inspect.cleandoc(sys.modules[f"dazoo.methods.{family}"].__doc__ or "").split("\n\n")[0]
        rows = [
            f'<tr><td><a href="{e.name}/">{e.name}</a></td><td>{prose(e.title.partition(": ")[2] or e.title)}</td>'
            f"<td>{e.cls.paper.year}</td><td>{', '.join(sorted(s.value for s in e.cls.settings))}</td></tr>"
            for e in every
            if e.cls.family == family
        ]
        head = "<tr><th>name</th><th>what</th><th>year</th><th>settings</th></tr>"
        parts += [f"## {family} {{ #{family} }}", f"<p>{prose(' '.join(about.split()))}</p>", table(head, rows)]
    return "\n\n".join(parts) + "\n"
