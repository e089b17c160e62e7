"""The commands ``list`` and ``info``."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dazoo.cli.cache import remembered
from dazoo.cli.encoders import encoder_info, list_encoders
from dazoo.core.errors import DazooError, UnknownName, nearest

Row = dict[str, Any]


def show_list(kind: str, pattern: str, family: str | None, as_json: bool, setting: str | None = None) -> None:
    """Print one row per entry."""
    if family is not None and kind != "methods":
        raise DazooError(f"--family applies to methods, not to {kind}")
    every = remembered(kind, LISTS[kind])
    rows = [r for r in every if fnmatchcase(r["name"], pattern)]
    if family is not None:
        families = sorted({r["family"] for r in rows})
        rows = [r for r in rows if r["family"] == family]
        if not rows:
            raise UnknownName(f"no method of the family {family!r}: {nearest(family, families)}")
    if setting is not None:
        rows = _in_setting(kind, rows, setting)
        if not rows and not as_json:
            raise UnknownName(f"no method listed here runs in the setting {setting!r}")
    if as_json:
        print(json.dumps(rows, indent=1, default=str))
        return
    if not rows:
        raise UnknownName(f"no {kind[:-1]} matches {pattern!r}: {nearest(pattern, [r['name'] for r in every])}")
    table = Table(box=None, pad_edge=False)
    for column in rows[0]:
        table.add_column(column, no_wrap=column == "name", overflow="fold")
    for row in rows:
        table.add_row(*(escape(_text(v)) for v in row.values()))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    if sys.stdout.isatty():
        console.print(f"[dim]{len(rows)} {kind if len(rows) != 1 else kind[:-1]}[/dim]")


def _in_setting(kind: str, rows: list[Row], name: str) -> list[Row]:
    """The methods that run in a setting."""
    from dazoo.core.setting import PRESETS, Setting

    if kind != "methods":
        raise DazooError(f"--setting applies to methods, not to {kind}")
    asked = Setting.of(name)
    if asked.name in PRESETS:
        return [r for r in rows if asked.name in r["settings"]]
    from dazoo.methods.base import METHODS

    return [r for r in rows if not METHODS.get(r["name"]).handles.problem(asked)]


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else "" if value is None else str(value)


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, on one line."""
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[a-z)'])\.(?:\s|$)", paragraph, maxsplit=1)[0]


def method_doc(cls: type) -> str:
    """The docstring with the formula: that of the file, else that of the class."""
    return inspect.cleandoc(sys.modules[cls.__module__].__doc__ or cls.__doc__ or "")


def list_methods() -> list[Row]:
    from dazoo.methods.base import METHODS

    return [
        {
            "name": name,
            "family": cls.family,
            "settings": sorted(s.value for s in cls.settings),
            "year": cls.paper.year,
            "description": first_sentence(method_doc(cls)),
        }
        for name, cls in METHODS.items()
    ]


def list_datasets() -> list[Row]:
    from dazoo.data.registry import DATASETS

    return [
        {
            "name": name,
            "targets": d.targets,
            "domains": list(d.domains) if isinstance(d.domains, tuple) else ["found on disk"],
            "needs files": d.needs_root,
            "description": d.description,
        }
        for name, d in DATASETS.items()
    ]


def list_backbones() -> list[Row]:
    from dazoo.nets.backbones.base import BACKBONES

    return [
        {"name": name, "takes": sorted(b.kinds), "pretrained": b.has_pretrained, "description": b.description}
        for name, b in BACKBONES.items()
    ]


def list_recipes() -> list[Row]:
    from dazoo.engine.recipe import RECIPES

    fields = ("optimizer", "lr", "schedule", "steps", "batch", "bottleneck")
    return [{"name": n, **{f: getattr(r, f) for f in fields}} for n, r in sorted(RECIPES.items())]


def list_validators() -> list[Row]:
    from dazoo.validators.base import VALIDATORS

    return [
        {"name": n, "cost": v.cost, "needs": list(v.needs), "description": v.description} for n, v in VALIDATORS.items()
    ]


def list_suites() -> list[Row]:
    from dazoo.bench.plan.shipped import suite_files
    from dazoo.bench.plan.yamlfile import read_yaml

    rows = []
    for name, path in sorted(suite_files().items()):
        data, _ = read_yaml(path)
        found = data if isinstance(data, dict) else {}
        text = " ".join(str(found.get("description") or "").split())
        rows.append({"name": name, "file": str(path), "description": text})
    return rows


