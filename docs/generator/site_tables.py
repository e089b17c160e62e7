"""The tables that pages ask for by a placeholder; see ``hook``."""

from __future__ import annotations

import csv
import html
from pathlib import Path

from site_formula import prose
from site_pages import ROOT, SETTINGS, Entry, Results, percent, table


def settings_table(every: list[Entry]) -> str:
    """How many methods of each family run in each setting."""
    families = sorted({e.cls.family for e in every})
    head = "<tr><th>family</th>" + "".join(f"<th><code>{s}</code></th>" for s in SETTINGS) + "</tr>"
    rows = []
    for family in families:
        counts = [
            sum(e.cls.family == family and s in {x.value for x in e.cls.settings} for e in every) for s in SETTINGS
        ]
        cells = [f'<a href="../methods/#{family}">{family}</a>', *(str(c or "") for c in counts)]
        rows.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    return table(head, rows)


def validators_table() -> str:
    """All validators with cost and needs."""
    from dazoo.validators.base import VALIDATORS

    rows = []
    for name, v in VALIDATORS.items():
        needs = ", ".join(f"<code>{n}</code>" for n in v.needs)
        cells = (f"<code>{name}</code>", prose(v.description), v.cost, needs)
        rows.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    return table("<tr><th>name</th><th>what</th><th>cost</th><th>needs</th></tr>", rows)


def published_table(results: Results) -> str:
    """The verdicts of the ledger, each with a link to its method's page."""
    rows = []
    for row in results.published:
        cells = [
            html.escape(row[k]) for k in ("section", "published row", "published", "ours (%)", "difference", "verdict")
        ]
        rows.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    names = ("dataset", "published row", "published", "ours (%)", "difference", "verdict")
    return table("<tr>" + "".join(f"<th>{n}</th>" for n in names) + "</tr>", rows)


def regret_table(suite: str, root: Path = ROOT) -> str:
    """What every selection rule cost in a committed suite, least first."""
    with (root / "results" / suite / "validators.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    rows = []
    for row in found:
        fit = f"{float(row['rank_correlation']):.2f}" if row["rank_correlation"] else ""
        shares = (
            percent(row["mean"]),
            percent(row["regret"]),
            fit,
            percent(row["collapsed_share"]) if row["collapsed_share"] else "",
        )
        rows.append(
            f"<tr><td><code>{html.escape(row['rule'])}</code></td>" + "".join(f"<td>{c}</td>" for c in shares) + "</tr>"
        )
    names = ("rule", "mean (%)", "regret", "rank correlation", "collapsed (%)")
    return table("<tr>" + "".join(f"<th>{n}</th>" for n in names) + "</tr>", rows)


def sources_table(root: Path = ROOT) -> str:
    """What single sources give, and what methods for all of them: mean accuracy per target, best first."""
    single = _by_target(root / "results" / "single_source_office_caltech10" / "per_task.csv")
    several = _by_target(root / "results" / "multi_source_office_caltech10" / "per_task.csv")
    targets = sorted({target for found in several.values() for target in found})
    rows: list[tuple[str, list[float]]] = []
    for method, found in single.items():
        rows.append((f"{method}, mean of three sources", [sum(found[t]) / len(found[t]) for t in targets]))
        rows.append((f"{method}, best source by target labels*", [max(found[t]) for t in targets]))
    several_rows = [(method, [sum(found[t]) / len(found[t]) for t in targets]) for method, found in several.items()]
    rows += sorted(several_rows, key=lambda row: -sum(row[1]))
    lines = []
    for name, values in rows:
        cells = [html.escape(name), *(f"{100 * v:.1f}" for v in (*values, sum(values) / len(values)))]
        lines.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    return table("<tr>" + "".join(f"<th>{n}</th>" for n in ("row", *targets, "mean")) + "</tr>", lines)


def _by_target(path: Path) -> dict[str, dict[str, list[float]]]:
    """Accuracies by method and target, one for each source or set of sources."""
    out: dict[str, dict[str, list[float]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["metric"] == "accuracy":
                out.setdefault(row["method"], {}).setdefault(row["target"], []).append(float(row["mean"]))
    return out


def measured_table(place: str, root: Path = ROOT) -> str:
    """A table of measurements in the results, as it is; large whole numbers with commas."""
    with (root / "results" / place).open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    shown = [[f"{int(c):,}" if c.isdigit() else html.escape(c) for c in row] for row in rows]
    names = "".join(f"<th>{html.escape(n.replace('_', ' '))}</th>" for n in head)
    return table(f"<tr>{names}</tr>", ["<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in shown])
