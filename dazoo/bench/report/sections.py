"""Parts of a report beside the leaderboard: selection rules side by side with what each costs, and findings."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dazoo.bench.analysis.findings import Finding, findings
from dazoo.bench.analysis.grid import Grid
from dazoo.bench.analysis.regret import Regret, regrets
from dazoo.bench.analysis.select import ORACLE_LABEL, Run
from dazoo.bench.analysis.table import mark_of
from dazoo.bench.plan.suite import LAST, ORACLE_RULE
from dazoo.bench.report.model import Report
from dazoo.bench.report.text import csv_text, md, md_table, number
from dazoo.core.questions import unusual

VALIDATORS = ("rule", "mean", "oracle", "regret", "rank_correlation", "collapsed_share", "cells", "undefined")


class Sections:
    """What is computed once for Markdown, CSV and page.

    Attributes:
        means: over tasks by label, per rule that the records allow, ``last`` and ``oracle`` at the end.
        regrets: least first, the oracle last. findings: about the models selected by the report's rule.
        refused: rules among them that assume other label sets than those of the suite, and may choose nothing.
    """

    def __init__(self, made: Report):
        runs, metric = made.runs.runs, made.board.metric
        # without target labels there is nothing to compare rules by
        rules = [] if made.board.label_free else [*sorted({v for r in runs for v in r.validators}), LAST, ORACLE_RULE]
        self.made = made
        grid = Grid([r for r in runs if r.task not in made.board.unlabelled])
        choices = {n: grid.select(n, metric) for n in rules}
        self.means: dict[str, dict[str, float]] = {n: choice.means() for n, choice in choices.items()}
        self.regrets: list[Regret] = regrets(grid, choices, hidden=_marked(runs)) if rules else []
        self.refused: frozenset[str] = refused(runs) if rules else frozenset()
        higher, measured = made.board.higher_is_better, not made.board.label_free
        self.findings: list[Finding] = findings(runs, made.board.cells, higher, made.percent, measured)

    def rule_rows(self) -> list[tuple[str, str, list[float]]]:
        """``(label, mark, means by rule)`` of every method with a number, best first."""
        return [
            (r.label, r.mark, [of.get(r.label, math.nan) for of in self.means.values()])
            for r in self.made.board.rows
            if not math.isnan(r.mean)
        ]

    def rule_names(self) -> list[str]:
        """Heads of the columns of ``rule_rows``; the oracle's says that it looks at target labels."""
        return [self.told(n) for n in self.means]

    def told(self, rule: str) -> str:
        """``shown``, with a word where a rule assumes other label sets."""
        return f"{shown(rule)} (not admissible)" if rule in self.refused else shown(rule)

    def validators_csv(self) -> str:
        """One row per rule."""
        if not self.refused:
            return csv_text(VALIDATORS, (_row(r) for r in self.regrets))
        rows = ([*_row(r), "no" if r.rule in self.refused else "yes"] for r in self.regrets)
        return csv_text((*VALIDATORS, "admissible"), rows)

    def markdown(self) -> list[str]:
        """Lines to follow the leaderboard."""
        made = self.made
        if not self.means:
            return self._found()
        lines = ["", "## Selection rules", "", f"Mean of {made.unit} under every rule. {SENTENCE}", ""]
        body = [[label + (" †" if mark else ""), *map(made.show, row)] for label, mark, row in self.rule_rows()]
        lines += md_table(["method", *self.rule_names()], body)
        lines += ["", WORDS, ""]
        head = ["rule", made.unit, "regret", "rank correlation", "collapsed (%)", "cells", "undefined"]
        lines += md_table(head, [self.words(r) for r in self.regrets])
        return lines + self._found()

    def _found(self) -> list[str]:
        return ["", "## Findings", ""] + ([f"- {md(text)}" for text in told(self.findings)] or ["No finding."])

    def words(self, r: Regret) -> list[str]:
        """A row of the table of regrets for reading."""
        share = number(100 * r.collapsed, 1)
        counts = [str(r.cells), str(r.undefined)]
        return [
            self.told(r.rule),
            self.made.show(r.mean),
            self.made.show(r.regret),
            number(r.correlation, 2),
            share,
            *counts,
        ]


def sections_of(made: Report) -> Sections:
    """The sections of a report, computed once."""
    if "sections" not in made.derived:
        made.derived["sections"] = Sections(made)
    found: Sections = made.derived["sections"]
    return found


SENTENCE = "The column of the oracle chooses by target labels and is an upper bound, no competitor."
WORDS = (
    "Regret: what a rule loses against the oracle, over methods that see no target label. Rank correlation: between "
    "the rule's scores and the target metric over all checkpoints, trials and seeds. Collapsed: selected models that "
    "predict few classes only."
)


def shown(rule: str) -> str:
    """A rule's name; the oracle's says what it is."""
    return ORACLE_LABEL if rule == ORACLE_RULE else rule


def told(found: Sequence[Finding]) -> list[str]:
    """Findings as sentences."""
    return [f"{f.kind}: {f.label}{' on ' + f.task if f.task else ''}: {f.text}." for f in found]


def refused(runs: Sequence[Run]) -> frozenset[str]:
    """The recorded validators that may not choose in some setting of the runs, since they assume other label sets."""
    labels = {s.labels for s in unusual(sorted({r.setting for r in runs})) if s.labels != "closed"}
    if not labels:
        return frozenset()
    from dazoo.validators.base import VALIDATORS

    names = {v for r in runs for v in r.validators}
    return frozenset(n for n in names if n in VALIDATORS and any(map(VALIDATORS.get(n).reason, labels)))


def _row(r: Regret) -> list[str]:
    numbers = [number(v) for v in (r.mean, r.oracle, r.regret, r.correlation, r.collapsed)]
    return [shown(r.rule), *numbers, str(r.cells), str(r.undefined)]


def _marked(runs: Sequence[Run]) -> tuple[str, ...]:
    """Settings among ``runs`` in which methods see target labels."""
    return tuple(sorted(s for s in {r.setting for r in runs} if mark_of(s)))
