"""Tables as notebooks show them (``_repr_html_``)."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def table(
    title: str, rows: Iterable[Sequence[object]], head: Sequence[str] = (), notes: Iterable[str] = (), most: int = 40
) -> str:
    """A title, a table of at most ``most`` rows, and sentences, as HTML."""
    listed = [tuple(map(cell, row)) for row in rows]
    more = f"<p>and {len(listed) - most} more</p>" if len(listed) > most else ""
    top = f"<thead><tr>{''.join(f'<th>{cell(h)}</th>' for h in head)}</tr></thead>" if head else ""
    body = "".join(f"<tr>{''.join(f'<td>{c}</td>' for c in row)}</tr>" for row in listed[:most])
    said = "".join(f"<li>{cell(note)}</li>" for note in notes)
    said = f"<ul>{said}</ul>" if said else ""
    return f"<div><strong>{cell(title)}</strong><table>{top}<tbody>{body}</tbody></table>{more}{said}</div>"


def cell(value: object) -> str:
    """A cell's text, safe in HTML."""
    return html.escape(f"{value:.3g}" if isinstance(value, float) else str(value))


def counted(names: Iterable[str], most: int = 6) -> str:
    """How often each name occurs, the most frequent first: ``oak 12, yew 3``."""
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    order = sorted(found, key=lambda n: (-found[n], n))
    more = f" and {len(order) - most} more" if len(order) > most else ""
    return ", ".join(f"{n} {found[n]}" for n in order[:most]) + more
