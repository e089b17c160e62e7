"""The plan with an Lp-L1 class regulariser, shared by the methods that use it."""

from __future__ import annotations

from torch import Tensor

from dazoo.methods.transport._plan import entropic, marginals

POWER = 0.5


def class_plan(
    cost: Tensor,
    members: Tensor,
    reg: float,
    class_weight: float,
    epsilon: float,
    rounds: int,
    iterations: int,
    a: Tensor | None = None,
    b: Tensor | None = None,
) -> tuple[Tensor, bool]:
    """The plan (n_s, n_t) of ``ot_class_reg`` for a scaled ``cost``, and whether the last round converged.

    ``members`` (n_s, C) is one-hot. The tangent of the regulariser at the last plan adds the constant
    class_weight p (m_jc / b_j + epsilon)^(p - 1) to the cost, m_jc the mass of class c in column j and p = 1/2.
    """
    a, b = marginals(cost, a, b)
    plan, start, settled = entropic(cost, reg, iterations, a, b)
    for _ in range(max(rounds, 1) - 1):
        slope = POWER * ((members.T @ plan) / b + epsilon).pow(POWER - 1)
        last = plan
        plan, start, settled = entropic(cost + class_weight * (members @ slope), reg, iterations, a, b, start=start)
        if bool((plan - last).abs().sum() < 1e-6):
            break
    return plan, settled
