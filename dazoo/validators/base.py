"""What a validator is: a function from label-free evidence to one number, higher is better.

A validator asks for evidence by the names of its arguments; only what is asked for is computed, and only once per
checkpoint. Nothing in ``Evidence`` can reach a hidden target label: it is built from ``Seen`` and a predictor.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from dazoo.core.errors import DazooError, nearest
from dazoo.core.registry import Registry
from dazoo.core.setting import ANSWERS, Setting
from dazoo.validators._evidence import Evidence as Evidence
from dazoo.validators._evidence import linear_head as linear_head

VALIDATORS: Registry[Validator] = Registry("validator", "dazoo.validators", "dazoo.validators")
F = TypeVar("F", bound="Callable[..., float | Tensor | list[float | None] | None]")


NAMES = frozenset(n for n, v in vars(Evidence).items() if isinstance(v, property)) | {"head"}
GROUP = "group"
ANY_CLASSES = tuple(k for k in ANSWERS["labels"] if k != "unlabelled")
"""Label sets of which classifiers are judged; where no label is seen there are but clusters."""


@dataclass(frozen=True)
class Candidate:
    """A checkpoint among all those of a method on a task with one seed.

    Attributes:
        evidence: makes its evidence; made anew by every call, so that a group need not be in memory at once.
        hparams: of its trial. last: whether it is the last checkpoint of its run.
    """

    evidence: Callable[[], Evidence]
    hparams: dict[str, Any]
    last: bool = True


@dataclass(frozen=True)
class Validator:
    """A registered validator.

    Attributes:
        name: registry name, the stem of the file.
        fn: the function; its argument names are its ``needs``.
        cost: ``"cheap"`` or ``"costly"`` (more than a few passes over the evidence).
        labels: the label sets (answers of a setting) under which its assumptions hold. Elsewhere its scores are
            recorded where a suite asks for them, and choose nothing.

    A function of the one argument ``group`` (a sequence of ``Candidate``) returns a score for each of them. Its scores
    exist only when all runs of the group do: they are computed from kept outputs, never within a run.
    """

    name: str
    fn: Callable[..., Any]
    needs: tuple[str, ...]
    cost: str = "cheap"
    labels: frozenset[str] = frozenset(ANY_CLASSES)

    def problem(self, labels: str) -> str:
        """Why this cannot choose models where the label sets are ``labels``; empty where it can."""
        reason = self.reason(labels)
        return reason and f"{self.name!r} {reason}"

    def reason(self, labels: str) -> str:
        """``problem`` without the name, in words that follow it."""
        if labels in self.labels:
            return ""
        if "closed" not in self.labels:
            return f"was made for {' and '.join(sorted(self.labels))} label sets, and says nothing about {labels} ones"
        if labels == "unlabelled":
            return "judges classifiers, and no classifier can be learned where no label is seen"
        where = "class shares" if labels == "shifted" else "label sets"
        return (
            "rewards models that spread the target over all classes of the source, as in a closed set; "
            f"with {labels} {where} that chooses failures"
        )

    @property
    def needs_source(self) -> bool:
        """Whether it has no score where the source is hidden."""
        return any(need.startswith(("source_", "held_out_")) for need in self.needs)

    @property
    def of_answers(self) -> bool:
        """Whether it scores labels that the method asked for and that were kept from it."""
        return any(need.startswith("answers_") for need in self.needs)

    @property
    def needs_target(self) -> bool:
        """Whether it has no score where the target is unseen; groups are compared by what they say of the target."""
        return self.of_group or any(need.startswith("target_") for need in self.needs)

    @property
    def needs_left_out(self) -> bool:
        """Whether it needs models that were trained without one of the sources."""
        return any(need.startswith("left_out_") for need in self.needs)

    def missing(self, setting: Setting) -> str:
        """What is hidden in ``setting`` that this has no score without: ``source``, ``target``, or nothing."""
        if setting.source != "data" and self.needs_source:
            return "source"
        return "target" if setting.target == "unseen" and self.needs_target else ""

    @property
    def description(self) -> str:
        return (self.fn.__doc__ or "").strip().split("\n")[0]

    @property
    def of_group(self) -> bool:
        return self.needs == (GROUP,)

    def of(self, group: Sequence[Candidate]) -> list[float | None]:
        """Scores of all candidates of a group; None where undefined."""
        return [None if v is None or not math.isfinite(float(v)) else float(v) for v in self.fn(group)]

    def __call__(self, evidence: Evidence) -> float | None:
        """The score, or None where it is undefined: evidence is missing, or the number is not finite.

        Raises:
            DazooError: a validator of groups.
        """
        if self.of_group:
            raise DazooError(f"validator {self.name!r} compares all runs of a suite; it cannot score a single model")
        given = {}
        for need in self.needs:
            given[need] = getattr(evidence, need)
            if given[need] is None:
                return None
        value = self.fn(**given)
        if value is None or not math.isfinite(float(value)):
            return None
        return float(value)


def register_validator(cost: str = "cheap", labels: Iterable[str] = ANY_CLASSES) -> Callable[[F], F]:
    """Enter a function in the registry under the stem of its file; ``labels`` as in ``Validator``."""

    def enter(fn: F) -> F:
        name = fn.__module__.rsplit(".", 1)[-1]
        needs = tuple(inspect.signature(fn).parameters)
        for need in needs:
            if need not in NAMES and needs != (GROUP,):
                raise DazooError(f"validator {name!r} asks for {need!r}, which is no evidence: {nearest(need, NAMES)}")
        if cost not in ("cheap", "costly"):
            raise DazooError(f"validator {name!r}: cost must be 'cheap' or 'costly', not {cost!r}")
        VALIDATORS.add(name, Validator(name, fn, needs, cost, frozenset(labels)))
        return fn

    return enter


UNANSWERED = "knows no label of the target; where a method asks for some, those held out may choose, and nothing else"


@dataclass(frozen=True)
class Admission:
    """Which validators may choose models in a setting.

    Attributes:
        able: those that may. refused: those that assume other label sets, by the reason, in words that follow the name.
        without: those that have no score there, since the ``hidden`` domain, ``source`` or ``target``, is not seen.
    """

    able: tuple[str, ...]
    refused: dict[str, tuple[str, ...]]
    without: tuple[str, ...]
    setting: str = ""
    hidden: str = "source"

    def problem(self, name: str) -> str:
        """Why a validator may not choose; empty where it may."""
        reason = next((why for why, names in self.refused.items() if name in names), "")
        if reason:
            return f"{name!r} {reason}"
        if name in self.without:
            return f"{name!r} has no value in the setting {self.setting!r}, since the {self.hidden} is hidden"
        return "" if name in self.able else f"{name!r} has no value in the setting {self.setting!r}"


def admission(setting: Setting) -> Admission:
    """Which validators may choose in ``setting``; none where answers come before there is anything to choose by."""
    refused: dict[str, tuple[str, ...]] = {}
    asks = setting.marked == "query"
    concerned = {n: v for n, v in VALIDATORS.items() if not v.needs_left_out or leaves_out(setting)}
    for name, validator in concerned.items():
        reason = UNANSWERED if asks else validator.reason(setting.labels)
        if reason and not validator.of_answers:
            refused[reason] = (*refused.get(reason, ()), name)
    wrong = {name for names in refused.values() for name in names}
    without = tuple(n for n, v in concerned.items() if n not in wrong and v.missing(setting))
    able = tuple(n for n, v in concerned.items() if n not in wrong and n not in without and v.of_answers == asks)
    hidden = "source" if setting.source != "data" else "target"
    return Admission(() if setting.target == "stream" else able, refused, without, setting.name, hidden)


def leaves_out(setting: Setting) -> bool:
    """Whether models of all sources but one say something in ``setting``: where the target is unseen, and sources are
    told apart."""
    return setting.target == "unseen" and setting.n_sources == "many" and setting.source == "data"


def score_all(names: Iterable[str], evidence: Evidence) -> tuple[dict[str, float | None], list[str]]:
    """Scores by validator name, and warnings: a validator that raises gets None and disturbs nothing else.

    Validators of groups are left out.
    """
    scores: dict[str, float | None] = {}
    warnings = []
    with torch.no_grad():
        for name in names:
            validator = VALIDATORS.get(name)
            if validator.of_group:
                continue
            try:
                scores[name] = validator(evidence)
            except (ArithmeticError, ValueError, RuntimeError, IndexError) as error:
                scores[name] = None
                warnings.append(f"validator {name} failed: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
    return scores, warnings