def list_settings() -> list[Row]:
    from dazoo.bench.metrics.registry import primary
    from dazoo.core.questions import QUESTIONS
    from dazoo.core.setting import PRESETS

    methods = remembered("methods", list_methods)
    return [
        {
            "name": name,
            "question": QUESTIONS[name],
            "metric": primary(setting),
            "methods": sum(name in row["settings"] for row in methods),
        }
        for name, setting in sorted(PRESETS.items())
    ]


LISTS: dict[str, Callable[[], list[Row]]] = {
    "methods": list_methods,
    "datasets": list_datasets,
    "backbones": list_backbones,
    "encoders": list_encoders,
    "suites": list_suites,
    "recipes": list_recipes,
    "validators": list_validators,
    "settings": list_settings,
}


# -- info ---------------------------------------------------------------------------------------------------------


def show_info(name: str, as_json: bool) -> None:
    """Print all there is to know about an entry, whatever kind it is; of all kinds where several have the name."""
    listed = [kind for kind in INFOS if name in {r["name"] for r in remembered(kind, LISTS[kind])}]
    found = [row for kind in listed for row in _info(kind, name)]
    found = found or next((rows for kind in OPEN if (rows := _info(kind, name))), [])
    if not found:
        every = [r["name"] for kind in LISTS for r in remembered(kind, LISTS[kind])]
        raise UnknownName(f"nothing here is called {name!r}: {nearest(name, every)}")
    if as_json:
        print(json.dumps(found[0] if len(found) == 1 else found, indent=1, default=str))
        return
    for i, one in enumerate(found):
        print("\n" if i else "", end="")
        _print_info(one)


def _info(kind: str, name: str) -> list[Row]:
    """What is known about an entry of a kind, as a list of one; empty where there is none."""

    def make() -> list[Row]:
        row = INFOS[kind](name)
        return [] if row is None else [row]

    return remembered(kind, make, of=name)


def method_info(name: str) -> Row | None:
    from dazoo.core.hparam import space
    from dazoo.methods.base import METHODS

    if name not in METHODS:
        return None
    cls = METHODS.get(name)
    paper = cls.paper
    return {
        "kind": "method",
        "name": name,
        "family": cls.family,
        "settings": sorted(s.value for s in cls.settings),
        "predicts": sorted(cls.targets),
        "paper": f"{paper.authors}: {paper.title}. {paper.where + ', ' if paper.where else ''}{paper.year}.",
        "url": paper.url,
        "deviations": paper.deviations or "none known",
        "starts from": cls.start,
        "grows": _growth(cls),
        "text": method_doc(cls),
        "hyper-parameters": [
            {
                "name": key,
                "default": meta.default,
                "range": list(meta.choices) if meta.choices else _range(meta.low, meta.high, meta.log),
                "meaning": meta.help,
            }
            for key, meta in space(cls).items()
        ],
    }


def _growth(cls: Any) -> str:
    """What is said of a method whose time or memory was measured to grow faster than n log n."""
    from dazoo.core.hparam import space

    powers = {"time": getattr(cls, "growth", 1.0), "memory": getattr(cls, "memory_growth", 1.0)}
    said = " and ".join(f"{what} about as n^{power:g}" for what, power in powers.items() if power > 1)
    end = "; beyond memory_gib by random parts, as n" if "memory_gib" in space(cls) else ""
    return f"{said} with the samples of a domain, faster than n log n{end}" if said else ""


def _range(low: float | None, high: float | None, log: bool) -> str:
    return "" if low is None or high is None else f"{low:g} to {high:g}{' (log)' if log else ''}"


