"""What is tried: the source's model always, and at most eight methods that the diagnosis advises, each under three
preprocessings."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, zip_longest

from dazoo.core.errors import UnknownName
from dazoo.core.setting import Setting
from dazoo.diagnosis.finding import Diagnosis
from dazoo.methods.base import METHODS

BASELINE = "source_only"
MOST = 8
WORTH = ("should help", "may help")
PREPROCESSING: dict[str, str | list[str]] = {"none": "auto", "by domain": ["zscore"], "by source": ["zscore_source"]}
"""``none`` leaves features as they are, but for a common unit where theirs differ (``data.scales.prepared``)."""


@dataclass(frozen=True)
class Choice:
    """A method under a preprocessing."""

    method: str
    preprocessing: str

    @property
    def name(self) -> str:
        return self.method if self.preprocessing == "none" else f"{self.method} ({self.preprocessing})"

    @property
    def stem(self) -> str:
        """Of its files."""
        return f"{self.method}-{self.preprocessing.replace(' ', '-')}"


def portfolio(found: Diagnosis | None, setting: Setting) -> list[Choice]:
    """What to try, the plain model of the source first, then what is advised first, the cheap change last.

    Without a diagnosis, or where no shift is found, nothing is advised and the source's model is all.
    """
    methods = [BASELINE, *advised(found, setting)]
    first = [Choice(BASELINE, p) for p in PREPROCESSING]
    return first + [Choice(m, p) for p in PREPROCESSING for m in methods[1:]]


def advised(found: Diagnosis | None, setting: Setting) -> list[str]:
    """Methods by turns from every piece of advice, so that families mix; without those a piece warns of."""
    if found is None:
        return []
    said = [a.methods for a in found.advice if a.verdict in WORTH]
    warned = {m for a in found.advice if a.verdict not in WORTH for m in a.methods}
    turns = [m for m in chain.from_iterable(zip_longest(*said)) if m is not None]
    kept = [m for m in dict.fromkeys(turns) if m not in warned and m != BASELINE and _runs(m, setting)]
    return kept[:MOST]


def _runs(name: str, setting: Setting) -> bool:
    try:
        return not METHODS.get(name).handles.problem(setting, baseline=True)
    except UnknownName:
        return False
