"""Where a method comes from and how this implementation differs from it."""

from __future__ import annotations

import re
from dataclasses import dataclass

# What a bracket behind a venue says about it: the kind of the BibTeX entry and the field that holds the venue.
_KINDS = {
    "Journal": ("article", "journal"),
    "Book": ("book", "publisher"),
    "Report": ("techreport", "institution"),
    "Data": ("misc", "howpublished"),
}
_MARK = re.compile(rf" \(({'|'.join(_KINDS)})\)$")


def _escaped(text: str) -> str:
    return re.sub(r"([&%#$_])", r"\\\1", text)


def _bibtex_name(name: str) -> str:
    """A name as BibTeX takes it apart correctly: braces hold a surname of several words together."""
    given, _, surname = name.rpartition(" ")
    kept = "{" + surname.replace("\u00a0", " ") + "}" if "\u00a0" in surname else surname
    return f"{given} {kept}".strip()


@dataclass(frozen=True)
class Paper:
    r"""A citation; ``authors`` are all authors, given names first, separated by commas.

    The surname is what follows the last space; one of several words is held together by no-break spaces
    (``"Elad Ben\u00a0Zaken, Hal Daumé\u00a0III"``). A ``venue`` is taken for proceedings unless "Journal" is part of it
    or a bracket behind it says (Journal), (Book), (Report) or (Data); the bracket is not printed.

    ``deviations`` says what differs here; empty means nothing that we know of. ``parts`` has the papers of a
    combination by method, which are cited in its place.
    """

    title: str
    authors: str
    year: int
    url: str
    venue: str = ""
    deviations: str = ""
    parts: tuple[tuple[str, Paper], ...] = ()

    @property
    def where(self) -> str:
        """The venue as it is printed."""
        return _MARK.sub("", self.venue)

    def bibtex(self, key: str) -> str:
        """A BibTeX entry under ``key``."""
        kind, field = self._kind()
        rows = {
            "title": "{" + _escaped(self.title) + "}",
            "author": _escaped(" and ".join(_bibtex_name(n.strip()) for n in self.authors.split(",") if n.strip())),
            field: _escaped(self.where),
            "year": str(self.year),
            "url": self.url,
        }
        body = ",\n".join(f"  {k} = {{{v}}}" for k, v in rows.items() if v)
        return f"@{kind}{{{key},\n{body}\n}}"

    def _kind(self) -> tuple[str, str]:
        marked = _MARK.search(self.venue)
        if marked:
            return _KINDS[marked[1]]
        if "Journal" in self.venue or self.venue == "arXiv":
            return _KINDS["Journal"]
        return ("inproceedings", "booktitle") if self.venue else _KINDS["Data"]
