"""One page about an adapted model: the domains, what was tried, the votes, the choice, what to expect, what to do next.

A file by itself: no script, nothing loaded from elsewhere, light and dark.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dazoo.core.version import VERSION
from dazoo.data.task import Task

if TYPE_CHECKING:
    from dazoo.adaptation.result import Adaptation

POINTS = 300
STYLE = """
:root{color-scheme:light dark;--s:#2b6cb0;--t:#c05621;--line:#8884}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:.5rem 0;display:block;overflow-x:auto}
td,th{padding:.2rem .7rem;border-bottom:1px solid var(--line);text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.big{font-size:2.2rem;font-weight:600}.dim{opacity:.75}
tr.chosen{font-weight:600}svg{max-width:100%;height:auto}.s{fill:var(--s)}.t{fill:var(--t)}
svg text{fill:currentColor;font:13px system-ui,sans-serif}
"""


def card(made: Adaptation, vectors: Task) -> str:
    """The page as HTML; ``vectors`` is the encoded task."""
    parts = [_answer(made), _domains(made, vectors), _tried(made), _shares(made), _next(made), _caveats(made)]
    title = f"Model card: {made.chosen}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_e(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><h1>{_e(title)}</h1>{''.join(parts)}"
        f'<p class="dim">dazoo {VERSION}</p></body></html>\n'
    )


def _answer(made: Adaptation) -> str:
    e = made.expected
    parts = [(name, f"{100 * v:.1f} %") for name, v in e.parts.items()]
    if made.measured is not None:
        parts.append(("measured afterwards on target rows with a label", f"{100 * made.measured:.1f} %"))
    if e.error == e.error:
        parts.append(("calibration error (held-out source, weighted)", f"{100 * e.error:.1f} %"))
    return (
        f"<h2>What to expect</h2><p class=big>{100 * e.value:.0f} %</p>"
        f"<p>of the target's rows should be right; between {100 * e.low:.0f} and {100 * e.high:.0f} %. "
        f"{_e(e.sure.capitalize())}.</p>"
        f"{_table(('where this comes from', 'accuracy'), parts, numbers=(1,))}"
        f"<h2>Why this model</h2><p>{_e('. '.join(made.verdict.why))}.</p>"
    )


def _domains(made: Adaptation, vectors: Task) -> str:
    task, d = made.task, made.diagnosis
    rows = [
        ("labelled source rows", f"{len(task.sources[0])}"),
        ("target rows", f"{len(task.target)}"),
        ("classes", ", ".join(task.classes[:12]) + (" ..." if len(task.classes) > 12 else "")),
        ("numbers per row", f"{vectors.target.x.shape[1]}"),
    ]
    if d is not None:
        s = d.domains
        rows += [
            ("A-distance (0 alike, 2 apart)", f"{s.a_distance:.2f} (p = {s.a_p:.2g})"),
            ("MMD²", f"{s.mmd2:.4f} (p = {s.mmd_p:.2g})"),
            ("source that counts under weights", f"{s.overlap:.1%}"),
        ]
        if d.labels is not None:
            rows.append(("test of equal class proportions", f"p = {d.labels.p:.2g}"))
        if d.skill is not None:
            rows.append(("skill on the source (0 chance, 1 no error)", f"{d.skill:.2f}"))
    return f"<h2>The domains</h2>{_table(('', ''), rows)}{_scatter(vectors)}"


def _tried(made: Adaptation) -> str:
    v = made.verdict
    able = [i for i, t in enumerate(made.trials) if not t.problem]
    place = {i: k for k, i in enumerate(able)}
    head = ("candidate", "seconds", *v.members, "mean rank", "remark")
    rows: list[tuple[str, ...]] = []
    chosen = -1
    for i, t in enumerate(made.trials):
        cells = [t.name, f"{t.seconds:.1f}"]
        if i in place and v.members:
            k = place[i]
            cells += [f"{v.scores[m][k]:.3f}" for m in v.members] + [f"{v.ranks[k]:.1f}"]
        else:
            cells += ["–"] * (len(v.members) + 1)
        remark = "chosen" if i == v.chosen else v.vetoes.get(i, t.problem)
        chosen = len(rows) if i == v.chosen else chosen
        rows.append((*cells, remark))
    agree = ", ".join(f"{_e(name)} in {100 * share:.0f} %" for name, share in v.holds.items())
    agree = agree and f"<p>The lead of the best over the source's model held in bootstrap samples: {agree}.</p>"
    late = f"<p>Not tried for want of time: {_e(', '.join(made.skipped))}.</p>" if made.skipped else ""
    body = _table(head, rows, numbers=range(1, len(head) - 1), marked=chosen)
    return f"<h2>What was tried, and the votes</h2>{body}{agree}{late}"


def _shares(made: Adaptation) -> str:
    classes, y = made.task.classes, made.task.sources[0].y
    assert y is not None
    source = torch.bincount(y, minlength=len(classes)).double()
    target = torch.bincount(made.predictions.labels, minlength=len(classes)).double()
    rows = [
        (c, f"{100 * a:.1f} %", f"{100 * b:.1f} %")
        for c, a, b in zip(classes[:40], (source / source.sum()).tolist(), (target / target.sum()).tolist())
    ]
    return f"<h2>Classes</h2>{_table(('class', 'source', 'predicted in the target'), rows, numbers=(1, 2))}"


def _next(made: Adaptation) -> str:
    names = made.task.classes
    rows = [
        (str(i + 1), ", ".join(f"{names[c]}: {n}" for c, n in sorted(votes.items(), key=lambda p: -p[1])))
        for i, entropy, votes in made.to_label
        if entropy > 0
    ]
    if not rows:
        return "<h2>What to label next</h2><p>The candidates agree on every row.</p>"
    text = "Rows of the target on which the candidates disagree most; fill in their labels and adapt again."
    return f"<h2>What to label next</h2><p>{text}</p>{_table(('row', 'votes'), rows, numbers=(0,))}"


def _caveats(made: Adaptation) -> str:
    said = [
        "No target label took part in fitting or choosing"
        + (", but for the labelled rows named above" if "labelled rows" in made.verdict.members else ""),
        "Source and target are taken to have the same classes; rows of another class get one of them all the same",
        "A fifth of the labelled source was held out to calibrate and to estimate, and not learned from",
        *made.notes,
    ]
    return "<h2>What to know</h2><ul>" + "".join(f"<li>{_e(s)}.</li>" for s in said) + "</ul>"


def _scatter(vectors: Task) -> str:
    """Both domains on the first two principal components of the numbers that the candidates see."""
    xs, xt = _some(vectors.sources[0].x), _some(vectors.target.x)
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
    legend = (
        '<circle class="s" cx="16" cy="334" r="4"/><text x="26" y="339">source</text>'
        '<rect class="t" x="96" y="330" width="8" height="8"/><text x="110" y="339">target</text>'
    )
    words = "source as circles and target as squares on two principal components"
    return f'<svg viewBox="0 0 500 350" width="500" role="img" aria-label="{words}">{"".join(marks)}{legend}</svg>'


def _some(x: Tensor) -> Tensor:
    step = max(1, -(-len(x) // POINTS))
    return x[::step].double()


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] | range = (), marked: int = -1
) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if i in numbers else ''}>{_e(str(cell))}</{tag}>" for i, cell in enumerate(row)
        )

    top = f"<tr>{cells(head, 'th')}</tr>" if any(head) else ""
    body = "".join(f"<tr{' class=chosen' if i == marked else ''}>{cells(r, 'td')}</tr>" for i, r in enumerate(rows))
    return f"<table>{top}{body}</table>"


def _e(text: str) -> str:
    return html.escape(text)
