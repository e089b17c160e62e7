"""TrAdaBoost.R2: boosting for transfer of regression models. Pardoe and Stone, ICML 2010.

TrAdaBoost with the graded errors of AdaBoost.R2. Per round t of N a model h_t is fitted with weights w:

    e_i = |y_i - h_t(x_i)| / max_k |y_k - h_t(x_k)|     over source and labelled target samples
    e_t = sum_few w_i e_i / sum_few w_i,      b_t = e_t / (1 - e_t),      b = 1 / (1 + sqrt(2 log n_s / N))
    w_i <- w_i b^(e_i)  (source),      w_i <- w_i b_t^(-e_i)  (labelled target);      stop when e_t >= 1/2

The answer is the median of the later half of the models, weighted by log(1 / b_t).

Evidence: tests/test_boosting.py::test_tradaboost_r2_follows_the_paper (the formulae written out with scikit-learn),
test_weighted_median.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.reweighting._boost import WeightedMedian, both
from dazoo.shallow.steps import Head, Pipeline

LOW = 1e-6


@register
class TrAdaBoostR2(ShallowMethod):
    """Boosting for transfer of regression models."""

    paper = Paper(
        title="Boosting for Regression Transfer", authors="David Pardoe, Peter Stone", year=2010,
        url="https://icml.cc/Conferences/2010/papers/352.pdf", venue="ICML",
        deviations="the one-stage variant; the base learner is the suite's, the paper's are trees; e_t is at least "
        "1e-6",
    )  # fmt: skip
    handles = Handles(marked="few")
    targets = frozenset({"values"})

    rounds: int = hp(30, 5, 100, log=True, help="number of boosting rounds")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Boost; the weighted median of the later half of the rounds answers."""
        if self.rounds < 1:
            raise DazooError(f"tradaboost_r2.rounds must be at least 1, not {self.rounds}")
        x, y, n_s = both(seen)
        y = y.to(x.dtype)
        shrink = -math.log1p(math.sqrt(2 * math.log(n_s) / self.rounds))
        log_w = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        members: list[Head] = []
        votes: list[Tensor] = []
        for _ in range(self.rounds):
            w = torch.softmax(log_w, 0)
            head = ctx.classifier.fit(x, y, 0, w, gen=ctx.gen, warn=ctx.warn)
            miss = (head(x)[:, 0] - y).abs()
            miss = miss / miss.max().clamp(min=1e-300)
            error = ((w[n_s:] * miss[n_s:]).sum() / w[n_s:].sum()).clamp(min=LOW)
            if float(error) >= 0.5 and members:
                break
            vote = torch.log((1 - error) / error).clamp(min=LOW)
            members.append(head)
            votes.append(vote)
            if float(error) >= 0.5:
                ctx.warn("tradaboost_r2: the first model is no better than chance on the labelled target samples")
                break
            log_w[:n_s] += shrink * miss[:n_s]
            log_w[n_s:] += vote * miss[n_s:]
        half = len(members) // 2
        return Pipeline((), None, WeightedMedian(tuple(members[half:]), torch.stack(votes[half:])))
