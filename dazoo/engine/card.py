"""What a model is, in words: the text that a person or the model hub reads (``model.card``)."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from dazoo.core.errors import DazooError, UnknownName
from dazoo.core.files import write_text
from dazoo.methods.base import METHODS

MOST = 20
"""Classes, columns and warnings that are listed; further ones are counted."""


class Card(str):
    """Markdown that notebooks show as a page; ``write`` puts it into a file, as HTML where the name ends so."""

    __slots__ = ()

    @property
    def html(self) -> str:
        """The card as HTML."""
        return "\n".join(_blocks(str(self)))

    def _repr_html_(self) -> str:
        return self.html

    def write(self, path: str | Path) -> Path:
        """Write the card.

        Raises:
            DazooError: the file cannot be written.
        """
        path = Path(path)
        page = path.suffix.lower() in (".html", ".htm")
        start = '<!doctype html><meta charset="utf-8"><title>Model card</title><style>body{font:16px/1.5 system-ui,'
        start += "sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}td{padding:.1rem .8rem}</style>"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, f"{start}{self.html}\n" if page else f"{self}\n")
        except OSError as error:
            raise DazooError(f"cannot write the card {path} ({error}); choose another folder") from error
        return path


def card_of(model: Any) -> Card:
    """The card of an ``engine.model.Model``."""
    settings = model.report.get("settings", {})
    parts = [
        f"# {settings.get('method', 'A model')}: {_what(model)}",
        *_section("Data", _data(model, settings)),
        *_section("Method", _method(settings)),
        *_section("Expected accuracy", _expected(model)),
        *_section("Caveats", _caveats(model)),
        *_section("Settings", _settings(settings)),
        *_section("Versions", [_pairs(model.report.get("versions", {}))]),
    ]
    return Card("\n\n".join(p for p in parts if p))


def _section(title: str, lines: list[str]) -> list[str]:
    lines = [line for line in lines if line]
    return [f"## {title}", *lines] if lines else []


def _what(model: Any) -> str:
    return f"a classifier of {len(model.classes)} classes" if model.classes else "a regression"


def _data(model: Any, settings: dict[str, Any]) -> list[str]:
    schema = model.schema
    shape = " x ".join(map(str, schema.shape))
    form = f"{schema.kind} samples" + (f" of {'shape ' if len(schema.shape) > 1 else ''}{shape}" if shape else "")
    form += " numbers" if len(schema.shape) == 1 and schema.kind == "vector" else ""
    found = [f"It takes {form} of the target domain. Task: `{settings.get('task', '?')}`."]
    if schema.names:
        found.append(f"Columns: {_some(schema.names)}.")
    if model.classes:
        found.append(f"Classes: {_some(model.classes)}.")
    if shares := model.report.get("shares"):
        told = (f"{name} {100 * share:.0f} %" for name, share in list(shares.items())[:MOST])
        found.append(f"Class shares of the target as the method estimated them: {', '.join(told)}.")
    shown = len(model.shown)
    how = f"{shown} target labels were" if shown else "No target label was"
    found.append(f"{how} shown to the method (setting {settings.get('setting', '?')}).")
    return found


def _method(settings: dict[str, Any]) -> list[str]:
    name = settings.get("method")
    try:
        paper = METHODS.get(str(name)).paper
    except UnknownName:
        return [f"`{name}`, a method that is not installed here."]
    found = [f"`{name}`: {paper.authors}. [{paper.title}]({paper.url}). {paper.venue} {paper.year}."]
    return [*found, *([f"Where it differs from the paper: {paper.deviations}"] if paper.deviations else [])]


def _expected(model: Any) -> list[str]:
    told = model.report.get("adapt", {})
    e = told.get("expected")
    if not e:
        return ["Unknown: no target label was compared with. `dazoo.evaluate` measures it where there are some."]
    found = [
        f"{100 * e['value']:.0f} % of the target, between {100 * e['low']:.0f} and {100 * e['high']:.0f} %: {e['sure']}"
    ]
    return [*found, *([f"Chosen without target labels: {'; '.join(told['why'])}."] if told.get("why") else [])]


def _caveats(model: Any) -> list[str]:
    said = [*model.report.get("adapt", {}).get("notes", ()), *model.report.get("warnings", ())]
    said += [_text(finding) for finding in model.report.get("findings", ())]
    said = list(dict.fromkeys(said))
    if model.classes:
        said.append("Samples of a class that is not listed get one of the listed ones, unless the setting is open")
    said.append("It was adapted to one target domain; on others it is a model like any other")
    more = [f"- and {len(said) - MOST} more"] if len(said) > MOST else []
    return ["\n".join([*(f"- {_line(text)}" for text in said[:MOST]), *more])]


def _text(finding: Any) -> str:
    return str(finding.get("text") or finding) if isinstance(finding, dict) else str(finding)


def _settings(settings: dict[str, Any]) -> list[str]:
    flat = {
        k: v for k, v in settings.items() if k not in ("method", "task", "hparams", "recipe") and v not in (None, [])
    }
    flat |= {k: v for k, v in (settings.get("hparams") or {}).items()}
    recipe = settings.get("recipe") or {}
    flat |= {f"recipe {k}": recipe[k] for k in ("name", "optimizer", "lr", "steps", "batch") if k in recipe}
    return [_pairs(flat)]


def _pairs(values: dict[str, Any]) -> str:
    return "\n".join(f"- {k}: `{_line(str(v))}`" for k, v in values.items())


def _some(names: Any) -> str:
    listed = [_line(str(n)) for n in names]
    return ", ".join(listed[:MOST]) + (f" and {len(listed) - MOST} more" if len(listed) > MOST else "")


def _line(text: str) -> str:
    return " ".join(text.split())


def _blocks(text: str) -> list[str]:
    """The few forms of Markdown that a card has, as HTML."""
    made = []
    for block in text.split("\n\n"):
        head = re.match(r"(#+) (.*)", block)
        if head:
            level = len(head[1])
            made.append(f"<h{level}>{_inline(head[2])}</h{level}>")
        elif block.startswith("- "):
            made.append("<ul>" + "".join(f"<li>{_inline(line[2:])}</li>" for line in block.split("\n")) + "</ul>")
        else:
            made.append(f"<p>{_inline(block)}</p>")
    return made


def _inline(text: str) -> str:
    safe = html.escape(text)
    safe = re.sub(r"\[([^\]]*)\]\((https?://[^)\s]*)\)", r'<a href="\2">\1</a>', safe)
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", safe)
