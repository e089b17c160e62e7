"""LinInt: linear interpolation of the source's and the target's model. Daumé III, ACL 2007.

    p(x) = a p_s(x) + (1 - a) p_t(x),      p_s fitted on the source, p_t on the n_f labelled target samples

p are class probabilities (C,), or values. a in {0, 0.05, ..., 1} has the least held-out loss (negative log-likelihood,
or squared error) on the labelled target samples, predicted by 5-fold cross-validation of p_t.

One of the baselines of the paper.

Evidence: tests/test_parameter_transfer.py::test_interpolation_is_a_mixture_with_the_best_share.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.parameter_transfer._few import few_of, source_head
from dazoo.shallow.steps import Head, Pipeline

FOLDS = 5
TINY = 1e-6


@dataclass(frozen=True, eq=False)
class Mixture(Head):
    """``share`` of ``first``'s and the rest of ``second``'s probabilities, as their logarithm; or of their values."""

    first: Head
    second: Head
    share: float
    values: bool

    def __call__(self, z: Tensor) -> Tensor:
        return interpolated(self.first(z), self.second(z), self.share, self.values)


def interpolated(one: Tensor, other: Tensor, share: float, values: bool) -> Tensor:
    """``Mixture`` of two models' scores (n, C), or of their values (n, 1)."""
    if values:
        return share * one + (1 - share) * other
    mixed = share * torch.softmax(one, 1) + (1 - share) * torch.softmax(other, 1)
    return ((1 - TINY) * mixed + TINY / mixed.shape[1]).log()


@register
class LinearInterpolation(ShallowMethod):
    """Linear interpolation of the source's and the target's model."""

    paper = Paper(
        title="Frustratingly Easy Domain Adaptation", authors="Hal Daumé\u00a0III", year=2007,
        url="https://aclanthology.org/P07-1033/", venue="ACL",
        deviations="a is chosen by cross-validation, since there is no separate development set; of equally good ones "
        "the largest",
    )  # fmt: skip
    handles = Handles(marked="few")
    targets = frozenset({"classes", "values"})

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Fit both models and choose their shares."""
        x, y = few_of(seen)
        first = source_head(seen, ctx)
        second = ctx.classifier.fit(x, y, seen.n_classes, gen=ctx.gen, warn=ctx.warn)
        losses = self.losses(seen, ctx, first)
        if not bool(torch.isfinite(losses).all()):
            ctx.warn("linear_interpolation: too few labelled target samples to cross-validate; both models count alike")
            return Pipeline((), None, Mixture(first, second, 0.5, seen.regression))
        best = int(torch.nonzero(losses <= losses.min() + 1e-12)[-1])
        return Pipeline((), None, Mixture(first, second, best / 20, seen.regression))

    def losses(self, seen: Seen, ctx: Context, first: Head) -> Tensor:
        """The mean held-out loss of every share 0, 0.05, ..., 1 of the source's model (21,); NaN where impossible."""
        x, y = few_of(seen)
        fold = torch.empty(len(x), dtype=torch.int64)
        order = torch.randperm(len(x), generator=ctx.gen)
        if not seen.regression:  # neighbours in the order of the classes fall into different folds
            order = order[torch.argsort(y.cpu()[order], stable=True)]
        fold[order] = torch.arange(len(x)) % FOLDS
        total, count = x.new_zeros(21), 0
        for f in range(FOLDS):
            out = (fold == f).to(x.device)
            rest = y[~out]
            if not bool(out.any()) or len(rest) < 2 or (seen.n_classes and len(torch.unique(rest)) < 2):
                continue
            second = ctx.classifier.fit(x[~out], rest, seen.n_classes, gen=ctx.gen, warn=ctx.warn)
            one, other = first(x[out]), second(x[out])
            for i in range(21):
                scores = interpolated(one, other, i / 20, seen.regression)
                if seen.regression:
                    total[i] += (scores[:, 0] - y[out]).square().sum()
                else:
                    total[i] -= scores.gather(1, y[out][:, None]).sum()
            count += int(out.sum())
        return total / count if count else total + torch.nan
