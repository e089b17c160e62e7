"""f-MMD: feature selection by the maximum mean discrepancy. Uguroglu and Carbonell, ECML PKDD 2011.

Weights w (d,) on the features that make the discrepancy of the domains largest show which features differ:

    max_w sum_k w_k m_k   subject to w >= 0, ||w||_2 <= 1,      m_k = ((mean(x_s,k) - mean(x_t,k)) / std_k)^2

so w = m / ||m||. Features with w_k > ``threshold`` are dropped; the one with the smallest weight always stays.

Evidence: tests/test_subspace_more.py::test_fmmd_weights_solve_the_programme, test_fmmd_drops_the_features_that_moved.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, pair
from dazoo.shallow.steps import Columns

ROUNDING = 1e-20  # the square of differences of means, in standard deviations, that rounding alone makes


@register
class FMMD(FeatureMap):
    """Feature selection by the maximum mean discrepancy."""

    paper = Paper(
        title="Feature Selection for Transfer Learning", authors="Selen Uguroglu, Jaime Carbonell", year=2011,
        url="https://doi.org/10.1007/978-3-642-23808-6_28", venue="ECML PKDD",
        deviations="linear kernel, for which the programme has this closed form; features are divided by their pooled "
        "standard deviation within the domains, so that units do not matter; means that agree to 1e-10 of it count as "
        "equal, so after standardising each domain every feature stays; no gain at the defaults where every feature "
        "both moves and tells classes apart, since it drops what moves",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})

    threshold: float = hp(0.1, 0.01, 1.0, log=True, help="largest weight of a feature that is kept")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Keep the features that agree."""
        xs, xt = pair(seen)
        w = discrepancy_weights(xs, xt)
        keep = torch.nonzero(w <= torch.maximum(w.min(), w.new_tensor(self.threshold)))[:, 0]
        step = Columns(keep, xs.shape[1])
        return Aligned(step(xs), (step,))


def discrepancy_weights(xs: Tensor, xt: Tensor) -> Tensor:
    """w (d,) of norm 1, or all 0 where no mean differs."""
    degrees = max(len(xs) + len(xt) - 2, 1)
    variance = ((xs - xs.mean(0)).square().sum(0) + (xt - xt.mean(0)).square().sum(0)) / degrees
    gap = (xs.mean(0) - xt.mean(0)).square()
    floor = 1e-12 * (variance.max() + gap.max())
    m = gap / torch.where(floor > 0, variance + floor, torch.ones_like(variance))
    m = torch.where(m > ROUNDING, m, torch.zeros_like(m))
    norm = m.norm()
    return torch.where(norm > 0, m / norm.clamp(min=1e-300), torch.zeros_like(m))
