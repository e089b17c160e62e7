"""Two-stage TrAdaBoost.R2: first the weight of the source, then that of the target. Pardoe and Stone, ICML 2010.

Stage one walks through S weightings of the n source and m labelled target samples. At step t a model h is fitted and

    e_i = |y_i - h(x_i)| / max_k |y_k - h(x_k)|,       w_i <- w_i b^(e_i) for source samples,

with b found by bisection such that the target's share of the weight grows evenly from m / (n + m) to 1. Stage two, at
every step: AdaBoost.R2 for N rounds with the source's weights frozen,

    r = sum_few w_i e_i / sum_few w_i,   c = r / (1 - r),   w_i <- w_i c^(1 - e_i) for target samples, their sum kept,

whose answer is the median of its models weighted by log(1 / c); it ends when r >= 1/2. The step of the least F-fold
cross-validated squared error on the target samples is used.

Evidence: tests/test_boosting.py::test_two_stage_shares_grow_evenly, test_two_stage_boosting_follows_adaboost_r2 (the
formulae written out with scikit-learn), test_two_stage_forgets_a_misleading_source.
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
class TwoStageTrAdaBoostR2(ShallowMethod):
    """First the weight of the source, then that of the target."""

    paper = Paper(
        title="Boosting for Regression Transfer", authors="David Pardoe, Peter Stone", year=2010,
        url="https://icml.cc/Conferences/2010/papers/352.pdf", venue="ICML",
        deviations="the base learner is the suite's, the paper's are trees; the median error r, the boosting rate, "
        "counts target samples only; r is at least 1e-6",
    )  # fmt: skip
    handles = Handles(marked="few")
    targets = frozenset({"values"})

    steps: int = hp(10, help="number of weightings of the source; how finely the walk is cut, so not searched")
    rounds: int = hp(10, 3, 30, log=True, help="boosting rounds at each of them")
    folds: int = hp(5, help="folds of the cross-validation on the labelled target samples")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Walk, boost, and keep the best step."""
        if self.steps < 2 or self.rounds < 1 or self.folds < 2:
            raise DazooError("two_stage_tradaboost_r2 needs at least 2 steps, 1 round and 2 folds")
        x, y, n_s = both(seen)
        y = y.to(x.dtype)
        fold = torch.randperm(len(x) - n_s, generator=ctx.gen) % self.folds
        best: tuple[float, Tensor] | None = None
        for w in self.weightings(x, y, n_s, ctx):
            error = self._validated(x, y, w, n_s, fold, ctx)
            if best is None or error < best[0]:
                best = (error, w)
        assert best is not None
        return Pipeline((), None, self.boost(x, y, best[1], n_s, ctx))

    def weightings(self, x: Tensor, y: Tensor, n_s: int, ctx: Context) -> list[Tensor]:
        """The weights (n_s + n_f,) of every step, each with sum 1."""
        start = (len(x) - n_s) / len(x)
        w = torch.full((len(x),), 1.0 / len(x), dtype=x.dtype, device=x.device)
        found = [w]
        for t in range(1, self.steps):
            head = ctx.classifier.fit(x, y, 0, w, gen=ctx.gen, warn=ctx.warn)
            share = start + t / (self.steps - 1) * (1 - start)
            w = shifted(w, _errors(head, x, y)[:n_s], n_s, share)
            found.append(w)
        return found

    def boost(self, x: Tensor, y: Tensor, w: Tensor, n_s: int, ctx: Context) -> Head:
        """AdaBoost.R2 that moves the weights of the target samples alone."""
        few = w[n_s:] / w[n_s:].sum()
        mass = w[n_s:].sum()
        members: list[Head] = []
        votes: list[Tensor] = []
        for _ in range(self.rounds):
            head = ctx.classifier.fit(x, y, 0, torch.cat([w[:n_s], few * mass]), gen=ctx.gen, warn=ctx.warn)
            miss = _errors(head, x, y)[n_s:]
            rate = float((few * miss).sum().clamp(min=LOW))
            if rate >= 0.5 and members:
                break
            members.append(head)
            votes.append(x.new_tensor(max(math.log((1 - rate) / rate), LOW) if rate < 0.5 else LOW))
            if rate >= 0.5:
                break
            few = few * (rate / (1 - rate)) ** (1 - miss)
            few = few / few.sum()
        return WeightedMedian(tuple(members), torch.stack(votes))

    def _validated(self, x: Tensor, y: Tensor, w: Tensor, n_s: int, fold: Tensor, ctx: Context) -> float:
        """Mean squared error on held-out target samples."""
        total, count = 0.0, 0
        for f in range(self.folds):
            out = torch.cat([torch.zeros(n_s, dtype=torch.bool), fold == f]).to(x.device)
            if not bool(out.any()) or bool(out[n_s:].all()):
                continue
            head = self.boost(x[~out], y[~out], w[~out], n_s, ctx)
            total += float((head(x[out])[:, 0] - y[out]).square().sum())
            count += int(out.sum())
        return total / count if count else math.inf


def shifted(w: Tensor, errors: Tensor, n_s: int, share: float) -> Tensor:
    """Weights with the first ``n_s`` multiplied by b^errors, b in [0, 1] such that the others hold ``share`` of all."""
    if share >= 1 - 1e-12:
        out = w.clone()
        out[:n_s] = 0
        return out / out.sum()
    mass = float(w[n_s:].sum())
    low, high = -700.0 / max(float(errors.max()), 1e-12), 0.0  # bounds of log b
    for _ in range(200):
        middle = (low + high) / 2
        if mass / (mass + float((w[:n_s] * torch.exp(middle * errors)).sum())) < share:
            high = middle
        else:
            low = middle
    out = torch.cat([w[:n_s] * torch.exp(high * errors), w[n_s:]])
    return out / out.sum()


def _errors(head: Head, x: Tensor, y: Tensor) -> Tensor:
    """Absolute errors (n,) over the largest one."""
    miss = (head(x)[:, 0] - y).abs()
    return miss / miss.max().clamp(min=1e-300)
