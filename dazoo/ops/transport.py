"""Mini-batch optimal transport: costs that carry gradients, and plans that do not.

The plans come from POT, one problem at a time, in float64 on the CPU; they do not run under ``vmap``. A method that
uses them is not stackable. A plan is a constant: gradients flow through the cost in ``transport_loss`` only, as the
envelope theorem allows.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dazoo.core.errors import DazooError, NonFiniteError
from dazoo.ops.kernels import squared_distances


def feature_cost(fs: Tensor, ft: Tensor) -> Tensor:
    """Squared Euclidean cost: fs (n, d), ft (m, d) -> (n, m)."""
    return squared_distances(fs, ft)


def label_cost(ws: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy cost of giving a target the source's label: ws (n, C) one-hot, target logits (m, C) -> (n, m).

    ``L_ij = -sum_c ws_ic log softmax(logits_j)_c``
    """
    return -ws @ functional.log_softmax(logits, dim=-1).T


def joint_cost(
    fs: Tensor,
    ft: Tensor,
    ws: Tensor,
    logits: Tensor,
    feature_weight: float | Tensor = 0.001,
    label_weight: float | Tensor = 0.0001,
) -> Tensor:
    """Cost of moving feature and label together, ``a |fs_i - ft_j|^2 + b L(ws_i, logits_j)`` (n, m).

    L of ``label_cost``. Damodaran et al., ECCV 2018 (DeepJDOT), https://arxiv.org/abs/1803.10081
    """
    return feature_weight * feature_cost(fs, ft) + label_weight * label_cost(ws, logits)


def transport_loss(plan: Tensor, cost: Tensor) -> Tensor:
    """Cost of a fixed plan, ``sum_ij stop(plan_ij) cost_ij``: plan and cost (n, m)."""
    return (plan.detach() * cost).sum()


def emd_plan(cost: Tensor, a: Tensor | None = None, b: Tensor | None = None) -> Tensor:
    """Exact plan ``argmin_P <P, cost>`` with marginals a (n,) and b (m,), default uniform: cost (n, m) -> (n, m).

    Network simplex of POT (Flamary et al., JMLR 2021, https://jmlr.org/papers/v22/20-451.html); for square costs and
    uniform marginals scipy's assignment, times 1/n.

    Raises:
        NonFiniteError: the cost is not finite.
    """
    if a is None and b is None and cost.shape[0] == cost.shape[1]:
        # between equally many samples of equal weight some assignment is an optimal plan, found in a tenth of the time
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(_checked(cost).numpy())
        found = torch.zeros(cost.shape, dtype=cost.dtype)
        found[torch.from_numpy(rows), torch.from_numpy(columns)] = 1.0 / cost.shape[0]
        return found.to(cost.device)
    import ot

    m, wa, wb, _ = _problem(cost, a, b)
    return _back(ot.emd(wa, wb, m), cost)


def sinkhorn_plan(
    cost: Tensor, reg: float = 0.05, a: Tensor | None = None, b: Tensor | None = None, iterations: int = 1000
) -> Tensor:
    """Entropic plan ``argmin_P <P, cost / max(cost)> + reg sum P log P`` with marginals a, b: cost (n, m) -> (n, m).

    In the log domain, and with the cost scaled to 1, so that small ``reg`` and large features neither overflow nor
    underflow. Cuturi, NIPS 2013, https://arxiv.org/abs/1306.0895
    """
    import ot

    m, wa, wb, _ = _problem(cost, a, b)
    with warnings.catch_warnings():
        # a batch plan that stops short of 1e-9 is still a plan
        warnings.simplefilter("ignore")
        plan = ot.sinkhorn(wa, wb, m, reg, method="sinkhorn_log", numItermax=iterations)
    return _back(plan, cost)


def unbalanced_plan(
    cost: Tensor,
    reg: float = 0.1,
    mass: float = 1.0,
    a: Tensor | None = None,
    b: Tensor | None = None,
    iterations: int = 1000,
) -> Tensor:
    """Unbalanced entropic plan, which may leave mass where moving it is dear: cost (n, m) -> (n, m).

        argmin_P <P, cost> + reg KL(P | a b^T) + mass (KL(P 1 | a) + KL(P^T 1 | b))

    The cost is not scaled: against ``mass`` it decides what is left where it is. Entries above 650 ``reg`` count as
    650 ``reg``, since exp(-cost / reg) is zero in float64 soon after.
    Chizat et al., 2018; Fatras et al., ICML 2021 (JUMBOT), https://arxiv.org/abs/2103.03606
    """
    m, wa, wb, scale = _problem(cost, a, b)
    m = (m * scale).clip(max=650.0 * reg)
    found = _translation_invariant(m, wa, wb, reg, mass, iterations)
    if found is not None:
        return _back(found, cost)
    import ot

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # the stabilised solver returns plans of wrong mass where one cost stands out; this one also converges sooner
        plan = ot.unbalanced.sinkhorn_unbalanced(
            wa, wb, m, reg, mass, method="sinkhorn_translation_invariant", reg_type="kl", numItermax=iterations
        )
    return _back(plan, cost)


