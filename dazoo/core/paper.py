"""Where a method comes from and how this implementation differs from it."""

from __future__ import annotations

import re
from dataclasses import dataclass


def _escaped(text: str) -> str:
    return re.sub(r"([&%#$_])", r"\\\1", text)


@dataclass(frozen=True)
class Paper:
    """A citation; ``authors`` are separated by commas.

    ``deviations`` says what differs here; empty means nothing that we know of.
    """

    title: str
    authors: str
    year: int
    url: str
    venue: str = ""
    deviations: str = ""

    def bibtex(self, key: str) -> str:
        """A BibTeX entry under ``key``."""
        kind = "inproceedings" if self.venue and "Journal" not in self.venue else "article"
        where = "booktitle" if kind == "inproceedings" else "journal"
        rows = {
            "title": "{" + _escaped(self.title) + "}",
            "author": _escaped(" and ".join(n.strip() for n in self.authors.split(",") if n.strip())),
            where: _escaped(self.venue),
            "year": str(self.year),
            "url": self.url,
        }
        body = ",\n".join(f"  {k} = {{{v}}}" for k, v in rows.items() if v)
        return f"@{kind}{{{key},\n{body}\n}}"
