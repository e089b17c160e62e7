"""The command ``diagnose``."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dazoo.core.errors import DazooError

if TYPE_CHECKING:
    from dazoo.data.task import Task
    from dazoo.diagnosis import Diagnosis

MOST_CLASSES = 40
STYLES = {"should help": "green", "may help": "cyan", "little to gain": "dim", "beware": "yellow", "first": "red"}
KINDS = {
    "none": "no shift found",
    "features": "the features differ, class proportions look equal",
    "labels": "class proportions differ, and explain the difference",
    "apart": "source and target have different features",
    "both": "the features differ within classes, and perhaps class proportions too",
}


def show_diagnosis(name: str, *, limit: int, seed: int, as_json: bool, **how: Any) -> None:
    """Diagnose a task by name and print it."""
    from dazoo.diagnosis import diagnose

    found = diagnose(load(name, **how), limit=limit, seed=seed)
    if as_json:
        print(json.dumps(found.to_json(), indent=1))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(Group(*rendered(found)))


def load(
    name: str,
    *,
    data_root: Path | None,
    options: list[str],
    backbone: str | None,
    image_size: int | None,
    transform: str | None,
    setting: str | None,
    device: str,
) -> Task:
    """The task as the options of the command show it."""
    from dazoo.core.setting import Setting
    from dazoo.data.leaks import copies_of_labels
    from dazoo.data.registry import load_task
    from dazoo.data.transform import apply_to_task
    from dazoo.diagnosis.diagnose import with_features
    from dazoo.encoders.encode import encoded
    from dazoo.engine.device import require_device

    fields: dict[str, Any] = dict(option(text) for text in options)
    if setting is not None:
        fields["setting"] = Setting.of(setting)
    task = load_task(name, data_root, **fields)
    if backbone is not None:
        task = with_features(task, backbone, image_size=image_size, device=require_device(device))
    if backbone is None:
        raw = task
        task, encoding = encoded(raw, vectors=True)
        fitted = None if encoding is None else encoding.fitted
        for line in [] if fitted is None else [*fitted.said(), *copies_of_labels(raw.sources, fitted.ignored())]:
            print(line, file=sys.stderr)
    names = [t.strip() for t in (transform or "").split(",") if t.strip()]
    return apply_to_task(task, names)[0]


def option(text: str) -> tuple[str, Any]:
    """``NAME=VALUE`` with a number or truth value where it reads as one."""
    import yaml

    name, equals, value = text.partition("=")
    if not (equals and name):
        raise DazooError(f"an option is NAME=VALUE, not {text!r}")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        parsed = value
    return name, parsed


def rendered(d: Diagnosis) -> list[RenderableType]:
    """The parts of the page."""
    what = f"{d.n_classes} classes" if d.n_classes else "regression"
    size = f"{d.n_source} source and {d.n_target} target samples, {d.dims} features, {what}, setting {d.setting}"
    out: list[RenderableType] = [
        Text.from_markup(f"[bold]{escape(d.task)}[/bold]  {KINDS[d.kind]}"),
        Text(size, style="dim"),
        Text(""),
        *([] if d.kind == "apart" else [_domains(d)]),
    ]
    if d.classes and d.labels is not None:
        out += [Text(""), _classes(d)]
    out += [Text(""), _scores(d), Text(""), _advice(d), Text("")]
    out += [Text(f"note: {n}", style="dim") for n in d.notes]
    return [*out, Text(d.thresholds, style="dim"), Text(f"{d.seconds:.1f} s, without any target label", style="dim")]


def _table(title: str, *columns: str, left: tuple[str, ...] = ()) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", caption_justify="left", box=None, pad_edge=False
    )
    table.min_width = min(len(title), 100)
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right", no_wrap=column not in left)
    return table


def _domains(d: Diagnosis) -> Table:
    s, p = d.domains, _p
    table = _table("Do the domains differ?", "measure", "value", "p", "meaning", left=("measure", "meaning"))
    error = (1 - s.a_distance / 2) / 2
    table.add_row(
        "A-distance", f"{s.a_distance:.2f}", p(s.a_p), f"a linear classifier errs on {error:.0%} of held-out samples"
    )
    for name, distance in d.sources:
        table.add_row(f"  {escape(name)}", f"{distance:.2f}", "", "this source alone")
    table.add_row("MMD²", f"{s.mmd2:.4f}", p(s.mmd_p), "Gaussian kernel, permutation test")
    chance = f"{s.wasserstein_chance:.3f} by chance; sliced, in standard deviations"
    table.add_row("Wasserstein-2", f"{s.wasserstein:.3f}", "", chance)
    table.add_row("overlap", f"{s.overlap:.1%}", "", "of the source counts when weighed by the density ratio")
    if d.labels is not None:
        table.add_row("class proportions", "", p(d.labels.p), "test of equal predicted proportions")
        rest = "" if math.isnan(d.labels.rest_p) else p(d.labels.rest_p)
        why = f"do the domains agree once proportions do? ({d.labels.rest_n} source samples)"
        table.add_row("  what is left", "", rest or "–", why)
    if d.skill is not None:
        table.add_row("skill on the source", f"{d.skill:.2f}", "", "held out; 0 is chance, 1 no error")
    if d.r2 is not None:
        table.add_row("R² on the source", f"{d.r2:.2f}", "", "held out, ridge regression")
    return table


def _classes(d: Diagnosis) -> Table:
    assert d.labels is not None
    trusted = d.kind in ("labels", "none")
    estimate = "target share" if trusted else "target share?"
    columns = ("class", "samples", "recall", "precision", "taken for", "source share", estimate, "95 % interval")
    table = _table(
        "Classes on the source, and their estimated shares in the target", *columns, left=("class", "taken for")
    )
    place = {name: i for i, name in enumerate(d.class_names)}
    worst = sorted(d.classes, key=lambda c: c.recall)[:MOST_CLASSES]
    shown = d.classes if len(d.classes) <= MOST_CLASSES else tuple(worst)
    for c in shown:
        i = place[c.name]
        low, high = d.labels.low[i], d.labels.high[i]
        precision = "–" if math.isnan(c.precision) else f"{c.precision:.0%}"
        differs = "bold" if trusted and not low <= d.labels.source[i] <= high else "" if trusted else "dim"
        share = Text(f"{d.labels.target[i]:.1%}", style=differs)
        interval = Text(f"{low:.1%} to {high:.1%}", style=differs)
        table.add_row(
            escape(c.name),
            str(c.n),
            f"{c.recall:.0%}",
            precision,
            escape(c.taken_for),
            f"{d.labels.source[i]:.1%}",
            share,
            interval,
        )
    if not trusted:
        table.caption = "?: only right if features are equal within classes, which the tests do not support"
    if len(shown) < len(d.classes):
        table.caption = f"the {len(shown)} least separable of {len(d.classes)} classes"
    return table


def _scores(d: Diagnosis) -> Table:
    names = {"h_score": "H-score", "regularized_h_score": "regularised H-score", "leep": "LEEP", "nce": "NCE"}
    names |= {"logme": "LogME", "transrate": "TransRate"}
    title = f"Transferability of these features (higher is better), on {d.scored_on}"
    table = _table(title, *(names[n] for n in d.scores))
    table.add_row(*(f"{v:.4g}" for v in d.scores.values()))
    return table


def _advice(d: Diagnosis) -> Table:
    table = _table("What to try", "verdict", "families", "why", left=("families", "why"))
    table.columns[0].justify = "left"
    for a in d.advice:
        examples = f" [dim]({', '.join(a.methods)})[/dim]" if a.methods else ""
        table.add_row(f"[{STYLES[a.verdict]}]{a.verdict}[/]", ", ".join(a.families) + examples, escape(a.because))
    return table


def _p(value: float) -> str:
    return "< 1e-10" if value < 1e-10 else f"{value:.2g}"
