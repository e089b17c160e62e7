"""What a validator is: a function from label-free evidence to one number, higher is better.

A validator asks for evidence by the names of its arguments; only what is asked for is computed, and only once per
checkpoint. Nothing in ``Evidence`` can reach a hidden target label: it is built from ``Seen`` and a predictor.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from dazoo.core.errors import DazooError, nearest
from dazoo.core.registry import Registry
from dazoo.core.setting import ANSWERS, Setting
from dazoo.core.types import Labeled, Prediction, Predictor, Seen

VALIDATORS: Registry[Validator] = Registry("validator", "dazoo.validators", "dazoo.validators")
F = TypeVar("F", bound="Callable[..., float | Tensor | list[float | None] | None]")


class Evidence:
    """What validators may ask for, computed on demand; None where the task or the model does not offer it.

    Shapes: ``*_scores`` and ``*_probs`` (n, C), ``*_features`` (n, d), ``*_labels`` (n,). All on the CPU, floating
    point values in float64. ``*_probs`` are None for regression tasks, whose ``n_classes`` is 0. ``source_*`` are the
    training rows of the source, ``source_val_*`` its held-out rows, ``few_*`` the visible labelled target rows;
    ``answers_*`` are the target rows that the method asked for and that were kept from it.
    """

    def __init__(self, predictor: Predictor, seen: Seen, target: Prediction | None = None):
        self._predictor, self._seen, self._given = predictor, seen, target

    # -- the three passes that cost something -------------------------------------------------------------------

    @cached_property
    def target(self) -> Prediction:
        """The prediction on the visible target samples."""
        if self._given is not None:
            return self._given
        recorded = self._predictor.recorded  # of a stream: there is no pool of samples to predict
        return _on_cpu(recorded if recorded is not None else self._predictor.predict(self._seen.target.x))

    @cached_property
    def source(self) -> Prediction | None:
        return self._source_side(self._seen.source)

    @cached_property
    def source_val(self) -> Prediction | None:
        return self._source_side(self._seen.source_val)

    @cached_property
    def few(self) -> Prediction | None:
        few = self._seen.few
        return None if few is None else _on_cpu(self._predictor.predict(few.x))

    @cached_property
    def answers(self) -> Prediction | None:
        held = self._seen.few_val
        return None if held is None else _on_cpu(self._predictor.predict(held.x))

    def _source_side(self, part: Labeled | None) -> Prediction | None:
        return None if part is None else _on_cpu(self._predictor.predict_source(part.x))

    def rows(self, part: str) -> int:
        """Number of samples of ``source``, ``source_val`` or ``few``, without a pass over them."""
        labeled: Labeled | None = getattr(self._seen, part)
        return 0 if labeled is None else len(labeled)

    # -- what validators name -----------------------------------------------------------------------------------

    @cached_property
    def head(self) -> Tensor | None:
        """Weights (C, d) of the linear classifier between target features and scores, where there is one."""
        return linear_head(self._predictor, self.target)

    @property
    def n_classes(self) -> int:
        return self._seen.n_classes

    @property
    def target_scores(self) -> Tensor:
        return self.target.scores

    @property
    def target_probs(self) -> Tensor | None:
        return self._probs(self.target)

    @property
    def target_features(self) -> Tensor | None:
        return self.target.features

    @property
    def target_unknown(self) -> Tensor | None:
        """How likely target samples (n,) are of no known class, where a model says so."""
        return self.target.unknown

    @property
    def source_scores(self) -> Tensor | None:
        return _scores(self.source)

    @property
    def source_probs(self) -> Tensor | None:
        return self._probs(self.source)

    @property
    def source_features(self) -> Tensor | None:
        return _features(self.source)

    @property
    def source_labels(self) -> Tensor | None:
        return _labels(self._seen.source, self._seen.setting.labelled)

    @property
    def source_val_scores(self) -> Tensor | None:
        return _scores(self.source_val)

    @property
    def source_val_probs(self) -> Tensor | None:
        return self._probs(self.source_val)

    @property
    def source_val_features(self) -> Tensor | None:
        return _features(self.source_val)

    @property
    def source_val_labels(self) -> Tensor | None:
        return _labels(self._seen.source_val)

    @property
    def held_out_features(self) -> Tensor | None:
        """Features of source rows that nothing was trained on, where the task holds some out; else of all its rows."""
        return self.source_features if self.source_val_labels is None else self.source_val_features

    @property
    def held_out_labels(self) -> Tensor | None:
        """The labels of ``held_out_features``."""
        return self.source_labels if self.source_val_labels is None else self.source_val_labels

    @property
    def target_inputs(self) -> Tensor | None:
        """The visible target samples themselves."""
        return self._seen.target.x

    @property
    def predict(self) -> Callable[[Tensor], Tensor] | None:
        """Scores (m, C) of new target samples (m, ...); None where only features of the model were kept."""
        return lambda x: _on_cpu(self._predictor.predict(x)).scores

    @property
    def few_scores(self) -> Tensor | None:
        return _scores(self.few)

    @property
    def few_labels(self) -> Tensor | None:
        return _labels(self._seen.few)

    @property
    def answers_scores(self) -> Tensor | None:
        return _scores(self.answers)

    @property
    def answers_labels(self) -> Tensor | None:
        return _labels(self._seen.few_val)

    def _probs(self, part: Prediction | None) -> Tensor | None:
        return None if part is None or self.n_classes == 0 else part.probs


ANY_CLASSES = tuple(k for k in ANSWERS["labels"] if k != "unlabelled")
"""Label sets of which classifiers are judged; where no label is seen there are but clusters."""
NAMES = frozenset(n for n, v in vars(Evidence).items() if isinstance(v, property)) | {"head"}
GROUP = "group"


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
        without: those that have no score there, since the source is hidden.
    """

    able: tuple[str, ...]
    refused: dict[str, tuple[str, ...]]
    without: tuple[str, ...]
    setting: str = ""

    def problem(self, name: str) -> str:
        """Why a validator may not choose; empty where it may."""
        reason = next((why for why, names in self.refused.items() if name in names), "")
        if reason:
            return f"{name!r} {reason}"
        if name in self.without:
            return f"{name!r} has no value in the setting {self.setting!r}, since the source is hidden"
        return "" if name in self.able else f"{name!r} has no value in the setting {self.setting!r}"


