"""Synthetic shifts with known Bayes accuracy: covariate, label, concept and subspace shift.

Every kind has a domain ``<kind>_source`` and ``<kind>_target``, drawn independently; the tasks are
``shifts/<kind>_source-><kind>_target``. Each isolates one way in which two
distributions differ and defeats a linear source-only model in a way that the right family of methods can undo:

covariate
    p(x) differs, p(y|x) does not. y = 1 with probability sigmoid(6 (x_2 - 0.8 x_1^2)). The source is wide and centred,
    so that its best line is nearly level; the target sits on the right flank of the parabola, where the boundary is
    steep. Importance weights are bounded, and the reweighted line is close to the best one. (500, 2)
label
    p(y) differs, p(x|y) = N((+-1, 0), I) does not: class priors (0.8, 0.2) become (0.2, 0.8). (500, 2)
concept
    p(y|x) differs, p(x) = N(0, I) does not: y = 1 with probability sigmoid(10 w'x), and w turns by 60 degrees. Nothing
    unlabelled tells the domains apart; labelled target samples are needed. (500, 2)
subspace
    The target is a rotated, translated copy of the source. Two axes carry the variance (a signal axis and a nuisance
    axis), one axis of least variance carries a second signal, the rest is noise; the rotation turns the signal axis
    into the low-variance axis (-42 degrees) and the nuisance axis into a noise axis (40 degrees), and the nuisance
    axis is moved by 4. Methods that match leading subspaces or transport the source recover the labels. (500, 24)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dazoo.core.errors import UnknownName, nearest
from dazoo.data.domain import Domain
from dazoo.data.generic import MOST_SEED, check_whole
from dazoo.data.registry import Dataset, register_dataset

KINDS = ("covariate", "label", "concept", "subspace")
SIDES = ("source", "target")
DOMAINS = tuple(f"{kind}_{side}" for kind in KINDS for side in SIDES)
CLASSES = ("negative", "positive")
MOST = 1_000_000

CURVE, STEEP = 0.8, 6.0
COVARIATES = {"source": ((0.0, 1.2), (1.0, 1.5)), "target": ((1.5, 0.5), (CURVE * 1.5**2, 1.0))}
PRIORS = {"source": 0.2, "target": 0.8}
CONCEPT_STEEP, CONCEPT_TURN = 10.0, math.radians(60.0)
WIDTH, SIGNAL, WEAK, WEAK_SD, NUISANCE_SD, NOISE_SD = 24, 1.5, 0.5, 0.35, 3.0, 0.8
TURNS, OFFSET = ((0, WIDTH - 1, math.radians(-42.0)), (1, 3, math.radians(40.0))), 4.0


@dataclass(frozen=True)
class Sample:
    """Draws from one domain: ``x`` (n, d), ``y`` (n,), and ``p`` (n,), the true probability of class 1 given ``x``."""

    x: np.ndarray
    y: np.ndarray
    p: np.ndarray


def draw(domain: str, n: int, rng: np.random.Generator) -> Sample:
    """``n`` samples of ``domain`` together with the true posterior."""
    kind, _, side = domain.rpartition("_")
    if kind == "covariate":
        (m1, s1), (m2, s2) = COVARIATES[side]
        x = np.stack([m1 + s1 * rng.standard_normal(n), m2 + s2 * rng.standard_normal(n)], axis=1)
        return _labelled(x, _sigmoid(STEEP * (x[:, 1] - CURVE * x[:, 0] ** 2)), rng)
    if kind == "label":
        # stratified: the shares of the classes are the priors, not a draw from them
        y = (np.arange(n) < round(PRIORS[side] * n)).astype(np.int64)[rng.permutation(n)]
        x = rng.standard_normal((n, 2)) + np.stack([2.0 * y - 1, np.zeros(n)], axis=1)
        return Sample(x, y, _sigmoid(2 * x[:, 0] + _logit(PRIORS[side])))
    if kind == "concept":
        x = rng.standard_normal((n, 2))
        turn = CONCEPT_TURN if side == "target" else 0.0
        return _labelled(x, _sigmoid(CONCEPT_STEEP * (x @ np.array([math.cos(turn), math.sin(turn)]))), rng)
    y = rng.permutation(n) % 2
    z = rng.standard_normal((n, WIDTH)) * np.array([1.0, NUISANCE_SD] + [NOISE_SD] * (WIDTH - 3) + [WEAK_SD])
    z[:, 0] += SIGNAL * (2 * y - 1)
    z[:, -1] += WEAK * (2 * y - 1)
    p = _sigmoid(2 * (SIGNAL * z[:, 0] + WEAK / WEAK_SD**2 * z[:, -1]))
    return Sample(_turned(z) if side == "target" else z, y, p)


def check(n: int, data_seed: int) -> None:
    """Refuse sizes and seeds that make no sense, before memory is taken."""
    check_whole("n", n, 10, MOST)
    check_whole("data_seed", data_seed, 0, MOST_SEED)


def load(domain: str, root: Path | None, n: int = 500, data_seed: int = 0) -> Domain:
    """``n`` samples of one domain, float32; source and target of a kind come from independent streams.

    Raises:
        DazooError: fewer than 10 samples are asked for, or more than ``MOST``.
    """
    check(n, data_seed)
    drawn = draw(domain, n, np.random.default_rng([data_seed, DOMAINS.index(domain)]))
    x = torch.from_numpy(drawn.x.astype(np.float32))
    return Domain(domain, x, torch.from_numpy(drawn.y.astype(np.int64)), CLASSES)


def bayes_accuracy(kind: str) -> float:
    """Accuracy in [0, 1] on the target of the rule that knows the target's distribution.

    With Phi the normal distribution function and E the expectation over the target:

    covariate:  E max(p, 1 - p), p = sigmoid(6 (x_2 - 0.8 x_1^2)); summed over a grid of both.
    label:  P(1) Phi(D/2 + l/D) + P(0) Phi(D/2 - l/D) with D = 2 the distance of the means and l = log(P(1) / P(0)).
    concept:  E sigmoid(10 |u|), u ~ N(0, 1), since w has length 1.
    subspace:  Phi(D/2), D/2 = sqrt(1.5^2 + (0.5 / 0.35)^2): a rigid motion moves no class closer.

    Raises:
        UnknownName: no such kind.
    """
    if kind == "covariate":
        (m1, s1), (m2, s2) = COVARIATES["target"]
        u, w = _grid()
        margin = (m2 + s2 * u)[None, :] - CURVE * ((m1 + s1 * u) ** 2)[:, None]
        return float(w @ _sigmoid(STEEP * np.abs(margin)) @ w)
    if kind == "label":
        prior, log_odds = PRIORS["target"], _logit(PRIORS["target"])
        return prior * _phi(1 + log_odds / 2) + (1 - prior) * _phi(1 - log_odds / 2)
    if kind == "concept":
        u, w = _grid()
        return float(w @ _sigmoid(CONCEPT_STEEP * np.abs(u)))
    if kind == "subspace":
        return _phi(math.sqrt(SIGNAL**2 + (WEAK / WEAK_SD) ** 2))
    raise UnknownName(f"unknown shift {kind!r}: {nearest(kind, KINDS)}")


def _turned(z: np.ndarray) -> np.ndarray:
    x = z.copy()
    for i, j, angle in TURNS:
        x[:, i] = math.cos(angle) * z[:, i] - math.sin(angle) * z[:, j]
        x[:, j] = math.sin(angle) * z[:, i] + math.cos(angle) * z[:, j]
    x[:, 1] += OFFSET
    return x


def _labelled(x: np.ndarray, p: np.ndarray, rng: np.random.Generator) -> Sample:
    return Sample(x, (rng.random(len(p)) < p).astype(np.int64), p)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """A fine grid of a standard normal variable and its probabilities (the integrands have a kink)."""
    u = np.linspace(-8.0, 8.0, 4001)
    w = np.exp(-(u**2) / 2)
    return u, w / w.sum()


def _sigmoid(v: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return np.asarray(expit(v))


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


def _phi(v: float) -> float:
    return 0.5 * math.erfc(-v / math.sqrt(2))


register_dataset(
    Dataset(
        name="shifts",
        domains=DOMAINS,
        pairs=tuple((f"{kind}_source", f"{kind}_target") for kind in KINDS),
        load=load,
        description="synthetic covariate, label, concept and subspace shift with known Bayes accuracy",
        options={"n": 500, "data_seed": 0},
        license="generated",
        check=check,
    )
)
