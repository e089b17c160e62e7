"""TrAdaBoost: boosting for transfer learning. Dai, Yang, Xue and Yu, ICML 2007.

Per round t of N a classifier h_t is fitted with weights w; source samples it gets wrong lose weight, target samples it
gets wrong gain weight:

    l_t,i = [h_t(x_i) != y_i],   or where ``soft``   l_t,i = 1 - p_t(y_i | x_i)
    e_t = sum_few w_i l_t,i / sum_few w_i,     b_t = e_t / ((1 - e_t) (C - 1))
    b = 1 / (1 + sqrt(2 log n_s / N))
    w_i <- w_i b^l_t,i  (source),       w_i <- w_i b_t^-l_t,i  (labelled target)
    f(x) = argmax_c sum_{t > N/2} log(1 / b_t) [h_t(x) = c],   or where ``soft``   ... log(1 / b_t) p_t(c | x)

The paper's loss is |h_t(x_i) - y_i|, which is either of the two, for h_t in {0, 1} or in [0, 1]. A classifier that fits
every labelled sample, as a linear one with more features than samples does, makes no error in the first sense: no
weight moves, the answer is that of one classifier on all that is labelled, and a warning says so; ``soft`` boosts yet.

Evidence: tests/test_boosting.py::test_tradaboost_follows_the_paper and test_soft_tradaboost_follows_the_paper (the
formulae written out with scikit-learn), test_tradaboost_drops_source_samples_that_disagree,
test_tradaboost_says_when_it_cannot_boost.
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
from dazoo.methods.reweighting._boost import Committee, both
from dazoo.methods.shallow import inner_of, trained
from dazoo.shallow.steps import Head, Pipeline

LOW, CHANCE = 1e-6, 1e-9


@register
class TrAdaBoost(ShallowMethod):
    """Boosting for transfer learning."""

    paper = Paper(
        title="Boosting for Transfer Learning", authors="Wenyuan Dai, Qiang Yang, Gui-Rong Xue, Yong Yu", year=2007,
        url="https://doi.org/10.1145/1273496.1273521", venue="ICML",
        deviations="the paper has two classes; for C classes the factor C - 1 of SAMME is added, without which "
        "probabilities of many classes, e_t > 1/2, would turn every vote round; a round no better than chance, e_t >= "
        "1 - 1/C, has no vote and leaves the target's weights alone (the paper assumes that there is none), and the "
        "later half is that of the rounds with a vote; e_t is at least 1e-6; the base learner is the suite's "
        "classifier, and p_t is the softmax of its scores",
    )  # fmt: skip
    handles = Handles(marked="few")

    rounds: int = hp(100, 10, 100, log=True, help="number of boosting rounds")
    soft: bool = hp(False, choices=(False, True), help="errors and votes by probabilities instead of classes")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Boost; the later half of the rounds votes."""
        members, votes, _ = self.boost(seen, ctx)
        useful = [i for i, vote in enumerate(votes) if float(vote) > 0]
        if not useful:
            ctx.warn("tradaboost: no round is better than chance on the labelled target samples; all vote alike")
            votes, useful = [torch.ones_like(v) for v in votes], list(range(len(votes)))
        later = useful[len(useful) // 2 :]
        chosen: dict[int, tuple[Head, Tensor]] = {}
        for i in later:  # a classifier that stands for several rounds is asked once and has all of their votes
            vote = votes[i] if id(members[i]) not in chosen else votes[i] + chosen[id(members[i])][1]
            chosen[id(members[i])] = (members[i], vote)
        heads, total = zip(*chosen.values(), strict=True)
        return Pipeline((), None, Committee(heads, torch.stack(total), self.soft))

    def boost(self, seen: Seen, ctx: Context) -> tuple[list[Head], list[Tensor], Tensor]:
        """All classifiers, their votes log(1 / b_t), and the final weights (n_s + n_f,)."""
        if self.rounds < 1:
            raise DazooError(f"tradaboost.rounds must be at least 1, not {self.rounds}")
        x, y, n_s = both(seen)
        shrink = -math.log1p(math.sqrt(2 * math.log(n_s) / self.rounds))
        log_w = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        members: list[Head] = []
        votes: list[Tensor] = []
        for round_ in range(self.rounds):
            w = torch.softmax(log_w, 0)
            head = trained(seen, ctx, x, y, w, lambda: inner_of(seen, ctx, self.rounds))
            scores = head(x)
            if self.soft:
                wrong = 1 - scores.softmax(1).gather(1, y[:, None])[:, 0].to(x.dtype)
            else:
                wrong = (scores.argmax(1) != y).to(x.dtype)
            if round_ == 0 and not bool(wrong.any()):
                ctx.warn("tradaboost: the classifier fits every labelled sample, so boosting moves no weight; set soft")
            error = ((w[n_s:] * wrong[n_s:]).sum() / w[n_s:].sum()).clamp(min=LOW)
            vote = torch.log((1 - error) * (seen.n_classes - 1) / error)
            vote = torch.where(vote > CHANCE, vote, torch.zeros_like(vote))
            # where no sample is wrong no weight moves any more, and the rounds that are left would all be this one
            repeats = 1 if bool(wrong.any()) else self.rounds - round_
            members += [head] * repeats
            votes += [vote] * repeats
            if repeats > 1:
                break
            log_w[:n_s] += shrink * wrong[:n_s]
            log_w[n_s:] += vote * wrong[n_s:]
        return members, votes, torch.softmax(log_w, 0)
