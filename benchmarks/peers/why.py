"""For every case of this table, on the pairs of the comparison: both accuracies, the samples that only one side gets
right with the exact McNemar test of a tie (the same target samples return with every source, so its p is rather too
small), and what follows below. "-" stands where a side has no such number.

- sa: the peers' PCA is scikit-learn's randomised one. With its exact solver in its place nothing differs.
- tca: the peers hand the unsymmetric matrix (I + mu K L K)^-1 K H K to an eigensolver for symmetric ones, which reads
  one triangle of it. Measured is the residual ||B V - A V diag(l)|| / ||B V|| of each side's components V in its own
  equation B v = l A v, l the best fit, and the accuracy of the peer's equation solved as a symmetric pencil.
- kmm: the same quadratic programme. Its objective is the squared distance of the means, ||mean_s(w) - mean_t||^2; skada
  takes 1000 Frank-Wolfe steps. With 20,000 it comes to dazoo's objective and to dazoo's accuracy: the higher one is
  that of unfinished weights.
- rulsif: width and ridge by cross-validation. adapt's score is (1 - alpha) times the sum of all three terms of the
  objective, one of them also times alpha, and its moments are sums over min(n_s, n_t) samples divided by n_s and n_t.
  Measured is the paper's objective, alpha/2 E_t r^2 + (1 - alpha)/2 E_s r^2 - E_t r, by five folds at what each side
  chose (centres and folds drawn five times over, written out apart from both), and adapt at dazoo's choice.
- ot_group_lasso: the same objective, with its entropy; lower is better. POT's line search leaves the entropy out, and
  its iterations end at a higher value; sixty rounds in place of ten change neither side.
- jdot: the losses of the models differ (cross-entropy in skada, squares in dazoo), the weight of the distance between
  features does not. With two classes as -1 and 1, skada's regressor has dazoo's loss too.
- tradaboost: adapt's steps written out, then one difference at a time. Its loss is 1 - p(y | x) rather than a count of
  mistakes; of a classifier that fits all labelled samples there are none, and boosting by classes is that one
  classifier. Its b_t = e_t / (2 - e_t) is neither the paper's e_t / (1 - e_t) nor SAMME's for C classes. Without copies
  all of its members are one object.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

FILE = "reasons.csv"
HEADER = ("features", "peer", "case", "quantity", "pairs", "dazoo", "peer_value", "versions")
ACCURACY = "accuracy"
ALONE = "samples that only this side gets right"
TIE = "p of a tie (exact McNemar test)"


@dataclass(frozen=True)
class Finding:
    """One quantity of a case over its pairs; NaN for a side that has none."""

    features: str
    peer: str
    case: str
    quantity: str
    pairs: int
    dazoo: float
    theirs: float
    versions: str = ""


def over_pairs(
    features: str, peer: str, case: str, measured: Sequence[dict[str, tuple[float, float]]]
) -> list[Finding]:
    """Sums of what is counted (its name starts with "samples"), means of the rest, and the test of a tie."""
    found = []
    for quantity in measured[0]:
        sides = [[m[quantity][side] for m in measured] for side in (0, 1)]
        share = 1 if quantity.startswith("samples") else len(measured)
        found.append(Finding(features, peer, case, quantity, len(measured), *(sum(s) / share for s in sides)))
        if quantity == ALONE:
            p = tie(round(found[-1].dazoo), round(found[-1].theirs))
            found.append(Finding(features, peer, case, TIE, len(measured), p, p))
    return found


def tie(a: int, b: int) -> float:
    """The p-value of "both sides are right equally often" from the samples that one side alone gets right."""
    from scipy.stats import binomtest

    return float(binomtest(a, a + b).pvalue) if a + b else 1.0


def write(folder: Path, findings: Iterable[Finding]) -> Path:
    """``reasons.csv``: what was measured now in place of what it held about the same rows of the tables."""
    new = list(findings)
    anew = {(f.features, f.peer, f.case) for f in new}
    kept = [f for f in read(folder) if (f.features, f.peer, f.case) not in anew]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for f in kept + new:
            writer.writerow(
                [f.features, f.peer, f.case, f.quantity, f.pairs, f"{f.dazoo:.10g}", f"{f.theirs:.10g}", f.versions]
            )
    return folder / FILE


def read(folder: Path) -> list[Finding]:
    """What ``write`` wrote, nothing where there is no file."""
    if not (folder / FILE).exists():
        return []
    with (folder / FILE).open(newline="") as file:
        return [
            Finding(r["features"], r["peer"], r["case"], r["quantity"], int(r["pairs"]), float(r["dazoo"]),
                    float(r["peer_value"]), r["versions"])
            for r in csv.DictReader(file)
        ]  # fmt: skip


def section(folder: Path) -> str:
    """Markdown about what ``reasons.csv`` in ``folder`` holds; empty where it is missing."""
    findings = read(folder)
    if not findings:
        return ""
    made = "; ".join(dict.fromkeys(f.versions for f in findings))
    return (
        f"## Why accuracies differ\n\n{table(findings)}\n\n{(__doc__ or '').strip()}\n\n"
        f"Made by `python -m benchmarks.peers reasons` with {made}.\n\n"
    )


def table(findings: Sequence[Finding]) -> str:
    """Markdown, one line per quantity."""
    lines = ["| features | case | pairs | quantity | dazoo | peer |", "|---|---|---|---|---|---|"]
    for f in findings:
        case = f"{f.case}, {f.peer}"
        told = (_number(f.quantity, f.dazoo), _number(f.quantity, f.theirs))
        lines.append(f"| {f.features} | {case} | {f.pairs} | {f.quantity} | {told[0]} | {told[1]} |")
    return "\n".join(lines)


def _number(quantity: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    if quantity.startswith("samples"):
        return f"{value:.0f}"
    return f"{value:.2f}" if quantity.startswith(ACCURACY) else f"{value:.6g}"
