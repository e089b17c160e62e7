"""Where a method comes from and how this implementation differs from it."""

from __future__ import annotations

import re
from dataclasses import dataclass

KINDS = re.compile(r" \((Journal|Book|Report|Data)\)$")


@dataclass(frozen=True)
class Paper:
    """A citation.

    ``authors`` are all authors, given names first, separated by commas. ``venue`` is taken for proceedings unless
    "Journal" is part of it or a bracket behind it says (Journal), (Book), (Report) or (Data). ``deviations`` says what
    differs here; empty means nothing that we know of. ``parts`` has the papers of a combination by method.
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
        """The venue as it is printed, without the bracket."""
        return KINDS.sub("", self.venue)
