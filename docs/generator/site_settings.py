"""A page per setting: who may see what, a picture of the task, metrics, admissible rules, methods, leaderboards.

Everything is derived from the answers of the setting, their sentences (``core.questions``), the registries and
``results/``; nothing is said per setting here.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import yaml
from site_boards import about, board_table
from site_pages import ROOT, Entry, Results, table


def settings_index() -> str:
    """The settings with their questions, each with a link to its page."""
    from dazoo.core.questions import QUESTIONS
    from dazoo.core.setting import PRESETS

    rows = [
        f'<tr><td><a href="{name}/"><code>{name}</code></a></td><td>{html.escape(QUESTIONS[name])}</td></tr>'
        for name in PRESETS
    ]
    return table("<tr><th>setting</th><th>question</th></tr>", rows)


def setting_page(name: str, every: list[Entry], results: Results) -> str:
    """The page of one setting, in Markdown."""
    from dazoo.bench.metrics.registry import of_setting
    from dazoo.core.questions import hidden, question, sees
    from dazoo.core.setting import Setting

    setting = Setting.of(name)
    metrics = of_setting(setting)
    able = [e for e in every if setting in e.cls.settings]
    named = {e.name: e for e in every}
    parts = [
        f"---\ntitle: {name}\n---",
        f"# {name}",
        question(setting),
        picture(setting),
        "## Who may see what",
        f"A method sees {sees(setting)}. Hidden are {hidden(setting)}.",
        _how(setting),
        "## Metrics",
        f"`{metrics[0]}` stands for the setting"
        + (": " + ", ".join(f"`{m}`" for m in metrics[1:]) + " stand beside it." if len(metrics) > 1 else "."),
        "## How models are chosen",
        _rules(setting),
        f"## Methods ({len(able)})",
        ", ".join(f'<a href="../../methods/{e.name}/">{e.name}</a>' for e in able) or "None yet.",
    ]
    for suite in suites_of(name, results):
        parts += [
            f"## Leaderboard: {suite}",
            f"<p>{html.escape(about(suite))}</p>",
            board_table(results, named, suite, "../../", 20),
        ]
    return "\n\n".join(parts) + "\n"


def _how(setting: Any) -> str:
    said = [f"In a suite: `setting: {setting.name}`"]
    if setting.labels in ("partial", "open", "universal"):
        example = {"partial": "shared: 5, source: 5", "open": "shared: 5, target: 5"}.get(
            setting.labels, "shared: 4, source: 3, target: 3"
        )
        said.append(
            f"any dataset becomes such a task by the option `classes: {{{example}}}`, and methods of the closed set "
            "run as baselines with `closed_set_baselines: true`"
        )
    if setting.labels == "shifted":
        said.append(
            "any dataset becomes such a task by the option `prior: {kind: dirichlet, alpha: 1.0}`, or `tweak_one`, "
            "`knock_out`, `given`, which leaves out samples of the target; what has shifted by itself needs none"
        )
    return "; ".join(said) + "."


def _rules(setting: Any) -> str:
    from dazoo.validators.base import admission

    rules = admission(setting)
    if not rules.able:
        return "Nothing can be chosen: answers come before there is anything to choose by. Hyper-parameters are fixed."
    text = "Admissible: " + _listed(rules.able) + "."
    for reason, names in rules.refused.items():
        text += f"\n\nRefused: {_listed(names)} {reason}."
    if rules.without:
        text += f"\n\nWithout a value, since the {rules.hidden} is hidden: {_listed(rules.without)}."
    if setting.labels != "closed":
        text += "\n\nBy default a suite chooses nothing: the last checkpoint of the default hyper-parameters counts."
    return text


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)


def suites_of(name: str, results: Results) -> list[str]:
    """Committed suites whose runs are in a setting, by what their files say."""
    from dazoo.bench.plan.suite import Suite

    found = []
    for suite in sorted(results.boards):
        path = ROOT / "results" / suite / "suite.yaml"
        if not path.is_file():
            continue
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        if name in _names(Suite.of(data)):
            found.append(suite)
    return found


def _names(suite: Any) -> set[str]:
    from dazoo.bench.plan.protocol import labels_of
    from dazoo.core.setting import Setting
    from dazoo.data.label_sets import taken
    from dazoo.data.prior_shift import taken as taken_prior
    from dazoo.data.registry import DATASETS

    if suite.setting != "auto":
        return {suite.setting}
    found = set()
    for entry in suite.datasets or [suite.dataset]:
        dataset = DATASETS.get(entry.name)
        sets = taken(dict(entry.options), dataset.options, dataset.splits)
        shift = taken_prior(dict(entry.options), dataset.options)
        found.add(Setting.of("unsupervised").change(labels=labels_of(suite, sets, shift)).name)
    return found if found != {"unsupervised"} else set()


# -- the picture ------------------------------------------------------------------------------------------------------

COLOURS = ("#4c72b0", "#dd8452", "#55a868", "#8172b3", "#937860")
CLASSES = {"closed": ((0, 1, 2), (0, 1, 2)), "partial": ((0, 1, 2), (0, 1)), "open": ((0, 1), (0, 1, 3)),
           "universal": ((0, 1, 2), (0, 1, 3))}  # fmt: skip
OFFSETS = ((-12, -8), (-2, -11), (9, -5), (-9, 3), (2, 0), (-3, 10), (11, 6))
SHIFTED = (7, 3, 1)  # samples of each class where shares have moved
SPOTS = ((30, 34), (70, 66), (112, 32), (112, 68), (40, 72))


def picture(setting: Any) -> str:
    """Source and target as point clouds: colour is a label that the method sees, grey a sample without."""
    from dazoo.core.questions import question

    left, right = CLASSES.get(setting.labels, CLASSES["closed"])
    parts = [_cloud(left, setting.source == "data" and setting.labelled, "source", 0, gone=setting.source != "data")]
    if setting.source != "data":
        what = "model" if setting.source == "model" else "black box"
        parts.append(
            f'<rect x="160" y="34" width="62" height="34" rx="5" fill="none" stroke="currentColor"/>'
            f'<text x="191" y="55" text-anchor="middle">{what}</text>'
        )
    parts.append('<path d="M160 82 h62 m-7 -5 l7 5 l-7 5" fill="none" stroke="currentColor"/>')
    parts.append(_cloud(right, setting.marked == "half", "target", 232, setting))
    alt = html.escape(f"{setting.name}: {question(setting)}")
    return (
        f'<svg class="task" viewBox="0 0 390 120" role="img" aria-label="{alt}" font-size="11" '
        f'fill="currentColor" style="max-width: 34rem">{"".join(parts)}</svg>'
    )


def _cloud(classes: tuple[int, ...], labelled: bool, name: str, x: int, setting: Any = None, gone: bool = False) -> str:
    dots = []
    for c in classes:
        cx, cy = SPOTS[c]
        fewer = setting is not None and setting.labels == "shifted"
        for i in range(SHIFTED[c] if fewer else len(OFFSETS)):
            dx, dy = OFFSETS[i]
            shown = labelled or (setting is not None and setting.marked == "few" and i == 0)
            look = f'fill="{COLOURS[c]}"' if shown else 'fill="none" stroke="currentColor" stroke-opacity="0.6"'
            dots.append(f'<circle cx="{x + cx + dx}" cy="{cy + dy}" r="3.4" {look}/>')
    note = " (unseen)" if setting is not None and setting.target == "unseen" else ""
    note = " (arrives in batches)" if setting is not None and setting.target == "stream" else note
    return (
        f'<g opacity="{0.25 if gone else 1}"><rect x="{x + 2}" y="12" width="146" height="80" rx="8" fill="none" '
        f'stroke="currentColor" stroke-opacity="0.4"/>{"".join(dots)}'
        f'<text x="{x + 75}" y="108" text-anchor="middle">{name}{note}</text></g>'
    )
