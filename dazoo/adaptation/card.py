"""One page about an adapted model: the domains, what was tried, the votes, the choice, what to expect, what to do next.

A file by itself: no script, nothing loaded from elsewhere, light and dark, for narrow and wide windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dazoo.adaptation._markup import STYLE, Cell, e, interval, legend, scatter, table
from dazoo.adaptation._rows import moved, shown
from dazoo.core.version import VERSION
from dazoo.data.task import Task

if TYPE_CHECKING:
    from dazoo.adaptation.result import Adaptation

POINTS = 300
EXAMPLES = 3
CLASSES = 40


def card(made: Adaptation, vectors: Task, files: Sequence[str] | None = None) -> str:
    """The page as HTML; ``vectors`` is the encoded task, ``files`` are names of the files of the target's rows."""
    parts = [
        _answer(made),
        _why(made),
        _sure(made),
        _next(made, files),
        _domains(made, vectors),
        _shares(made),
        _tried(made),
        _caveats(made),
    ]
    title = f"Model card: {made.chosen}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{e(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main><h1>{e(title)}</h1>{''.join(parts)}"
        f'<p class="dim">dazoo {VERSION}</p></main></body></html>\n'
    )


def _answer(made: Adaptation) -> str:
    x = made.expected
    parts: list[tuple[Cell, ...]] = [(name, percent(v)) for name, v in x.parts.items()]
    if made.measured is not None:
        parts.append(("measured afterwards on target rows with a label", percent(made.measured)))
    return (
        f"<h2>What to expect</h2><p class=big>{100 * x.value:.0f} %</p>"
        f"<p>of the target's rows should be right; between {100 * x.low:.0f} and {100 * x.high:.0f} %. "
        f"How sure that is: {e(x.sure)}.</p>"
        f"{interval(x.low, x.high, x.value, list(x.parts.values()))}"
        f"{table(('where this comes from', 'accuracy'), parts, numbers=(1,), name='estimates of the accuracy')}"
    )


def _why(made: Adaptation) -> str:
    said = "".join(f"<li>{e(s.rstrip('.'))}.</li>" for s in made.verdict.why)  # may begin with the name of a method
    return f"<h2>Why this model</h2><ul>{said}</ul>"


def _sure(made: Adaptation) -> str:
    """How far the probabilities can be trusted, and what can be asked of them."""
    told: dict[str, Any] = made.model.report.get("adapt", {})
    c, answers = told.get("calibration") or {}, told.get("answers") or {}
    parts = []
    if c:
        rows = [
            ("without a temperature", percent(c["before"])),
            (f"with T = {c['temperature']:.2f}", percent(c["after"])),
        ]
        parts.append(
            "<p>Probabilities are those of scores divided by a temperature, fitted on held-out source rows that are "
            "weighted like the target. Expected calibration error there:</p>"
            + table(("probabilities", "error"), rows, numbers=(1,), name="calibration")
        )
    if answers:
        lines = [(f"{float(a):.0%}", f"{share:.0%}") for a, share in answers["abstain"].items()]
        parts.append(
            "<p>Rows that get an answer where only so many answers may be wrong "
            "(<code>dazoo predict ... --abstain</code>):</p>"
            + table(("answers right", "target rows answered"), lines, numbers=(0, 1), name="answers")
        )
        s = answers["sets"]
        parts.append(
            f"<p>Sets of classes that miss the right one in {s['alpha']:.0%} of the rows "
            f"(<code>--conformal {s['alpha']:g}</code>) hold {s['mean']:.1f} of {len(made.task.classes)} classes on "
            f"average; {s['one']:.0%} hold one.</p>"
        )
    return f"<h2>Probabilities</h2>{''.join(parts)}" if parts else ""


def _next(made: Adaptation, files: Sequence[str] | None) -> str:
    names = made.task.classes
    found = [(i, votes) for i, entropy, votes in made.to_label if entropy > 0]
    if not found:
        return "<h2>What to label next</h2><p>The candidates agree on every row.</p>"
    said = [", ".join(f"{names[c]}: {n}" for c, n in sorted(v.items(), key=lambda p: -p[1])) for _, v in found]
    heads, cells = shown(made.task.target.x, [i for i, _ in found], _names(made))
    first = [str(i + 1) if files is None else files[i] for i, _ in found]
    rows = [[a, votes, *content] for a, votes, content in zip(first, said, cells)]
    text = (
        "Rows of the target on which the candidates disagree most. Their labels tell more than those of other rows: "
        "fill them in and adapt again."
    )
    head = ("row" if files is None else "file", "votes of the candidates", *heads)
    long = 2 if heads == ["text"] else -1
    return f"<h2>What to label next</h2><p>{text}</p>{table(head, rows, long=long, name='rows to label next')}"


