"""What validators may ask for: label-free evidence of a fitted model, computed on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from dazoo.core.types import Labeled, Prediction, Predictor, Seen


class Evidence:
    """What validators may ask for, computed on demand; None where the task or the model does not offer it.

    Shapes: ``*_scores`` and ``*_probs`` (n, C), ``*_features`` (n, d), ``*_labels`` (n,). All on the CPU, floating
    point values in float64. ``*_probs`` are None for regression tasks, whose ``n_classes`` is 0. ``source_*`` are the
    training rows of the source, ``source_val_*`` its held-out rows, ``few_*`` the visible labelled target rows;
    ``answers_*`` are the target rows that the method asked for and that were kept from it; ``left_out_*`` are of every
    source in turn, by models of the others, where such were trained.
    """

    left_out: Sequence[tuple[Tensor, Tensor]] | None = None  # scores (n, C) and labels (n,) of each source

    def __init__(
        self,
        predictor: Predictor,
        seen: Seen,
        target: Prediction | None = None,
        left_out: Sequence[tuple[Tensor, Tensor]] | None = None,
    ):
        self._predictor, self._seen, self._given, self.left_out = predictor, seen, target, left_out

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

    @cached_property
    def without_target(self) -> bool:
        """Whether no target sample is seen, so that nothing of the target can be asked for."""
        return not len(self.target.scores)

    # -- what validators name -----------------------------------------------------------------------------------

    @cached_property
    def head(self) -> Tensor | None:
        """Weights (C, d) of the linear classifier between target features and scores, where there is one."""
        known = self.source if self.without_target else self.target
        return None if known is None else linear_head(self._predictor, known)

    @property
    def n_classes(self) -> int:
        return self._seen.n_classes

    @property
    def target_scores(self) -> Tensor | None:
        return None if self.without_target else self.target.scores

    @property
    def target_probs(self) -> Tensor | None:
        return None if self.without_target else self._probs(self.target)

    @property
    def target_features(self) -> Tensor | None:
        return None if self.without_target else self.target.features

    @property
    def target_unknown(self) -> Tensor | None:
        """How likely target samples (n,) are of no known class, where a model says so."""
        return None if self.without_target else self.target.unknown

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
        return None if self.without_target else self._seen.target.x

    @property
    def predict(self) -> Callable[[Tensor], Tensor] | None:
        """Scores (m, C) of new target samples (m, ...); None where only features of the model were kept."""
        return lambda x: _on_cpu(self._predictor.predict(x)).scores

    @property
    def left_out_scores(self) -> list[Tensor] | None:
        """Scores (n, C) of the samples of every source by a model of the other sources."""
        return None if self.left_out is None else [scores.double() for scores, _ in self.left_out]

    @property
    def left_out_labels(self) -> list[Tensor] | None:
        """The labels of ``left_out_scores``."""
        return None if self.left_out is None else [labels for _, labels in self.left_out]

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
