"""BDA: balanced distribution adaptation. Wang, Chen, Hao, Feng and Shen, ICDM 2017.

JDA with a balance between the marginal and the class-wise term, and, with ``weighted`` (W-BDA), class priors:

    X H X' a = l (X M X' + mu I) a,      M = (1 - balance) M_0 + balance sum_{c=1}^C W_c,     scaled to ||M||_F = 1
    W_c = w_c w_c',   w_c = sqrt(P(y_s = c)) / n_s^c on source samples of class c, -sqrt(P(y^_t = c)) / n_t^c on the
    target's, or with both priors replaced by 1 in plain BDA

Evidence: tests/test_subspace.py::test_bda_at_balance_zero_is_tca_and_at_half_is_jda.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import register
from dazoo.methods.subspace._pencil import Problem, joint_factor
from dazoo.methods.subspace.jda import JDA
from dazoo.ops.linalg.spectral import low_rank_pencil, unit_columns


@register
class BDA(JDA):
    """Balanced distribution adaptation."""

    paper = Paper(
        title="Balanced Distribution Adaptation for Transfer Learning",
        authors="Jindong Wang, Yiqiang Chen, Shuji Hao, Wenjie Feng, Zhiqi Shen", year=2017,
        url="https://arxiv.org/abs/1807.00516", venue="ICDM",
        deviations="as jda: unit-norm samples, eigenvectors and projected samples, and the scaled M; the authors' "
        "program weighs M_0, the means of the domains, by the number of classes; the balance is a hyper-parameter "
        "(0.5) and not estimated",
    )  # fmt: skip

    balance: float = hp(0.5, 0.0, 1.0, help="0: means of the domains only; 1: means of the classes only")
    weighted: bool = hp(True, choices=(False, True), help="W-BDA: weigh classes by their share in each domain")

    def solve(self, p: Problem, ys: Tensor, labels: Tensor | None, n_classes: int) -> Tensor:
        """Unit-norm eigenvectors (r, k) for the current labels of the target."""
        marginal, conditional = 1 - self.balance, self.balance
        if labels is None:
            labels, marginal, conditional = torch.zeros(len(p.xt), dtype=torch.int64, device=ys.device), 1.0, 0.0
        factor = joint_factor(p.xs, p.xt, ys, labels, n_classes, marginal, conditional, self.weighted)
        return unit_columns(low_rank_pencil(p.scatter, factor, self.mu, self.dim)[1])
