"""From measurements to words: which families should help on a task, and why. Rules of thumb with stated thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dazoo.diagnosis.classes import LabelShift
from dazoo.diagnosis.domains import DomainShift

LEVEL = 0.05
TESTS = 3
"""Tests that ask whether the domains differ; each is held against LEVEL / TESTS."""
FAR = 1.5
"""A-distance from which domains count as far apart: 12.5 % held-out error."""
NEAR = 0.5
"""A-distance up to which they count as near: 37.5 % held-out error."""
SKILL = 0.5
"""Held-out skill on the source, 0 at chance and 1 without error, below which classes count as not separable."""
OVERLAP = 0.1
"""Effective share of the source under the density ratio, below which reweighting has nothing to work with."""

THRESHOLDS = (
    f"Thresholds: a shift counts from p < {LEVEL} / {TESTS}; A-distance up to {NEAR} is near, from {FAR} far apart; "
    f"classes count as separable from a skill of {SKILL} (0 is chance, 1 no error); samples can be reweighted from an "
    f"overlap of {OVERLAP}. The advice consists of rules of thumb, not of results."
)


@dataclass(frozen=True)
class Advice:
    """What to expect from some families.

    Attributes:
        verdict: ``first``, ``should help``, ``may help``, ``little to gain`` or ``beware``.
        families: names of families of methods.
        methods: examples from the registry.
        because: the reason, a sentence.
    """

    verdict: str
    families: tuple[str, ...]
    methods: tuple[str, ...]
    because: str


@dataclass(frozen=True)
class Facts:
    """What the rules look at. ``labels`` and ``skill`` are None for regression."""

    n_source: int
    n_target: int
    dims: int
    domains: DomainShift
    labels: LabelShift | None
    skill: float | None
    few: int
    n_sources: int


def kind_of(domains: DomainShift, labels: LabelShift | None) -> str:
    """``none``, ``features``, ``labels`` (their proportions alone explain the difference), or ``both``."""
    limit = LEVEL / TESTS
    proportions = labels is not None and labels.p < limit
    if not proportions:
        return "features" if min(domains.a_p, domains.mmd_p) < limit else "none"
    assert labels is not None
    return "labels" if labels.rest_p >= LEVEL else "both"


def advise(f: Facts) -> tuple[Advice, ...]:
    """Advice in the order in which to read it."""
    kind = kind_of(f.domains, f.labels)
    said = [*_basis(f), *{"none": _none, "features": _features, "labels": _labels, "both": _both}[kind](f)]
    if kind in ("features", "both") and f.skill is not None and f.skill >= SKILL:
        said.append(_self_training(f))
    return tuple([*said, *_labelled(f), *_several(f), *_narrow(f)])


def _basis(f: Facts) -> Sequence[Advice]:
    if f.skill is None or f.skill >= SKILL:
        return []
    text = (
        f"classes are hardly separable on the source itself (skill {f.skill:.2f}): no alignment puts classes into "
        "features that do not hold them; take other features, a stronger backbone, or train the backbone"
    )
    return [Advice("first", ("baseline",), ("source_only",), text)]


def _none(f: Facts) -> Sequence[Advice]:
    text = (
        f"no test tells the domains apart (A-distance {f.domains.a_distance:.2f}, p = {f.domains.p:.2g}); the source's "
        "classifier should do, and adaptation can hardly add anything but variance"
    )
    return [Advice("little to gain", ("baseline",), ("source_only",), text)]


def _labels(f: Facts) -> Sequence[Advice]:
    assert f.labels is not None
    helps = (
        f"class proportions differ (p = {f.labels.p:.2g}), and with equal proportions nothing tells the domains apart "
        f"(p = {f.labels.rest_p:.2g})"
    )
    harms = "they make the domains equal as a whole, which mixes classes where their proportions differ"
    return [
        Advice("should help", ("reweighting",), ("bbse", "rlls", "em_prior"), helps),
        Advice("beware", ("moment", "adversarial", "subspace"), (), harms),
    ]


def _features(f: Facts) -> Sequence[Advice]:
    d = f.domains
    proportions = "" if f.labels is None else f", while class proportions look equal (p = {f.labels.p:.2g})"
    apart = f"the domains can be told apart (A-distance {d.a_distance:.2f}, {_far(d.a_distance)}){proportions}"
    return [
        Advice("should help", ("moment", "subspace", "transport", "adversarial"), ("coral", "dan", "ot_linear"), apart),
        _reweighting(d),
    ]


def _both(f: Facts) -> Sequence[Advice]:
    assert f.labels is not None
    d, rest = f.domains, f.labels.rest_p
    known = not math.isnan(rest)
    unclear = (
        f"predicted class proportions differ (p = {f.labels.p:.2g}; "
        f"A-distance {d.a_distance:.2f}, {_far(d.a_distance)}); "
        + (
            f"they alone do not explain it (p = {rest:.2g}), features differ within classes"
            if known
            else "too few samples are left to check whether they alone explain it"
        )
        + ", so that the predictions may err instead"
    )
    loose = "where proportions may really differ, prefer plans that need not move all mass"
    return [
        Advice("may help", ("moment", "subspace", "transport", "adversarial"), ("coral", "dan", "ot_linear"), unclear),
        Advice("may help", ("transport", "deep_transport"), ("ot_unbalanced", "ot_partial", "jumbot"), loose),
        Advice("beware", ("reweighting",), ("bbse", "rlls", "em_prior"), "they assume equal features within classes"),
        _reweighting(d),
    ]


def _reweighting(d: DomainShift) -> Advice:
    verdict = "may help" if d.overlap >= OVERLAP else "little to gain"
    means = "enough" if d.overlap >= OVERLAP else "next to nothing"
    text = (
        f"weighing samples by the density ratio leaves {d.overlap:.1%} of the source in effect, {means} to learn from"
    )
    return Advice(verdict, ("reweighting",), ("kmm", "kliep", "ulsif"), text)


def _self_training(f: Facts) -> Advice:
    far = f.domains.a_distance >= FAR
    text = (
        f"the source's classes are separable (skill {f.skill:.2f})"
        + (", but the domains lie so far apart that first pseudo-labels may be wrong" if far else "")
        + "; needs target classes that form clusters"
    )
    return Advice("beware" if far else "may help", ("selftraining",), ("shot", "mcc"), text)


def _labelled(f: Facts) -> Sequence[Advice]:
    if not f.few:
        return []
    text = f"{f.few} labelled target samples are visible, which methods without target labels leave unused"
    return [Advice("should help", ("finetune", "parameter_transfer"), ("fine_tune", "l2_sp", "regular_transfer"), text)]


def _several(f: Facts) -> Sequence[Advice]:
    if f.n_sources < 2:
        return []
    text = f"{f.n_sources} sources at different distances: methods that tell them apart can prefer the nearest"
    return [Advice("may help", ("moment", "transport"), ("m3sda", "mfsan", "wbt"), text)]


def _narrow(f: Facts) -> Sequence[Advice]:
    n = min(f.n_source, f.n_target)
    if n > f.dims:
        return []
    text = (
        f"{n} samples in {f.dims} dimensions: covariances have no full rank, so methods that invert them rest on their "
        "regularisation (and h_score on rounding); reduce the dimension first or take kernel methods"
    )
    return [Advice("beware", ("subspace", "moment"), ("coral", "gfk"), text)]


def _far(distance: float) -> str:
    return "near" if distance <= NEAR else "far apart" if distance >= FAR else "some way apart"
