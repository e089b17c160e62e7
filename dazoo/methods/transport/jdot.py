"""JDOT: joint distribution optimal transport. Courty, Flamary, Habrard and Rakotomamonjy, NIPS 2017.

The plan couples source pairs (x, y) with target pairs (x, f(x)), and f is fitted to the labels the plan sends it:

    min_{f, P}  sum_ij P_ij ( alpha ||x_s,i - x_t,j||^2 / max_ij ||x_s,i - x_t,j||^2 + ||y_s,i - f(x_t,j)||^2 )
                + ridge ||w||^2 / n_t

by turns: P by exact transport, then f(x) = x w + b by ridge regression on y^_j = n_t sum_i P_ij y_s,i. Labels y are
one-hot rows (C,), or one value scaled to variance 1. f starts from the plan of the features alone.

Evidence: tests/test_shallow_transport.py::test_jdot_objective_never_rises,
test_jdot_with_a_large_alpha_is_emd_label_transfer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.shallow import costs, labelled, pair, target_x
from dazoo.methods.transport._parts import blocks_of, received, scaled
from dazoo.methods.transport._plan import exact_plan
from dazoo.methods.transport._targets import regression_targets
from dazoo.ops.linalg.linear import RidgeFit, distances_between
from dazoo.shallow.steps import LinearScores, Pipeline


@register
class JDOT(ShallowMethod):
    """Joint distribution optimal transport."""

    paper = Paper(
        title="Joint distribution optimal transportation for domain adaptation",
        authors="Nicolas Courty, Rémi Flamary, Amaury Habrard, Alain Rakotomamonjy", year=2017,
        url="https://arxiv.org/abs/1705.08848", venue="NIPS",
        deviations="squared loss on one-hot labels for classes too (the paper also has a hinge loss), so that both "
        "steps are exact and the objective never rises; labelled target samples count as source samples; beyond "
        "memory_gib the plan is one of random parts, cut once (``transport/_parts``), and f is fitted to what they "
        "send on average",
    )  # fmt: skip
    growth = 2.5
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})

    alpha: float = hp(1.0, 1e-2, 1e2, log=True, help="weight of the distance between features")
    ridge: float = hp(10.0, 1e-2, 1e3, log=True, help="L2 penalty of the linear model")
    rounds: int = hp(10, 2, 20, help="largest number of alternations")
    memory_gib: float = hp(4.0, help="largest memory of the plan and its costs, in GiB", positive=True)

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Alternate plan and model."""
        xs, xt = pair(seen)
        zs, y = labelled(seen, xs, lambda x: x.flatten(1).to(xs))
        centre, spread, ys = regression_targets(y, seen.n_classes)
        strata = [y] if seen.n_classes else []
        blocks = blocks_of(self.name, len(zs), len(xt), self.memory_gib, 72, ctx, strata)
        if len(blocks) == 1:
            cost = ctx.memo("costs_scaled", lambda: _scale(costs(seen, ctx)))
            if seen.few is not None:
                cost = torch.cat([cost, _scale(distances_between(zs[len(xs) :], xt))])
            parts = [cost]
        else:
            parts = scaled([distances_between(zs[b.rows], xt[b.cols]) for b in blocks])
        solver = RidgeFit(target_x(seen), self.ridge)
        joint, last = [self.alpha * cost for cost in parts], None
        weight = bias = torch.empty(0)
        for _ in range(max(self.rounds, 1)):
            plans = [exact_plan(cost, ctx) for cost in joint]
            if last is not None and all(map(torch.equal, plans, last)):
                break
            weight, bias = solver.fit(received(blocks, plans, ys, len(xt)))
            answers = xt @ weight + bias
            joint = [
                self.alpha * cost + distances_between(ys[b.rows], answers[b.cols]) for b, cost in zip(blocks, parts)
            ]
            last = plans
        else:
            ctx.warn(f"jdot stopped after {self.rounds} rounds before the plan settled")
        kind, columns = ("decision", seen.n_classes) if seen.n_classes else ("values", 1)
        classes = torch.arange(columns, device=xt.device)
        return Pipeline((), None, LinearScores(weight * spread, bias * spread + centre, classes, seen.n_classes, kind))


def _scale(cost: Tensor) -> Tensor:
    """``cost`` over its largest entry."""
    top = cost.max()
    return cost / torch.where(top > 0, top, torch.ones_like(top))
