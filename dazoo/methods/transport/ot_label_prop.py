"""OT label propagation. Solomon, Rustamov, Guibas and Butscher, ICML 2014; Redko et al., AISTATS 2019.

The plan carries labels rather than features: a target sample gets the mean label of the source samples that send to it.

    P = argmin_P <P, C>  (solver ``emd``),  or with entropy as in ot_sinkhorn,   C_ij = ||x_s,i - x_t,j||^2  (n_s, n_t)
    q_jc = sum_{i: y_i = c} P_ij / sum_i P_ij,        score_jc = log((1 - eps) q_jc + eps / n_classes),   eps = 1e-3

or for values y^_j = sum_i P_ij y_i / sum_i P_ij. No classifier is trained; new samples get the scores of the nearest
target sample. Labelled target samples keep their labels and send none.

Evidence: tests/test_transport.py::test_label_prop_equals_pots_transform_labels,
test_label_prop_follows_the_plan_of_a_monge_map.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.memo import Memo
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.shallow import costs, pair, source_of
from dazoo.methods.transport._parts import blocks_of, part_of
from dazoo.methods.transport._plan import PAIR_BYTES, entropic_plan, exact_plan
from dazoo.ops.classwise import one_hot
from dazoo.shallow.steps import EPS_VOTE, NearestScores, Pipeline


@register
class OTLabelProp(ShallowMethod):
    """OT label propagation."""

    paper = Paper(
        title="Wasserstein Propagation for Semi-Supervised Learning",
        authors="Justin Solomon, Raif Rustamov, Leonidas Guibas, Adrian Butscher", year=2014,
        url="https://proceedings.mlr.press/v32/solomon14.html", venue="ICML",
        deviations="labels over one transport plan, as in Redko et al. 2019, https://arxiv.org/abs/1803.04899, and in "
        "POT; the first paper propagates histograms over a graph; beyond memory_gib random parts of the samples are "
        "transported one by one (``transport/_parts``)",
    )  # fmt: skip
    growth = 2.5
    memory_growth = 2.0
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})
    knob_needs = {"reg": {"solver": "sinkhorn"}}

    solver: str = hp("emd", choices=("emd", "sinkhorn"), help="exact or entropic plan")
    reg: float = hp(
        0.05, 0.005, 1.0, log=True, help="entropic regularisation, relative to the largest cost", positive=True
    )
    iterations: int = hp(1000, help="largest number of Sinkhorn iterations")
    memory_gib: float = hp(4.0, help="largest memory of the plan and its costs, in GiB", positive=True)

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Propagate."""
        xs, xt = pair(seen)
        y = source_of(seen).y
        rows = one_hot(y, seen.n_classes).to(xs) if seen.n_classes else y.to(xs)[:, None]
        received, mass = xs.new_zeros(len(xt), rows.shape[1]), xs.new_zeros(len(xt), 1)
        strata = [y] if seen.n_classes else []
        for block in blocks_of(self.name, len(xs), len(xt), self.memory_gib, PAIR_BYTES, ctx, strata):
            plan = self.plan(part := part_of(seen, block), ctx if part is seen else replace(ctx, memo=Memo()))
            received[block.cols] += plan.T @ rows[block.rows]
            mass[block.cols] += plan.sum(dim=0)[:, None]
        received = received / torch.where(mass > 0, mass, torch.ones_like(mass))
        received = torch.where(mass > 0, received, rows.mean(dim=0))
        if seen.few is not None:
            known = seen.few.y
            received[len(xt) - len(known) :] = (
                one_hot(known, seen.n_classes).to(xs) if seen.n_classes else known.to(xs)[:, None]
            )
        if seen.n_classes:
            received = torch.log((1 - EPS_VOTE) * received.clamp(0, 1) + EPS_VOTE / seen.n_classes)
        return Pipeline((), None, NearestScores(xt, received))

    def plan(self, seen: Seen, ctx: Context) -> Tensor:
        """The plan (n_s, n_t)."""
        if self.solver == "emd":
            return ctx.memo("emd", lambda: exact_plan(costs(seen, ctx), ctx))
        return entropic_plan(costs(seen, ctx), self.reg, ctx, self.iterations)
