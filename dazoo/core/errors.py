"""The exception and the warning meant for people: both name the thing and the remedy; errors end a command with 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DazooError(Exception):
    """A mistake in the input, a missing file, an unknown name: shown as one message, without a traceback."""


class UnknownName(DazooError, KeyError):
    """A name that no registry, field or file holds; the message lists the nearest names that exist."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class NonFiniteError(DazooError):
    """A computation turned NaN or infinite; raised instead of letting the number travel on."""


class DazooWarning(UserWarning):
    """What did not go as it should, or was decided for the caller, while the result still stands."""


def nearest(name: str, known: Iterable[str], n: int = 3) -> str:
    """A phrase such as ``did you mean 'dann' or 'dan'?`` for an error message.

    Falls back to listing all names when nothing is close and the list is short.
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=n, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    if len(names) <= 12:
        return "known: " + ", ".join(names)
    return f"{len(names)} names are known, among them " + ", ".join(names[:8])
