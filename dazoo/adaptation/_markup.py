"""Pieces of the card as HTML: tables, and drawings as SVG, all texts escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

STYLE = """
:root{color-scheme:light dark;--s:#2b6cb0;--t:#c05621;--line:#8886;--soft:#8882}
@media (prefers-color-scheme:dark){:root{--s:#7ab8f5;--t:#f6a36b}}
body{background:Canvas;color:CanvasText}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}
h1{line-height:1.2}h2{margin:2.2rem 0 .4rem;line-height:1.3}h3{margin:1rem 0 .2rem;font-size:1rem}
.wide{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse}caption{text-align:left;font-weight:600}
td,th{padding:.25rem .7rem .25rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;
overflow-wrap:normal;font-weight:inherit}
thead th{font-weight:600}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.long{overflow-wrap:anywhere;min-width:min(14rem,40vw)}
.big{font-size:2.4rem;font-weight:600;line-height:1;margin:.6rem 0}.dim{opacity:.8}
tr.chosen{font-weight:600;background:var(--soft)}
svg{max-width:100%;height:auto;display:block}.s{fill:var(--s)}.t{fill:var(--t)}
svg text{fill:currentColor;font:13px system-ui,sans-serif}.line{stroke:currentColor;stroke-opacity:.5}
code{background:var(--soft);padding:.1rem .3rem;white-space:nowrap}img{display:block;image-rendering:auto}
.row{display:flex;flex-wrap:wrap;gap:.4rem 1rem}figure{margin:0}figcaption{font-size:.85rem}
"""


@dataclass(frozen=True)
class Raw:
    """HTML that is shown as it is; whatever else stands in a cell is escaped."""

    html: str


Cell = str | Raw


def e(text: str) -> str:
    """Text with what HTML would read as markup escaped."""
    return html.escape(text)


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    numbers: Sequence[int] | range = (),
    marked: int = -1,
    long: int = -1,
    name: str = "",
) -> str:
    """A table whose first column names the rows.

    Args:
        numbers: columns of numbers. marked: a row. long: a column of texts. name: of the table, for who cannot see it.
    """

    def shown(cell: Cell) -> str:
        return cell.html if isinstance(cell, Raw) else e(cell)

    def cells(row: Sequence[Cell]) -> str:
        made = []
        for i, cell in enumerate(row):
            kind = " class=n" if i in numbers else " class=long" if i == long else ""
            tag = "th scope=row" if i == 0 else "td"
            made.append(f"<{tag}{kind}>{shown(cell)}</{tag.split()[0]}>")
        return "".join(made)

    heads = "".join(f'<th scope="col"{" class=n" if i in numbers else ""}>{e(h)}</th>' for i, h in enumerate(head))
    top = f"<thead><tr>{heads}</tr></thead>" if any(head) else ""
    body = "".join(f"<tr{' class=chosen' if i == marked else ''}>{cells(r)}</tr>" for i, r in enumerate(rows))
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{e(name or "table")}">'
        f"<table>{top}<tbody>{body}</tbody></table></div>"
    )


def interval(low: float, high: float, value: float, parts: Sequence[float]) -> str:
    """The estimate of an accuracy with its interval, and the estimates that it consists of, from 0 to 100 %."""

    def at(share: float) -> str:
        return f"{10 + 480 * share:.1f}"

    ticks = "".join(
        f'<text x="{at(v)}" y="62" text-anchor="middle">{100 * v:.0f} %</text>' for v in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    dots = "".join(f'<circle class="t" cx="{at(p)}" cy="24" r="5"/>' for p in parts)
    words = f"expected accuracy {100 * value:.0f} %, between {100 * low:.0f} and {100 * high:.0f} %"
    return (
        f'<svg viewBox="-14 0 528 70" width="500" role="img" aria-label="{words}">'
        f'<line class="line" x1="10" x2="490" y1="24" y2="24"/>'
        f'<rect class="s" x="{at(low)}" y="16" width="{480 * (high - low):.1f}" height="16" fill-opacity=".35"/>'
        f'<rect class="s" x="{10 + 480 * value - 2:.1f}" y="8" width="4" height="32"/>{dots}{ticks}</svg>'
        '<p class="dim">Line: what to expect; bar: interval; dots: the estimates below.</p>'
    )


def bars(source: Sequence[float], target: Sequence[float]) -> str:
    """Two histograms over the same bins, shares of either domain, source above and target below."""
    top = max(*source, *target, 1e-12)
    n = len(source)
    marks = []
    for kind, values, sign in (("s", source, -1), ("t", target, 1)):
        for i, v in enumerate(values):
            h = 18 * v / top
            y = 20 - h if sign < 0 else 20
            marks.append(
                f'<rect class="{kind}" x="{120 * i / n:.1f}" y="{y:.1f}" width="{114 / n:.1f}" height="{h:.1f}"/>'
            )
    said = "; ".join(f"{100 * a:.0f} and {100 * b:.0f} %" for a, b in zip(source, target))
    return f'<svg viewBox="0 0 120 40" width="120" role="img" aria-label="shares by bin: {said}">{"".join(marks)}</svg>'


def scatter(xs: Tensor, xt: Tensor) -> str:
    """Two clouds of points on their first two principal components; empty where there are none."""
    both = torch.cat([xs, xt])
    both = (both - both.mean(0)) / both.std(0).clamp(min=1e-12)
    if both.shape[1] < 2 or len(both) < 3:
        return ""
    u, s, _ = torch.linalg.svd(both, full_matrices=False)
    z = u[:, :2] * s[:2]
    low, high = torch.quantile(z, 0.01, 0), torch.quantile(z, 0.99, 0)
    z = ((z - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    marks = []
    for i, (a, b) in enumerate(z.tolist()):
        x, y = 10 + 480 * a, 310 - 300 * b
        if i < len(xs):
            marks.append(f'<circle class="s" cx="{x:.0f}" cy="{y:.0f}" r="3" fill-opacity=".6"/>')
        else:
            marks.append(f'<rect class="t" x="{x - 3:.0f}" y="{y - 3:.0f}" width="6" height="6" fill-opacity=".6"/>')
    words = "source as circles and target as squares on two principal components"
    drawn = f'<svg viewBox="0 0 500 320" width="500" role="img" aria-label="{words}">{"".join(marks)}</svg>'
    return f"<figure>{drawn}<figcaption>{legend()}, on two principal components</figcaption></figure>"


def legend() -> str:
    """What the colours mean."""
    return (
        '<svg viewBox="0 0 12 12" width="12" aria-hidden="true" style="display:inline"><circle class="s" cx="6" cy="6" '
        'r="5"/></svg> source <svg viewBox="0 0 12 12" width="12" aria-hidden="true" style="display:inline">'
        '<rect class="t" x="1" y="1" width="10" height="10"/></svg> target'
    )