def admission(setting: Setting) -> Admission:
    """Which validators may choose in ``setting``; none where answers come before there is anything to choose by."""
    refused: dict[str, tuple[str, ...]] = {}
    asks = setting.marked == "query"
    for name, validator in VALIDATORS.items():
        reason = UNANSWERED if asks else validator.reason(setting.labels)
        if reason and not validator.of_answers:
            refused[reason] = (*refused.get(reason, ()), name)
    wrong = {name for names in refused.values() for name in names}
    without = tuple(n for n, v in VALIDATORS.items() if setting.source != "data" and v.needs_source)
    able = [n for n, v in VALIDATORS.items() if n not in wrong and n not in without and v.of_answers == asks]
    return Admission(() if setting.target == "stream" else tuple(able), refused, without, setting.name)


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


def linear_head(predictor: Any, target: Prediction, rows: int = 64) -> Tensor | None:
    """Weights (C, d) of a model's linear classifier, if the target's scores really are linear in its features.

    Looked for in the parts of a network and of a shallow pipeline that are called ``head``. Scores may differ from
    ``features @ weights.T + bias`` by a number per sample, as logits and log-probabilities do.
    """
    inner = getattr(predictor, "inner", predictor)
    holder = getattr(inner, "head", None) or getattr(getattr(inner, "net", None), "head", None)
    weight, features = getattr(holder, "weight", None), target.features
    if weight is None or features is None:
        return None
    weight, some = weight.detach().to("cpu", torch.float64), target.scores[:rows]
    units = getattr(predictor, "units", getattr(inner, "units", None))  # a model's head speaks in units of its own
    if units is not None:
        some = units.standardise(some)
    for candidate in (weight, weight.T):  # networks store (C, d), shallow heads (d, C)
        if tuple(candidate.shape) == (some.shape[1], features.shape[1]):
            rest = some - features[:rows] @ candidate.T
            rest = rest - rest.mean(1, keepdim=True) if some.shape[1] > 1 else rest
            if bool((rest - rest.mean(0)).abs().max() <= 1e-4 * (1 + some.abs().max())):
                return candidate if units is None else candidate * units.scale
    return None


def _on_cpu(out: Prediction) -> Prediction:
    return out.apply(lambda v: v.detach().to("cpu", torch.float64 if v.is_floating_point() else v.dtype))


def _scores(part: Prediction | None) -> Tensor | None:
    return None if part is None else part.scores


def _features(part: Prediction | None) -> Tensor | None:
    return None if part is None else part.features


def _labels(part: Labeled | None, labelled: bool = True) -> Tensor | None:
    return None if part is None or not labelled else part.y
