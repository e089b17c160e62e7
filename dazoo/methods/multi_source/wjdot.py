"""WJDOT: a mixture of the sources' joint distributions is transported to the target. Turrisi et al., UAI 2022.

    min_{a, f, P}  sum_ij P_ij ( alpha ||x_s,i - x_t,j||^2 / max_ij ||x_s,i - x_t,j||^2 + ||y_s,i - f(x_t,j)||^2 )
                   + ridge ||w||^2 / n_t
    over a in the simplex, P 1 = a_k / n_k on the rows of source k, P^T 1 = 1/n_t

by turns: P by exact transport, a by a step against the gradient (the mean over source k of the transport's potentials)
and back to the simplex, f(x) = x w + b by ridge regression on y^_j = n_t sum_i P_ij y_s,i. Labels y are one-hot rows
(C,), or one value scaled to variance 1. a starts even; sources unlike the target end with little of the mass. With one
source it is ``jdot``.

Evidence: tests/test_multi_source.py (test_wjdot_of_one_source_is_jdot, test_wjdot_leaves_a_source_that_misleads).
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.shallow import costs, pair, source_of
from dazoo.methods.transport._parts import PASSES, blocks_of, received, scaled
from dazoo.methods.transport._plan import EMD_ITERATIONS, back, even_weights, posed, top_cost
from dazoo.methods.transport._targets import regression_targets
from dazoo.ops.linalg.linear import RidgeFit, distances_between
from dazoo.shallow.steps import LinearScores, Pipeline


@register
class WJDOT(ShallowMethod):
    """Weighted joint distribution optimal transport."""

    paper = Paper(
        title="Multi-source Domain Adaptation via Weighted Joint Distributions Optimal Transport",
        authors="Rosanna Turrisi, Rémi Flamary, Alain Rakotomamonjy, Massimiliano Pontil",
        year=2022, url="https://arxiv.org/abs/2006.12938", venue="UAI",
        deviations="squared loss on one-hot labels and a linear f, fitted exactly, instead of gradient steps on a "
        "network; as jdot, it ends below the classifier of the pooled sources on Office-Caltech10's features; beyond "
        "memory_gib plan and potentials are those of random parts, cut once (``transport/_parts``)",
    )  # fmt: skip
    growth = 2.0
    handles = Handles(n_sources="many")
    targets = frozenset({"classes", "values"})

    alpha: float = hp(1.0, 1e-2, 1e2, log=True, help="weight of the distance between features")
    ridge: float = hp(10.0, 1e-2, 1e3, log=True, help="L2 penalty of the linear model")
    step: float = hp(1.0, 0.1, 10.0, log=True, help="length of the weights' steps, as a share of the largest cost")
    rounds: int = hp(10, 2, 20, help="number of alternations")
    memory_gib: float = hp(4.0, help="largest memory of the plan and its costs, in GiB", positive=True)

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Alternate plan, weights and model."""
        xs, xt = pair(seen)
        domain = source_of(seen).domain
        blocks = blocks_of(self.name, len(xs), len(xt), self.memory_gib, 72, ctx, [domain, torch.zeros_like(domain)])
        if len(blocks) == 1:
            cost = costs(seen, ctx)
            parts = [cost / top_cost(cost)]
        else:
            parts = scaled([distances_between(xs[b.rows], xt[b.cols]) for b in blocks])
        which = [domain == k for k in torch.unique(domain)]
        centre, spread, ys = regression_targets(source_of(seen).y, seen.n_classes)
        solver = RidgeFit(xt, self.ridge)
        share = xs.new_full((len(which),), 1.0 / len(which))
        joint, weight, bias = [self.alpha * cost for cost in parts], torch.empty(0), torch.empty(0)
        for _ in range(max(self.rounds, 1)):
            mass, potential, plans = _spread(share, which), torch.zeros_like(xs[:, 0]), []
            for block, cost in zip(blocks, joint):
                own = mass[block.rows]
                plan, potential_of = _transport(cost, own if len(blocks) == 1 else own / own.sum(), ctx)
                plans.append(plan)
                potential[block.rows] += potential_of
            weight, bias = solver.fit(received(blocks, plans, ys, len(xt)))
            slope = torch.stack([potential[rows].mean() for rows in which]) / (1 if len(blocks) == 1 else PASSES)
            share = _simplex(share - self.step * slope)
            answers = xt @ weight + bias
            joint = [
                self.alpha * cost + distances_between(ys[b.rows], answers[b.cols]) for b, cost in zip(blocks, parts)
            ]
        kind, columns = ("decision", seen.n_classes) if seen.n_classes else ("values", 1)
        classes = torch.arange(columns, device=xt.device)
        return Pipeline((), None, LinearScores(weight * spread, bias * spread + centre, classes, seen.n_classes, kind))


def _spread(share: Tensor, which: list[Tensor]) -> Tensor:
    """Weights (n_s,) of the source rows, a_k / n_k each."""
    out = share.new_zeros(len(which[0]))
    for a, rows in zip(share, which):
        out[rows] = a / rows.sum()
    return out


def _transport(cost: Tensor, weights: Tensor, ctx: Context) -> tuple[Tensor, Tensor]:
    """The exact plan (n_s, n_t), and the source's potentials (n_s,) as shares of the largest cost."""
    import ot

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan, log = ot.emd(
            posed(weights, False), even_weights(cost.shape[1]), posed(cost / top_cost(cost), False),
            numItermax=EMD_ITERATIONS, log=True, check_marginals=False,
        )  # fmt: skip
    if log["warning"] is not None:
        ctx.warn(f"the transport problem was not solved to the end: {log['warning']}")
    return back(plan, cost), torch.as_tensor(log["u"]).to(cost)


def _simplex(a: Tensor) -> Tensor:
    """The nearest point of the simplex to a (N,)."""
    import ot

    return torch.as_tensor(ot.utils.proj_simplex(a.cpu().numpy())).to(a)
