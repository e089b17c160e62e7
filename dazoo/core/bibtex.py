"""A ``Paper`` as BibTeX takes it.

A surname is what follows the last space of a name; one of several words is held together by no-break spaces
(``"Elad Ben\\u00a0Zaken, Hal Daumé\\u00a0III"``).
"""

from __future__ import annotations

import re

from dazoo.core.paper import KINDS, Paper

# the kind of an entry, and its field that holds the venue, by the bracket behind a venue
_FIELDS = {
    "Journal": ("article", "journal"),
    "Book": ("book", "publisher"),
    "Report": ("techreport", "institution"),
    "Data": ("misc", "howpublished"),
}


def bibtex_entry(paper: Paper, key: str) -> str:
    """The entry of ``paper`` under ``key``."""
    kind, field = _kind(paper.venue)
    rows = {
        "title": "{" + _escaped(paper.title) + "}",
        "author": _escaped(" and ".join(_name(n.strip()) for n in paper.authors.split(",") if n.strip())),
        field: _escaped(paper.where),
        "year": str(paper.year),
        "url": paper.url,
    }
    body = ",\n".join(f"  {k} = {{{v}}}" for k, v in rows.items() if v)
    return f"@{kind}{{{key},\n{body}\n}}"


def _kind(venue: str) -> tuple[str, str]:
    marked = KINDS.search(venue)
    if marked:
        return _FIELDS[marked[1]]
    if "Journal" in venue or venue == "arXiv":
        return _FIELDS["Journal"]
    return ("inproceedings", "booktitle") if venue else _FIELDS["Data"]


def _name(name: str) -> str:
    """Braces hold a surname of several words together."""
    given, _, surname = name.rpartition(" ")
    kept = "{" + surname.replace("\u00a0", " ") + "}" if "\u00a0" in surname else surname
    return f"{given} {kept}".strip()


def _escaped(text: str) -> str:
    return re.sub(r"([&%#$_])", r"\\\1", text)
