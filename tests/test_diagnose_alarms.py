"""The benchmark of false alarms counts what it says, and its committed page keeps the bounds it states."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.false_alarms import OUT, Blind, Faint, Rate, run, suite, task
from dazoo.diagnosis import diagnose

PAGE = Path(__file__).parent.parent / OUT


def rates(text: str) -> dict[str, tuple[int, int]]:
    rows = re.findall(r"^\| (.+) \| (\d+) of (\d+) \| [\d.]+% \| [\d.]+% to [\d.]+% \|$", text, re.M)
    return {what: (int(hits), int(n)) for what, hits, n in rows}


def test_rates_and_their_intervals():
    assert Rate("x", 5, 100).row() == "| x | 5 of 100 | 5.0% | 1.6% to 11.3% |"
    assert Rate("x", 0, 10).row() == "| x | 0 of 10 | 0.0% | 0.0% to 30.8% |"  # 1 - 0.025^(1/10)
    assert Rate("x", 10, 10).row().endswith("100.0% | 69.2% to 100.0% |")


def test_planted_cases_are_what_they_say():
    assert diagnose(task(0, 3, 4, 200, skew=6.0)).kind == "labels"
    assert diagnose(task(0, 3, 4, 200, move=1.0)).kind == "features"
    assert run(Faint(), 0, 1.5) == {"inert term"} and run(Blind(), 0, 4.0) == {"blind discriminator"}
    assert ("negative transfer", "m1") in suite(0, 12, 5, worse=0.03)
    assert ("unstable", "m2") in suite(0, 12, 5, shaky=0.15) and not suite(0, 4, 3)


def test_the_committed_page_keeps_its_bounds():
    """No clean line contradicts 5 %; a suite is judged by two families of tests. Most of what was planted is found."""
    from scipy.stats import binom

    found = rates(PAGE.read_text())
    clean = {what: row for what, row in found.items() if what.startswith("clean")}
    assert len(clean) >= 15 and sum(n for _, n in clean.values()) > 1000
    for what, (hits, n) in clean.items():
        bound = 0.1 if "any finding (4 methods" in what else 0.05
        assert binom.sf(hits - 1, n, bound) > 0.01, what
    for what, (hits, n) in found.items():
        if what.startswith("planted") and ("named so" in what or "features" not in what):
            assert hits / n >= 0.8, what


@pytest.mark.parametrize("kind", ["inert term", "saturated discriminator", "blind discriminator"])
def test_every_planted_kind_stands_on_the_page(kind):
    assert any(what.startswith("planted") and what.endswith(kind) for what in rates(PAGE.read_text()))