def _translation_invariant(m: Any, a: Any, b: Any, reg: float, mass: float, iterations: int) -> Any:
    """The plan of POT's solver of this name, with a third of its operations; None where it leaves floating point.

    POT stops where the potentials move by 1e-6 of their largest; here that is asked every fifth iteration, of the plan
    and for 1e-7 of every entry. Sejourne, Vialard, Peyre, AISTATS 2022, https://proceedings.mlr.press/v151/sejourne22a.html
    """
    power, e = mass / (mass + reg), reg / mass
    shift, back = mass / (2.0 * (mass + reg)), mass / (2.0 * mass + reg)
    with np.errstate(all="ignore"):
        k = np.exp(-m / reg) * a[:, None] * b
        across, log_a, log_b = np.ascontiguousarray(k.T), np.log(a), np.log(b)
        log_u, log_v, v = np.zeros(len(a)), np.zeros(len(b)), np.ones(len(b))
        spread = 1.0  # sum_j b_j v_j^e
        for i in range(iterations):
            before = (log_u, log_v)
            log_u = power * (log_a - np.log(k @ v)) + shift * math.log(spread)
            total = float(a @ np.exp(-e * log_u))
            log_u = log_u - back * math.log(total)
            total *= total ** (e * back)  # of the u that were moved
            log_v = power * (log_b - np.log(across @ np.exp(log_u))) + shift * math.log(total)
            small = np.exp(-e * log_v)
            total = float(b @ small)
            log_v = log_v - back * math.log(total)
            spread = float(b @ (1.0 / small)) * total ** (-e * back)
            v = np.exp(log_v)
            if not 0.0 < spread < math.inf:
                return None
            if i % 5 == 4:
                du, dv = log_u - before[0], log_v - before[1]
                if max(du.max() + dv.max(), -du.min() - dv.min()) < 1e-7:
                    break
        plan = np.exp(log_u)[:, None] * k * v
    return plan if np.isfinite(plan).all() else None


def partial_plan(cost: Tensor, share: float, a: Tensor | None = None, b: Tensor | None = None) -> Tensor:
    """Exact plan that moves only ``share`` of the mass, the cheapest: cost (n, m) -> (n, m), 0 < share <= 1.

    Figalli, 2010; Nguyen et al., ICML 2022 (m-POT), https://arxiv.org/abs/2108.09645
    """
    import ot

    if not 0.0 < share <= 1.0:
        raise DazooError(f"the share of mass to move must lie in (0, 1], not {share}")
    m, wa, wb, _ = _problem(cost, a, b)
    if share == 1.0:
        return _back(ot.emd(wa, wb, m), cost)
    return _back(ot.partial.partial_wasserstein(wa, wb, m, m=share), cost)


def barycentric_map(plan: Tensor, ft: Tensor) -> Tensor:
    """Where a plan sends each source row, ``sum_j P_ij ft_j / sum_j P_ij``: plan (n, m), ft (m, d) -> (n, d).

    Courty et al., TPAMI 2017, https://arxiv.org/abs/1507.00504
    """
    return plan @ ft / plan.sum(1, keepdim=True).clamp_min(1e-30)


def _checked(cost: Tensor) -> Tensor:
    """The cost in float64 on the CPU, without gradient."""
    c = cost.detach().to("cpu", torch.float64)
    if not math.isfinite(float(c.sum())) and not bool(torch.isfinite(c).all()):
        raise NonFiniteError("the transport cost is not finite; scale the features or lower the learning rate")
    return c


def _problem(cost: Tensor, a: Tensor | None, b: Tensor | None) -> tuple[Any, Any, Any, float]:
    """Scaled cost and marginals as float64 arrays, and the scale."""
    c = _checked(cost)
    scale = max(float(c.abs().max()), 1e-300)
    n, m = c.shape
    wa = torch.full((n,), 1.0 / n, dtype=torch.float64) if a is None else a.detach().to("cpu", torch.float64)
    wb = torch.full((m,), 1.0 / m, dtype=torch.float64) if b is None else b.detach().to("cpu", torch.float64)
    return (c / scale).numpy(), (wa / wa.sum()).numpy(), (wb / wb.sum()).numpy(), scale


def _back(plan: Any, cost: Tensor) -> Tensor:
    """A POT plan as a tensor like ``cost``, checked."""
    result = torch.as_tensor(plan, dtype=torch.float64)
    if not bool(torch.isfinite(result).all()):
        raise NonFiniteError("the transport plan is not finite; raise the entropic regularisation")
    return result.to(cost.device, cost.dtype)
