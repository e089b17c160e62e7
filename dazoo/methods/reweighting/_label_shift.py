"""Label shift: p(y) changes, p(x|y) does not. What the classifier's confusions on the source say about the target."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.types import Prediction, Predictor, Seen
from dazoo.methods.base import Context
from dazoo.methods.shallow import Reweighting, pair, source_of
from dazoo.methods.steps import Head, run_steps
from dazoo.ops.linear import one_hot


class LabelShift(Reweighting):
    """A method whose weights depend on the class alone."""

    def class_weights(self, seen: Seen, ctx: Context) -> Tensor:
        """Estimates of p_t(c) / p_s(c), (C,); 0 for classes without source samples."""
        raise NotImplementedError(f"{self.name} does not define class_weights")

    def weights(self, seen: Seen, ctx: Context) -> Tensor:
        """The weight of each sample's class."""
        found = self.class_weights(seen, ctx)
        weights = found[source_of(seen).y]
        if not bool((weights > 0).any()):
            ctx.warn(f"{self.name}: all class weights are 0; the source is left as it is")
            return torch.ones_like(weights)
        return weights


@dataclass(frozen=True)
class Confusion:
    """Means of a classifier's predictions h(x) (C,), one-hot or probabilities.

    Attributes:
        joint: (C, C), E_s[h_i(x) 1(y = j)] on held-out source samples.
        target: (C,), E_t[h_i(x)].
        share: (C,), the source's class shares; the joint's column sums.
    """

    joint: Tensor
    target: Tensor
    share: Tensor


def confusion(seen: Seen, ctx: Context, folds: int, soft: bool) -> Confusion:
    """Confusions of the suite's classifier: every source sample is predicted by a model that has not seen it, the
    target by the mean over the ``folds`` models.

    Raises:
        DazooError: fewer than two folds.
    """
    if folds < 2:
        raise DazooError(f"at least two folds are needed, not {folds}")
    (x, xt), y, classes = pair(seen), source_of(seen).y, seen.n_classes
    fold = stratified_folds(y, folds, ctx)
    held, target = torch.zeros(len(x), classes, dtype=x.dtype, device=x.device), []
    for f in range(folds):
        out = fold == f
        if not bool(out.any()):
            continue
        head = ctx.classifier.fit(x[~out], y[~out], classes, gen=ctx.gen, warn=ctx.warn)
        held[out] = _predicted(head(x[out]), soft)
        target.append(_predicted(head(xt), soft).mean(0))
    belongs = one_hot(y, classes).to(x)
    return Confusion(held.T @ belongs / len(x), torch.stack(target).mean(0), belongs.mean(0))


def stratified_folds(y: Tensor, folds: int, ctx: Context) -> Tensor:
    """A fold index (n,) such that every class is spread evenly over the folds."""
    fold = torch.empty(len(y), dtype=torch.int64)
    begin = 0
    for c in torch.unique(y.cpu()):
        rows = torch.nonzero(y.cpu() == c)[:, 0]
        rows = rows[torch.randperm(len(rows), generator=ctx.gen)]
        fold[rows] = (torch.arange(len(rows)) + begin) % folds
        begin += len(rows)
    return fold.to(y.device)


def _predicted(scores: Tensor, soft: bool) -> Tensor:
    return torch.softmax(scores, 1) if soft else one_hot(scores.argmax(1), scores.shape[1]).to(scores)


@dataclass(frozen=True, eq=False)
class PriorCorrected(Predictor):
    """``head`` on the raw features; target samples' log-probabilities are moved by the priors' ``log_ratio`` (C,)."""

    head: Head
    log_ratio: Tensor

    def predict(self, x: Tensor) -> Prediction:
        z = run_steps((), x)
        return Prediction(torch.log_softmax(torch.log_softmax(self.head(z), 1) + self.log_ratio.to(z), 1), z)

    def predict_source(self, x: Tensor) -> Prediction:
        z = run_steps((), x)
        return Prediction(self.head(z), z)
