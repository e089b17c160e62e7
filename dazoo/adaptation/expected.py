"""How right the chosen model should be on the target, without target labels, and how sure that is.

Two estimates that err in different ways: accuracy on held-out source samples, moved by the change of confidence,

    d = accuracy_s + (mean confidence_t - mean confidence_s)

(Guillory et al.: Predicting with Confidence on Unseen Distributions. ICCV 2021, https://arxiv.org/abs/2107.03315), and
the mean agreement with candidates of other methods (Jiang et al.: Assessing Generalization via Disagreement. ICLR 2022,
https://openreview.net/forum?id=WvOGCEAQhxl). Each can only fail to see errors, so the lesser counts: e = min(d, g).
Less than ``ENOUGH`` labelled target rows pull it towards what they measure, in proportion to their number.

Its interval is e -+ (1.96 standard errors + SPREAD A / 2), A the proxy A-distance in [0, 2]: where the domains are the
same the source tells all, where they lie apart errors were as large as ``results/adapt`` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dazoo.adaptation.calibrated import calibration_error
from dazoo.adaptation.judge import ENOUGH, Trial

Z = 1.96
VAGUE = 0.3
"""Width of the interval from which it is called a guess."""
SPREAD = 0.25
"""Error of the estimate on domains that lie apart, which nine of ten pairs of ``results/adapt`` stay within."""


@dataclass(frozen=True)
class Expected:
    """Accuracy to expect on the target.

    Attributes:
        value, low, high: the estimate and its interval. parts: the estimates by name. sure: a sentence.
        error: calibration error on the weighted held-out source samples.
        shares: by class index, the shares of the target that are predicted.
    """

    value: float
    low: float
    high: float
    parts: dict[str, float]
    sure: str
    error: float


def expected(
    trial: Trial,
    others: Sequence[Trial],
    held_y: Tensor,
    w: Tensor,
    few: tuple[np.ndarray, np.ndarray] | None = None,
    distance: float = 2.0,
) -> Expected:
    """What to expect of ``trial``; ``others`` were neither refused nor failed.

    Args:
        held_y, w: labels and weights (m,) of held-out source samples. few: rows (k,) of the target that have a label,
            and their classes. distance: the A-distance of the domains.
    """
    assert trial.probs is not None
    parts: dict[str, float] = {}
    n = len(trial.probs)
    size, error = float(n), float("nan")
    sure = float(trial.probs.max(1).values.mean())
    if trial.held is not None and len(held_y):
        right = float((trial.held.argmax(1) == held_y).double().mean())
        moved = right + sure - float(trial.held.max(1).values.mean())
        parts["held-out source rows, moved by the change of confidence"] = min(1.0, max(0.0, moved))
        size = float(len(held_y))
        error = calibration_error(trial.held, held_y, w)
    else:
        parts["mean confidence on the target"] = sure
    unlike = [t for t in others if t.method != trial.method and not t.problem]
    if unlike:
        agree = [float((t.labels == trial.labels).double().mean()) for t in unlike]
        parts["agreement with other methods"] = sum(agree) / len(agree)
    estimates = list(parts.values())
    if few is not None and len(few[0]):
        measured = float((trial.labels[torch.from_numpy(few[0])].numpy() == few[1]).mean())
        parts[f"measured on {len(few[0])} labelled target rows"] = measured
        if len(few[0]) >= ENOUGH:
            half = _half(measured, len(few[0]))
            return Expected(measured, *_within(measured - half, measured + half), parts, _sure(half, True), error)
    value = min(estimates)
    if few is not None and len(few[0]):
        share = len(few[0]) / ENOUGH
        value = (1 - share) * value + share * measured
    half = _half(value, size) + SPREAD * distance / 2
    low, high = _within(value - half, value + half)
    return Expected(value, low, high, parts, _sure((high - low) / 2, False), error)


def _half(p: float, n: float) -> float:
    """Half of a 95 % interval of a share p of n samples, with two samples of either outcome added (Agresti, Coull)."""
    p = (p * n + 2) / (n + 4)
    return Z * math.sqrt(p * (1 - p) / (n + 4))


def _within(low: float, high: float) -> tuple[float, float]:
    return max(0.0, low), min(1.0, high)


def _sure(half: float, measured: bool) -> str:
    if measured:
        return "measured on labelled target rows, which also took part in the choice"
    if 2 * half >= VAGUE:
        return "little more than a guess: the estimates differ, or the domains hardly overlap; label some target rows"
    return "an estimate from source labels and unlabelled target rows; a few labelled target rows would settle it"


def to_label(trials: Sequence[Trial], chosen: int, most: int = 20) -> list[tuple[int, float, dict[int, int]]]:
    """Target rows on which candidates disagree most: row, entropy of the votes, votes by class."""
    able = [t for t in trials if not t.problem]
    n, classes = trials[chosen].probs.shape  # type: ignore[union-attr]
    votes = torch.zeros(n, classes, dtype=torch.float64)
    for t in able:
        votes[torch.arange(n), t.labels] += 1
    p = votes / votes.sum(1, keepdim=True)
    entropy = -torch.special.xlogy(p, p).sum(1)
    unsure = 1 - trials[chosen].probs.max(1).values  # type: ignore[union-attr]
    order = sorted(range(n), key=lambda i: (-float(entropy[i]), -float(unsure[i]), i))[:most]
    return [(i, float(entropy[i]), {c: int(v) for c, v in enumerate(votes[i].tolist()) if v}) for i in order]
