"""OT with a map learned beside the plan. Perrot, Courty, Flamary and Habrard, NIPS 2016.

The plan and a smooth map that follows its barycentres are estimated jointly, so that new samples have an image too:

    min_{P, f}  ||f(X_s) - n_s P X_t||_F^2 + mu n_s <P, C> + eta R(f)        over P >= 0, P 1 = 1/n_s, P' 1 = 1/n_t
    linear:    f(x) = x L + b,                      R = ||L - I||_F^2,         L (d, d)
    gaussian:  f(x) = sum_i k(x, x_s,i) a_i + b,    R = tr(A' K A),            A (n_s, d)
    k(x, x') = exp(-||x - x'||^2 / (bandwidth^2 m)),   m the median squared distance in the source
    z_s = f(x_s),      z_t = x_t

by POT's block coordinate descent, in the samples' inner products. All features are divided by (max C)^(1/2),
C_ij = ||x_s,i - x_t,j||^2. Both domains are centred and f maps mean to mean, which is the best b of the linear map.

Evidence: tests/test_transport_regularised.py::test_linear_mapping_equals_pots_class,
test_kernel_mapping_equals_pots_class, test_mapping_recovers_an_affine_map.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, costs, pair
from dazoo.methods.transport._parts import blocks_of, plan_parts
from dazoo.methods.transport._plan import top_cost
from dazoo.methods.transport._simplex import STEP, Plans, conditional_gradient, plan_cost
from dazoo.ops.linalg.blas import product
from dazoo.ops.linalg.linear import distances_between, gram, median_gamma
from dazoo.shallow.steps import Affine, KernelMap, Step

MAPS = 4
SETTLED, INNER_SETTLED, INNER = 1e-5, 1e-6, 10  # POT's


@register
class OTMapping(FeatureMap):
    """OT with a map learned beside the plan."""

    paper = Paper(
        title="Mapping Estimation for Discrete Optimal Transport",
        authors="Michaël Perrot, Nicolas Courty, Rémi Flamary, Amaury Habrard", year=2016,
        url="https://papers.nips.cc/paper/2016/hash/26f5bd4aa64fdadf96152ca6e6408068-Abstract.html", venue="NIPS",
        deviations="at most 5 block descents by default; features scaled by the largest cost; bandwidth relative to "
        "the median distance; training samples move by f too, not by the plan; beyond memory_gib f is the mean of the "
        "maps of four random parts (``transport/_parts``)",
    )  # fmt: skip
    growth = 1.5
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})
    knob_needs = {"bandwidth": {"kernel": "gaussian"}}

    kernel: str = hp("linear", choices=("linear", "gaussian"), help="class of maps")
    mu: float = hp(1.0, 1e-2, 1e2, log=True, help="weight of the transport cost")
    eta: float = hp(1e-3, 1e-5, 10.0, log=True, help="weight of the regulariser of the map")
    bandwidth: float = hp(
        1.0, 0.1, 10.0, log=True, help="width of the kernel relative to the median distance", positive=True
    )
    rounds: int = hp(5, help="largest number of block descents")
    memory_gib: float = hp(4.0, help="largest memory of plan, costs and kernel, in GiB", positive=True)

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """The map."""
        xs, xt = pair(seen)
        blocks = blocks_of(self.name, len(xs), max(len(xt), len(xs)), self.memory_gib, 120, ctx)
        if len(blocks) > 1:
            blocks = plan_parts(len(xs), len(xt), ctx, [])[:MAPS]
            scale = (
                torch.stack([distances_between(xs[b.rows], xt[b.cols]).max() for b in blocks])
                .max()
                .sqrt()
                .clamp(min=1e-150)
            )
        else:
            scale = top_cost(costs(seen, ctx)).sqrt()
        mean_s, mean_t = xs.mean(dim=0), xt.mean(dim=0)
        us, ut = (xs - mean_s) / scale, (xt - mean_t) / scale
        gamma = median_gamma(us) / self.bandwidth**2
        maps = []
        for block in blocks:
            found, settled = self.joint(us[block.rows], ut[block.cols], gamma, ctx)
            if not settled:
                ctx.warn(f"ot_mapping stopped after {self.rounds} block descents before the objective settled")
            maps.append(found)
        if len(blocks) == 1:
            mean, anchors = maps[0], xs
        else:  # the mean of the maps: of matrices, or of sums of kernels at all their samples
            anchors = torch.cat([xs[b.rows] for b in blocks])
            mean = sum(maps, maps[0] * 0) if self.kernel == "linear" else torch.cat(maps)
            mean = mean / len(maps)
        step = self.step(mean, anchors, mean_s, mean_t, scale, gamma)
        return Aligned(step(xs), (), (step,))

    def joint(self, us: Tensor, ut: Tensor, gamma: Tensor, ctx: Context) -> tuple[Tensor, bool]:
        """L (d, d) or A (n_s, d) for centred and scaled samples, and whether the objective settled.

        With B = n_s P X_t, V = (K + eta I)^-1 and R = X_s - B (linear, K = X_s X_s') or -B (gaussian), the best map of
        a plan is L = I - X_s' V R or A = -V R, its images miss B by eta V R, and the objective is
        eta tr(R' V R) + mu n_s <P, C>: all of it from inner products of samples.
        """
        n, linear = len(us), self.kernel == "linear"
        cost = distances_between(us, ut).cpu().numpy()
        cost *= n
        kernel = gram("linear" if linear else "rbf", us, us, gamma).cpu().numpy()
        across = product(us, ut.T).cpu().numpy() if linear else None
        within = product(ut, ut.T).cpu().numpy()
        inverse = np.linalg.inv(kernel + self.eta * np.eye(n))
        twice = inverse @ inverse
        plans = Plans(ctx)
        plan, losses, settled = plans(cost), [], False
        for turn in range(self.rounds + 1):
            carried = n * (plan @ within)  # B X_t'
            missed = n * (plan @ carried.T)  # R R', at first B B'
            if across is not None:
                mixed = n * (plan @ across.T)
                missed += kernel - mixed - mixed.T
            spent = plan_cost(plan, cost)
            losses.append(self.eta * float((inverse * missed).sum()) + self.mu * spent)
            settled = turn > 0 and abs(losses[-1] - losses[-2]) < SETTLED * abs(losses[-2])
            if settled or turn == self.rounds:
                break
            rest = across - carried if across is not None else -carried
            images = carried + self.eta * (inverse @ rest)  # f(X_s) X_t'
            value = spent + self.eta**2 * float((twice * missed).sum()) / self.mu
            plan = conditional_gradient(
                cost - 2 * n / self.mu * images, lambda p: (2 * n**2 / self.mu) * (p @ within), plan, plans, INNER,
                INNER_SETTLED, value, STEP,
            ).plan  # fmt: skip
        rest = -n * torch.from_numpy(plan @ ut.cpu().numpy()).to(us)
        weighted = product(torch.from_numpy(inverse).to(us), us + rest if linear else rest)
        found = torch.eye(us.shape[1]).to(us) - product(us.T, weighted) if linear else -weighted
        return found, settled or self.rounds == 0

    def step(self, found: Tensor, xs: Tensor, mean_s: Tensor, mean_t: Tensor, scale: Tensor, gamma: Tensor) -> Step:
        """The map of raw source samples."""
        if self.kernel == "linear":
            return Affine(found, mean_t - mean_s @ found)
        return KernelMap("rbf", xs, found * scale, torch.as_tensor(gamma / scale.square()), mean_t)
