"""What a method can do, by the answers that make a setting, and whether it may run there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from dazoo.core.errors import DazooError
from dazoo.core.setting import ANSWERS, PRESETS, Setting

Answer = str | Iterable[str]


class Matching:
    """What follows from the fields of ``Handles``, which derives from this."""

    def __post_init__(self) -> None:
        for name, known in ANSWERS.items():
            given = getattr(self, name)
            answers = frozenset([given] if isinstance(given, str) else given)
            odd = sorted(answers - set(known))
            if odd or not answers:
                raise DazooError(f"a method handles {name} of {', '.join(known)}, not {odd or 'nothing'}")
            object.__setattr__(self, name, answers)

    def __and__(self, other: Self) -> Self | None:
        """What both handle; None where they share no answer of some kind."""
        both = {name: getattr(self, name) & getattr(other, name) for name in ANSWERS}
        return type(self)(**both) if all(both.values()) else None

    @classmethod
    def of(cls, settings: Iterable[Setting | str]) -> Self:
        """All answers that occur in ``settings``."""
        chosen = [Setting.of(s) for s in settings]
        found = {name: {getattr(s, name) for s in chosen} for name in ANSWERS}
        return cls(**{**found, "n_targets": ANSWERS["n_targets"]})

    @property
    def settings(self) -> frozenset[Setting]:
        """The named settings in which such a method runs."""
        return frozenset(s for s in PRESETS.values() if not self.problem(s))

    @property
    def asks_only(self) -> bool:
        """Whether such a method never touches the source's model, but only asks it for probabilities."""
        return self._answers()["source"] == {"black_box"}

    def problem(self, setting: Setting, baseline: bool = False) -> str:
        """Why such a method cannot run in ``setting``, as words that follow "the method"; empty where it can.

        ``baseline`` lets closed-set methods run where source and target have different classes: they are the rows that
        every table of these settings shows.
        """
        for name, answers in self._answers().items():
            asked = getattr(setting, name)
            if name == "source":
                fits = max(map(_reserve, answers)) >= _reserve(asked)
            elif name == "labels" and (asked == "shifted" or (baseline and asked in ("partial", "open", "universal"))):
                fits = asked in answers or "closed" in answers
            else:
                fits = asked in answers
            if not fits:
                return f"handles {name}: {', '.join(sorted(answers))}, not {asked}"
        return ""

    def _answers(self) -> dict[str, frozenset[str]]:
        return {name: getattr(self, name) for name in ANSWERS}


@dataclass(frozen=True)
class Handles(Matching):
    """The answers of a setting (``core.setting.Setting``) with which a method can run: one, or a set, for each.

    A method that needs no source data (``source="model"``) runs where the data are there too, and ignores them; one for
    the same classes on both sides (``labels="closed"``) runs where their shares are ``shifted``.
    ``n_sources="one"`` is a method that cannot tell sources apart. ``n_targets`` is any for most, since a method
    that does not tell targets apart sees them pooled.
    """

    labels: Answer = "closed"
    source: Answer = "data"
    target: Answer = "pool"
    marked: Answer = "none"
    n_sources: Answer = "one"
    n_targets: Answer = ("one", "many", "blind")
    spaces: Answer = "same"


def nearby(setting: Setting, n_sources: int) -> list[Setting]:
    """``setting``, and those in which a method may run instead: sources pooled or told apart, other labels shown, and
    for methods that never look at a target, one that is unseen."""
    own = ("many", "one") if n_sources > 1 else (setting.n_sources, "one", "many")
    marked = (setting.marked, "none", "few", "query", "half")
    found = [setting, *(setting.change(n_sources=n, marked=m) for n in own for m in marked)]
    if setting.target == "pool" and setting.source == "data":
        found += [setting.change(n_sources=n, marked="none", target="unseen") for n in own]
    return list(dict.fromkeys(found))


def _reserve(source: str) -> int:
    """How little a method needs to touch of the source."""
    return ANSWERS["source"].index(source)
