"""How wide and high a LaTeX table becomes, and what is done so that it fits: short heads, small print, panels.

Widths are estimates in points, from the number of letters seen; a test compares them with what LaTeX measures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from dazoo.data.names import split_name

TEXT_WIDTH = 397.0
"""Points between the margins where nothing else is said: 5.5 inches, as NeurIPS and ICLR have it."""
TEXT_HEIGHT = 520.0
"""Points that a floating table may be high, its caption included; a longer one breaks over pages."""
LONG_HEAD = 9
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


@dataclass(frozen=True)
class Size:
    """Letters and spreads relative to 10 points, points between columns and of a line, commands for spreads and all."""

    letter: float
    small: float
    gap: float
    line: float
    spread: str
    command: str


NORMAL = Size(1.0, 0.8, 12.0, 12.0, r"\scriptsize", "")
DENSE = Size(0.86, 0.8, 5.0, 9.5, r"\scriptsize", r"\footnotesize \setlength{\tabcolsep}{2.5pt}")
SMALL = Size(0.8, 0.68, 4.0, 8.0, r"\tiny", r"\scriptsize \setlength{\tabcolsep}{2pt}")
# Points of letters of the ten-point font: digits and most small letters have 5, capitals 7.2.
POINTS = {
    "+": 11.0, ">": 10.0, "-": 3.4, "(": 3.9, ")": 3.9, "_": 3.4, "%": 8.4, "m": 8.4, "w": 7.2,
    **dict.fromkeys("cersztf", 4.2), **dict.fromkeys("ijl.,", 2.9), " ": 3.4,
}  # fmt: skip


def escape(text: str) -> str:
    """Text with LaTeX's special characters made harmless."""
    return re.sub(r"[\\&%$#_{}~^<>]", lambda m: SPECIAL[m[0]], text)


def points(tex: str, size: Size) -> float:
    """How wide a cell is printed."""
    text, _, spread = tex.partition(rf"{{{size.spread}")
    bold = 1.15 if r"\textbf" in text else 1.0
    return bold * size.letter * _points(text) + size.small * _points(spread)


def _points(tex: str) -> float:
    plain = re.sub(r"\\to\b", ">", re.sub(r"\\(pm|d?dagger)\b", "+", tex))
    seen = re.sub(r"[{}$^]", "", re.sub(r"\\(.)", r"\1", re.sub(r"\\[A-Za-z]+ ?", "", plain)))
    return sum(POINTS.get(c, 7.2 if c.isupper() else 5.0) for c in seen)


def heads(tasks: Sequence[str]) -> tuple[list[str], str]:
    """The head of each task, and what its letters mean where the names are too long for a column."""
    parts = [split_name(t)[1:] for t in tasks]
    names = list(dict.fromkeys(n for sources, target in parts for n in (*sources, target)))
    short = {n: n for n in names}
    if any(len("+".join(s)) + len(t) + 1 > LONG_HEAD for s, t in parts):
        short = _codes(names)
    legend = ", ".join(f"{escape(c)}: {escape(n)}" for n, c in short.items() if c != n)
    return [rf"{escape('+'.join(short[s] for s in ss))}$\to${escape(short[t])}" for ss, t in parts], legend


def spans(groups: Sequence[str]) -> list[str]:
    """Lines above the heads with the group of columns that follow each other, and a rule below each; none without."""
    parts, rules, start = [], [], 1
    for name, members in groupby(groups):
        width = len(list(members))
        parts += [rf"\multicolumn{{{width}}}{{c}}{{{escape(name)}}}"] if name else [""] * width
        rules += [rf"\cmidrule(lr){{{start}-{start + width - 1}}}"] if name else []
        start += width
    return [" & ".join(parts) + r" \\", " ".join(rules)] if rules else []


def _codes(names: Sequence[str]) -> dict[str, str]:
    """The shortest beginnings that tell names apart, with a capital, or numbers where more than three letters agree."""
    folded = [n.casefold() for n in names]
    found = {}
    for name, own in zip(names, folded):
        sizes = (k for k in range(1, 4) if sum(f[:k] == own[:k] for f in folded) == 1)
        found[name] = name[: next(sizes, 0)].capitalize()
    return found if all(found.values()) else {n: str(i + 1) for i, n in enumerate(names)}


def widths(table: Sequence[Sequence[str]], size: Size) -> list[float]:
    """Points of each column of a table given by lines, the space beside it included."""
    rows = [line for line in table if len(line) > 1]
    return [max(points(c, size) for c in column) + size.gap for column in zip(*rows)]


def panels(wide: Sequence[float], room: float, groups: Sequence[str] = ()) -> list[list[int]]:
    """Numbers of the columns after the first, in as few parts as fit beside the first: of whole groups where each fits
    (the last column, which belongs to none, beside the last group), else of about equal size."""
    first, rest = wide[0], range(1, len(wide))
    whole: list[list[int]] = []
    for _, members in groupby(rest[:-1], key=lambda j: groups[j] if groups else ""):
        part = list(members)
        part += [rest[-1]] if part[-1] == rest[-1] - 1 else []
        if whole and first + sum(wide[j] for j in (*whole[-1], *part)) <= room:
            whole[-1] += part
        else:
            whole.append(part)
    if whole and all(first + sum(wide[j] for j in part) <= room for part in whole):
        return whole
    for count in range(1, len(rest)):
        parts = [list(rest[len(rest) * i // count : len(rest) * (i + 1) // count]) for i in range(count)]
        if all(first + sum(wide[j] for j in part) <= room for part in parts):
            return parts
    return [[j] for j in rest]
