"""Where a method comes from and how this implementation differs from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """A citation. ``deviations`` says what differs here; empty means nothing that we know of."""

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
            "title": "{" + self.title + "}",
            "author": self.authors,
            where: self.venue,
            "year": str(self.year),
            "url": self.url,
        }
        body = ",\n".join(f"  {k} = {{{v}}}" for k, v in rows.items() if v)
        return f"@{kind}{{{key},\n{body}\n}}"
