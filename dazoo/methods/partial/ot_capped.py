"""OT mapping that matches the whole target with as much of the source as it takes. Chapel, Alaya, Gasso, NeurIPS 2020.

    P = argmin_P <P, C>   over P >= 0,  P' 1 = 1/n_t,  P 1 <= capacity/n_s,      C_ij = ||x_s,i - x_t,j||^2
    z_s,i = sum_j P_ij x_t,j / sum_j P_ij for all i with sum_j P_ij > 0,         z_t = x_t

Partial transport (``ot_partial``) whose partial side is the source's alone, for a target that holds one of ``capacity``
of the source's classes or more: every target sample is matched, and a source sample sends up to ``capacity`` times its
share or nothing. capacity = 1 is ``ot_emd``; without bound, every target sample takes its nearest source sample. One
dummy point of the target, at cost 0, takes what the source keeps.

Evidence: tests/test_partial.py (the linear programme's optimum; capacity 1 is ot_emd; a class without target samples is
left out).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import costs
from dazoo.methods.transport._plan import exact_plan
from dazoo.methods.transport.ot_partial import OTPartial


@register
class OTCapped(OTPartial):
    """OT mapping from a part of the source to the whole target."""

    paper = Paper(
        title="Partial Optimal Transport with Applications on Positive-Unlabeled Learning",
        authors="Laetitia Chapel, Mokhtar Z. Alaya, Gilles Gasso", year=2020, url="https://arxiv.org/abs/2002.08276",
        venue="NeurIPS",
        deviations="the paper learns from positive and unlabelled samples and bounds the mass of both sides; here, for "
        "partial targets, all target samples are matched, as in ot_emd the moved source samples train the classifier, "
        "and those that send less than a thousandth of their mass do not take part; where the source's classifier is "
        "good already, moving samples costs more than it brings, as with ot_emd in the closed set (suites "
        "partial_office_caltech10, office_caltech10_features); beyond memory_gib random parts of the samples are "
        "matched (``transport/_parts``), which lost 1.3 points in results/bounded",
    )  # fmt: skip
    growth = 2.0
    memory_growth = 2.0
    handles = Handles(labels={"closed", "partial"}, marked={"none", "few"})
    family = "partial"

    share: ClassVar[float] = 1.0  # type: ignore[misc]  # of the target's mass

    capacity: float = hp(4.0, 1.0, 10.0, log=True, help="most mass that a source sample sends, over its share")

    def plan(self, seen: Seen, ctx: Context) -> Tensor:
        """The plan (n_s, n_t) of mass 1 / capacity."""
        if not self.capacity >= 1.0:
            raise DazooError(f"{self.name}.capacity must be at least 1, not {self.capacity}")
        cost = costs(seen, ctx)
        n, m = cost.shape
        if self.capacity == 1.0:
            return exact_plan(cost, ctx)
        b = torch.cat([cost.new_full((m,), 1.0 / (self.capacity * m)), cost.new_full((1,), 1.0 - 1.0 / self.capacity)])
        return exact_plan(torch.cat([cost, cost.new_zeros(n, 1)], dim=1), ctx, None, b)[:, :m]