def _domains(made: Adaptation, vectors: Task) -> str:
    task, d = made.task, made.diagnosis
    rows: list[tuple[Cell, ...]] = [
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
    numbers = table(("", ""), rows, name="the domains in numbers")
    cloud = scatter(_some(vectors.sources[0].x), _some(vectors.target.x))
    differ = moved(task.sources[0].x, task.target.x, _names(made))
    columns = ""
    if differ:
        head = ("", "source", "target", "histograms")
        columns = f"<h3>What differs most ({legend()})</h3>{table(head, differ, name='columns that differ most')}"
    return f"<h2>The domains</h2>{numbers}{cloud}{columns}{_examples(task, _names(made))}"


def _examples(task: Task, names: Sequence[str]) -> str:
    """A few rows of either domain, spread over it."""
    rows: list[list[Cell]] = []
    head: list[str] = []
    for domain, called in ((task.sources[0], "source"), (task.target, "target")):
        k = min(EXAMPLES, len(domain))
        chosen = [(2 * i + 1) * len(domain) // (2 * k) for i in range(k)]
        head, cells = shown(domain.x, chosen, names)
        for row, content in zip(chosen, cells):
            label = "" if domain.y is None or called == "target" else task.classes[int(domain.y[row])]
            rows.append([f"{called} {row + 1}", label, *content])
    if not head:
        return ""
    long = 2 if head == ["text"] else -1
    body = table(("row", "label", *head), rows, long=long, name="examples of both domains")
    return f"<h3>Some rows</h3>{body}"


def _shares(made: Adaptation) -> str:
    classes, y = made.task.classes, made.task.sources[0].y
    assert y is not None
    source = torch.bincount(y, minlength=len(classes)).double()
    target = torch.bincount(made.predictions.labels, minlength=len(classes)).double()
    rows = [
        (c, percent(a), percent(b))
        for c, a, b in zip(classes[:CLASSES], (source / source.sum()).tolist(), (target / target.sum()).tolist())
    ]
    more = f"<p>And {len(classes) - CLASSES} more classes.</p>" if len(classes) > CLASSES else ""
    head = ("class", "source", "predicted in the target")
    return f"<h2>Classes</h2>{table(head, rows, numbers=(1, 2), name='shares of the classes')}{more}"


def _tried(made: Adaptation) -> str:
    v = made.verdict
    able = [i for i, t in enumerate(made.trials) if not t.problem]
    place = {i: k for k, i in enumerate(able)}
    head = ("candidate", "seconds", *v.members, "total", "remark")
    rows: list[tuple[Cell, ...]] = []
    chosen = -1
    for i, t in enumerate(made.trials):
        cells = [t.name, f"{t.seconds:.1f}"]
        if i in place and v.members:
            k = place[i]
            cells += [f"{v.scores[m][k]:.3f}" for m in v.members] + [f"{v.totals[k]:.3f}"]
        else:
            cells += ["–"] * (len(v.members) + 1)
        remark = "chosen" if i == v.chosen else v.vetoes.get(i, t.problem)
        chosen = len(rows) if i == v.chosen else chosen
        rows.append((*cells, remark))
    agree = ", ".join(f"{e(name)} in {100 * share:.0f} %" for name, share in v.holds.items())
    agree = agree and f"<p>The lead of the best over the source's model held in bootstrap samples: {agree}.</p>"
    late = f"<p>Not tried for want of time: {e(', '.join(made.skipped))}.</p>" if made.skipped else ""
    body = table(head, rows, numbers=range(1, len(head) - 1), marked=chosen, name="candidates and votes")
    text = "The higher a score, the better."
    return f"<h2>What was tried, and the votes</h2><p>{text}</p>{body}{agree}{late}"


def _caveats(made: Adaptation) -> str:
    said = [
        "No target label took part in fitting or choosing"
        + (", but for the labelled rows named above" if "labelled rows" in made.verdict.members else ""),
        "Source and target are taken to have the same classes; rows of another class get one of them all the same",
        "A fifth of the labelled source was held out to calibrate and to estimate, and not learned from",
        *made.notes,
    ]
    return "<h2>What to know</h2><ul>" + "".join(f"<li>{e(sentence(s))}</li>" for s in said) + "</ul>"


def percent(share: float) -> str:
    """A share with one digit."""
    return f"{100 * share:.1f} %"


def sentence(text: str) -> str:
    """A remark as a sentence."""
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."


def _names(made: Adaptation) -> tuple[str, ...]:
    schema = made.task.target.schema
    return () if schema is None else tuple(schema.names)


def _some(x: Tensor) -> Tensor:
    step = max(1, -(-len(x) // POINTS))
    return x[::step].double()
