"""JCPOT: joint class proportions and optimal transport. Redko, Courty, Flamary and Tuia, AISTATS 2019.

For several sources k whose class proportions differ from the target's. The target's proportions h (C,) are those under
which all sources, re-weighted class by class, can be moved to the target most cheaply:

    min_{h, P_k}  sum_k (1/K) ( <P_k, C_k / c> + reg sum_ij P_k,ij log P_k,ij )     P_k (n_k, n_t),  c = max_k max C_k
    over P_k' 1 = 1/n_t,   (P_k 1)_i = h_{y_i} / n_k,y_i,   n_k,c the number of samples of class c in source k

by iterative Bregman projections (Proposition 4): scale all columns; h_c = exp mean_k log of the mass that class c holds
in source k; scale all rows. Then

    use="labels":    q_jc = mean_k sum_{i in k: y_i = c} P_k,ij / sum_i P_k,ij, score_jc = log q_jc as in ot_label_prop
    use="features":  z_i = sum_j P_k,ij x_t,j / sum_j P_k,ij for sample i of source k; the classifier learns from all z

Evidence: tests/test_transport_sources.py::test_jcpot_equals_pots_class, test_jcpot_finds_the_targets_proportions,
test_jcpot_plans_meet_their_constraints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.memo import Memo
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.shallow import costs, fit_classifier, pair, source_of
from dazoo.methods.transport._parts import PART, PASSES, blocks_of, gib_of, part_of
from dazoo.methods.transport._plan import PAIR_BYTES, barycentric, check_size, note_uniform, top_cost
from dazoo.methods.transport._sources import rows_of_sources
from dazoo.ops.classwise import one_hot
from dazoo.shallow.steps import EPS_VOTE, NearestScores, NearestShift, Pipeline


@dataclass(frozen=True)
class Joint:
    """The target's class proportions (C,), and per source its rows and its plan (n_k, n_t)."""

    proportions: Tensor
    rows: list[Tensor]
    plans: list[Tensor]


@register
class JCPOT(ShallowMethod):
    """Joint class proportions and optimal transport."""

    paper = Paper(
        title="Optimal Transport for Multi-source Domain Adaptation under Target Shift",
        authors="Ievgen Redko, Nicolas Courty, Rémi Flamary, Devis Tuia", year=2019,
        url="https://arxiv.org/abs/1803.04899", venue="AISTATS",
        deviations="the cost is divided by its largest entry and the projections run in the log domain (POT's "
        "jcpot_barycenter cuts sums off at 1e-10, which a small reg reaches); labels are normalised per target sample "
        "(POT's transform_labels normalises per source sample); a source that lacks a class has no plan that meets "
        "the constraints, and is refused; beyond memory_gib random parts with all classes of all sources are solved "
        "one by one, each with its own proportions (``transport/_parts``)",
    )  # fmt: skip
    growth = 2.5
    memory_growth = 1.5
    handles = Handles(n_sources="many")

    use: str = hp("labels", choices=("labels", "features"), help="what the plans carry to the target")
    reg: float = hp(
        0.05, 0.005, 1.0, log=True, help="entropic regularisation, relative to the largest cost", positive=True
    )
    iterations: int = hp(1000, help="largest number of rounds of projections")
    tolerance: float = hp(1e-8, help="change of the proportions at which the rounds end")
    memory_gib: float = hp(4.0, help="largest memory of the plans and their costs, in GiB", positive=True)

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Estimate the proportions, then carry labels or features over."""
        xs, xt = pair(seen)
        source = source_of(seen)
        strata = [source.domain, source.y]
        blocks = blocks_of(self.name, len(xs), len(xt), self.memory_gib, PAIR_BYTES, ctx, strata)
        shares, zs = xt.new_zeros(len(xt), seen.n_classes), torch.zeros_like(xs)
        for block in blocks:
            part = part_of(seen, block)
            joint = self.joint(part, ctx if part is seen else replace(ctx, memo=Memo()))
            if self.use == "labels":
                members = one_hot(source_of(part).y, seen.n_classes).to(xs)
                share = sum(
                    (p.T @ members[r] / p.sum(0)[:, None] for r, p in zip(joint.rows, joint.plans)), xt.new_zeros(())
                )
                shares[block.cols] += share
            for rows, plan in zip(joint.rows, joint.plans):
                own = rows if isinstance(block.rows, slice) else block.rows[rows]
                zs[own] += barycentric(plan, xt[block.cols])
        passes = 1 if len(blocks) == 1 else PASSES
        note_uniform(self.name, zs / passes, xt, ctx)
        if self.use == "labels":
            scores = torch.log((1 - EPS_VOTE) * shares / (passes * len(joint.rows)) + EPS_VOTE / seen.n_classes)
            return Pipeline((), None, NearestScores(xt, scores))
        zs = zs / passes
        head = fit_classifier(seen, ctx, zs, source_of(seen).y)
        return Pipeline((), (NearestShift(xs, zs - xs),), head)

    def joint(self, seen: Seen, ctx: Context) -> Joint:
        """Proportions and plans."""
        xs, xt = pair(seen)
        check_size(len(xs), len(xt), max(self.memory_gib, 4 * gib_of(PART, PART, PAIR_BYTES)))
        rows, y = rows_of_sources(seen), source_of(seen).y
        scale = top_cost(costs(seen, ctx)) * self.reg
        kernels = [-costs(seen, ctx)[r] / scale for r in rows]
        members = [one_hot(y[r], seen.n_classes).to(xs) for r in rows]
        counts = torch.stack([m.sum(0) for m in members])
        lacking = torch.nonzero((counts == 0) & (counts.sum(0) > 0))
        if len(lacking):
            k, c = lacking[0].tolist()
            raise DazooError(
                f"source {k} has no sample of class {c}, which another source has; jcpot needs every class in every "
                "source, so drop that source or use wbt"
            )
        u = [xs.new_zeros(len(r)) for r in rows]
        v = [xs.new_zeros(len(xt)) for _ in rows]
        proportions = xs.new_full((seen.n_classes,), 1.0 / seen.n_classes)
        for _ in range(max(self.iterations, 1)):
            held, mass = [], []
            for k in range(len(rows)):
                v[k] = -torch.logsumexp(u[k][:, None] + kernels[k], dim=0) - torch.log(xs.new_tensor(float(len(xt))))
                mass.append(u[k] + torch.logsumexp(kernels[k] + v[k], dim=1))
                held.append(members[k].T @ mass[k].exp())
            logs = torch.stack(held).clamp(min=1e-300).log()
            new = logs.mean(dim=0).exp() * (counts.sum(0) > 0)
            for k in range(len(rows)):
                u[k] = u[k] + torch.log(members[k] @ (new / counts[k].clamp(min=1)).clamp(min=1e-300)) - mass[k]
            moved = float((new - proportions).norm())
            proportions = new
            if moved < self.tolerance:
                break
        else:
            ctx.warn(f"jcpot stopped after {self.iterations} rounds before the class proportions settled")
        plans = [torch.exp(u[k][:, None] + kernels[k] + v[k]) for k in range(len(rows))]
        return Joint(proportions / proportions.sum(), rows, plans)
