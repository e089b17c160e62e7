"""What a validator is: a function from label-free evidence to one number, higher is better.

A validator asks for evidence by the names of its arguments; only what is asked for is computed, and only once per
checkpoint. Nothing in ``Evidence`` can reach a hidden target label: it is built from ``Seen`` and a predictor.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from dazoo.core.errors import DazooError, nearest
from dazoo.core.registry import Registry
from dazoo.core.types import Labeled, Prediction, Predictor, Seen

VALIDATORS: Registry[Validator] = Registry("validator", "dazoo.validators", "dazoo.validators")
F = TypeVar("F", bound="Callable[..., float | Tensor | None]")


class Evidence:
    """What validators may ask for, computed on demand; None where the task or the model does not offer it.

    Shapes: ``*_scores`` and ``*_probs`` (n, C), ``*_features`` (n, d), ``*_labels`` (n,). All on the CPU, floating
    point values in float64. ``*_probs`` are None for regression tasks, whose ``n_classes`` is 0. ``source_*`` are the
    training rows of the source, ``source_val_*`` its held-out rows, ``few_*`` the visible labelled target rows.
    """

    def __init__(self, predictor: Predictor, seen: Seen, target: Prediction | None = None):
        self._predictor, self._seen, self._given = predictor, seen, target

    # -- the three passes that cost something -------------------------------------------------------------------

    @cached_property
    def target(self) -> Prediction:
        """The prediction on the visible target samples."""
        return self._given if self._given is not None else _on_cpu(self._predictor.predict(self._seen.target.x))

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
        return _labels(self._seen.source)

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
    def few_scores(self) -> Tensor | None:
        return _scores(self.few)

    @property
    def few_labels(self) -> Tensor | None:
        return _labels(self._seen.few)

    def _probs(self, part: Prediction | None) -> Tensor | None:
        return None if part is None or self.n_classes == 0 else part.probs


NAMES = frozenset(n for n, v in vars(Evidence).items() if isinstance(v, property)) | {"head"}


@dataclass(frozen=True)
class Validator:
    """A registered validator.

    Attributes:
        name: registry name, the stem of the file.
        fn: the function; its argument names are its ``needs``.
        cost: ``"cheap"`` or ``"costly"`` (more than a few passes over the evidence).
    """

    name: str
    fn: Callable[..., Any]
    needs: tuple[str, ...]
    cost: str = "cheap"

    @property
    def description(self) -> str:
        return (self.fn.__doc__ or "").strip().split("\n")[0]

    def __call__(self, evidence: Evidence) -> float | None:
        """The score, or None where it is undefined: evidence is missing, or the number is not finite."""
        given = {}
        for need in self.needs:
            given[need] = getattr(evidence, need)
            if given[need] is None:
                return None
        value = self.fn(**given)
        if value is None or not math.isfinite(float(value)):
            return None
        return float(value)


def register_validator(cost: str = "cheap") -> Callable[[F], F]:
    """Enter a function in the registry under the stem of its file."""

    def enter(fn: F) -> F:
        name = fn.__module__.rsplit(".", 1)[-1]
        needs = tuple(inspect.signature(fn).parameters)
        for need in needs:
            if need not in NAMES:
                raise DazooError(f"validator {name!r} asks for {need!r}, which is no evidence: {nearest(need, NAMES)}")
        if cost not in ("cheap", "costly"):
            raise DazooError(f"validator {name!r}: cost must be 'cheap' or 'costly', not {cost!r}")
        VALIDATORS.add(name, Validator(name, fn, needs, cost))
        return fn

    return enter


def score_all(names: Iterable[str], evidence: Evidence) -> tuple[dict[str, float | None], list[str]]:
    """Scores by validator name, and warnings: a validator that raises gets None and disturbs nothing else."""
    scores: dict[str, float | None] = {}
    warnings = []
    with torch.no_grad():
        for name in names:
            try:
                scores[name] = VALIDATORS.get(name)(evidence)
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
    for candidate in (weight, weight.T):  # networks store (C, d), shallow heads (d, C)
        if tuple(candidate.shape) == (some.shape[1], features.shape[1]):
            rest = some - features[:rows] @ candidate.T
            rest = rest - rest.mean(1, keepdim=True) if some.shape[1] > 1 else rest
            if bool((rest - rest.mean(0)).abs().max() <= 1e-4 * (1 + some.abs().max())):
                return candidate
    return None


def _on_cpu(out: Prediction) -> Prediction:
    features = None if out.features is None else out.features.detach().to("cpu", torch.float64)
    return Prediction(out.scores.detach().to("cpu", torch.float64), features)


def _scores(part: Prediction | None) -> Tensor | None:
    return None if part is None else part.scores


def _features(part: Prediction | None) -> Tensor | None:
    return None if part is None else part.features


def _labels(part: Labeled | None) -> Tensor | None:
    return None if part is None else part.y