def dataset_info(name: str) -> Row | None:
    from dazoo.data.registry import DATASETS

    if name not in DATASETS:
        return None
    entry = DATASETS.get(name)
    module = sys.modules.get(f"dazoo.data.sets.{name}") or sys.modules.get(getattr(entry.load, "__module__", ""))
    more = {
        "samples": ", ".join(f"{d} {n:,}" for d, n in entry.counts.items()),
        "splits": "; ".join(f"{k} {a}/{b}/{c}" for k, (a, b, c) in entry.splits.items()),
        "encoder": entry.encoder if isinstance(entry.encoder, str) else "by what the file holds",
        "where": entry.where,
        "cite": "; ".join(f"{p.title} ({p.year}) {p.url}" for p in entry.papers),
    }
    return {
        "kind": "dataset",
        "name": name,
        "description": entry.description,
        "targets": entry.targets,
        "domains": list(entry.domains) if isinstance(entry.domains, tuple) else "found on disk",
        "options": ", ".join(f"{k}={v!r}" for k, v in entry.options.items()),
        "needs files": "yes, under --data-root or $DAZOO_DATA" if entry.needs_root else "no",
        "license": entry.license,
        **{k: v for k, v in more.items() if v},
        "text": inspect.cleandoc(module.__doc__ or "") if module else "",
    }


def validator_info(name: str) -> Row | None:
    from dazoo.validators.base import VALIDATORS

    if name not in VALIDATORS:
        return None
    entry = VALIDATORS.get(name)
    text = inspect.cleandoc(sys.modules[entry.fn.__module__].__doc__ or "")
    return {"kind": "validator", "name": name, "cost": entry.cost, "needs": list(entry.needs), "text": text}


def recipe_info(name: str) -> Row | None:
    from dazoo.engine.recipe import RECIPES

    return {"kind": "recipe", **dataclasses.asdict(RECIPES[name])} if name in RECIPES else None


def backbone_info(name: str) -> Row | None:
    from dazoo.nets.lookup import get_backbone

    try:
        entry = get_backbone(name)
    except UnknownName:
        return None
    return {
        "kind": "backbone",
        "name": entry.name,
        "description": entry.description,
        "takes": sorted(entry.kinds),
        "image size": entry.image_size,
        "pretrained weights": entry.has_pretrained,
        "options": ", ".join(f"{k}={v!r}" for k, v in entry.options.items()),
    }


def setting_info(name: str) -> Row | None:
    """A setting with a name, or one that is put together: ``source_free+multi_source``."""
    from dazoo.core.setting import ALSO, PRESETS, REFUSED, Setting

    if name.partition("+")[0] not in (*PRESETS, *ALSO, *REFUSED):
        return None
    from dazoo.bench.metrics.registry import of_setting
    from dazoo.core.questions import hidden, question, sees
    from dazoo.validators.base import admission

    setting = Setting.of(name)
    metrics, rules = of_setting(setting), admission(setting)
    methods = remembered("methods", list_methods)
    return {
        "kind": "setting",
        "name": setting.name,
        "text": question(setting),
        "a method sees": sees(setting),
        "hidden": hidden(setting),
        "metric": metrics[0],
        "beside it": list(metrics[1:]),
        "may choose": list(rules.able) or "nothing: answers come before there is anything to choose by",
        "may not choose": [f"{', '.join(names)}: each {reason}" for reason, names in rules.refused.items()],
        "without a score": list(rules.without),
        "methods": [r["name"] for r in _in_setting("methods", methods, setting.name)],
    }


# "suites" have no page of their own; some names are in no list: settings and methods put together, backbones of timm
INFOS: dict[str, Callable[[str], Row | None]] = {
    "settings": setting_info,
    "methods": method_info,
    "datasets": dataset_info,
    "validators": validator_info,
    "recipes": recipe_info,
    "encoders": encoder_info,
    "backbones": backbone_info,
}
OPEN = ("settings", "methods", "backbones")


def _print_info(found: Row) -> None:
    console = Console(highlight=False)
    console.print(f"[bold]{escape(found['name'])}[/bold]  [dim]{found['kind']}[/dim]")
    if found.get("text"):
        console.print()
        console.print(escape(found["text"]), soft_wrap=True)
    console.print()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for key, value in found.items():
        if key not in ("kind", "name", "text", "hyper-parameters") and value not in (None, "", []):
            table.add_row(key, escape(_text(value)))
    console.print(table)
    rows = found.get("hyper-parameters")
    if rows:
        console.print()
        hparams = Table(box=None, pad_edge=False)
        for column in ("hyper-parameter", "default", "range", "meaning"):
            hparams.add_column(column, overflow="fold")
        for row in rows:
            hparams.add_row(
                row["name"], escape(repr(row["default"])), escape(_text(row["range"])), escape(row["meaning"])
            )
        console.print(hparams)
