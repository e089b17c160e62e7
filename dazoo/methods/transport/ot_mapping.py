"""OT with a map learned beside the plan. Perrot, Courty, Flamary and Habrard, NIPS 2016.

The plan and a smooth map that follows its barycentres are estimated jointly, so that new samples have an image too:

    min_{P, f}  ||f(X_s) - n_s P X_t||_F^2 + mu n_s <P, C> + eta R(f)        over P >= 0, P 1 = 1/n_s, P' 1 = 1/n_t
    linear:    f(x) = x L + b,                      R = ||L - I||_F^2,         L (d, d)
    gaussian:  f(x) = sum_i k(x, x_s,i) a_i + b,    R = tr(A' K A),            A (n_s, d)
    k(x, x') = exp(-||x - x'||^2 / (bandwidth^2 m)),   m the median squared distance in the source
    z_s = f(x_s),      z_t = x_t

by POT's block coordinate descent. All features are divided by (max C)^(1/2), C_ij = ||x_s,i - x_t,j||^2. Both domains
are centred and f maps mean to mean, which is the best b of the linear map.

Evidence: tests/test_transport_regularised.py::test_linear_mapping_equals_pots_class,
test_kernel_mapping_equals_pots_class, test_mapping_recovers_an_affine_map.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, costs, pair
from dazoo.methods.transport._parts import blocks_of, plan_parts
from dazoo.methods.transport._plan import back, posed, top_cost
from dazoo.ops.linalg.linear import distances_between, median_gamma
from dazoo.shallow.steps import Affine, KernelMap, Step

MAPS = 4


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
        import ot

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
        common = {
            "mu": self.mu, "eta": self.eta, "numItermax": self.rounds, "numInnerItermax": 10, "stopThr": 1e-5,
            "stopInnerThr": 1e-6, "log": True,
        }  # fmt: skip
        maps = []
        for block in blocks:
            sides = posed(us[block.rows]), posed(ut[block.cols])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if self.kernel == "linear":
                    _, found, log = ot.mapping.joint_OT_mapping_linear(*sides, **common)
                else:
                    _, found, log = ot.mapping.joint_OT_mapping_kernel(
                        *sides, sigma=float((0.5 / gamma).sqrt()), **common
                    )
            if len(log["loss"]) > self.rounds > 0:
                ctx.warn(f"ot_mapping stopped after {self.rounds} block descents before the objective settled")
            maps.append(back(found, xs))
        if len(blocks) == 1:
            mean, anchors = maps[0], xs
        else:  # the mean of the maps: of matrices, or of sums of kernels at all their samples
            anchors = torch.cat([xs[b.rows] for b in blocks])
            mean = sum(maps, maps[0] * 0) if self.kernel == "linear" else torch.cat(maps)
            mean = mean / len(maps)
        step = self.step(mean, anchors, mean_s, mean_t, scale, gamma)
        return Aligned(step(xs), (), (step,))

    def step(self, found: Tensor, xs: Tensor, mean_s: Tensor, mean_t: Tensor, scale: Tensor, gamma: Tensor) -> Step:
        """The map of raw source samples."""
        if self.kernel == "linear":
            return Affine(found, mean_t - mean_s @ found)
        return KernelMap("rbf", xs, found * scale, torch.as_tensor(gamma / scale.square()), mean_t)
