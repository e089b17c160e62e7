"""Shares of classes in unlabelled samples, from what is known of every class: mixtures, likelihoods, calibration.

Numbers that steer methods: no gradients, not for losses.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

TINY = 1e-12
Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


def em_shares(
    likelihood: Tensor, start: Tensor, iterations: int = 2000, change: float = 1e-8
) -> tuple[Tensor, list[float]]:
    """Shares q (C,) of greatest likelihood ``sum_j log sum_c q_c likelihood_jc`` by expectation maximisation.

    ``likelihood`` (n, C) >= 0, whose rows may have any scale; classes with ``start`` 0 keep it. Also the mean log
    likelihood before every iteration. Saerens et al. 2002, https://doi.org/10.1162/089976602753284446
    """
    found, trace = start.clone(), []
    for _ in range(iterations):
        joint = likelihood * found
        total = joint.sum(1, keepdim=True).clamp(min=1e-300)
        trace.append(float(total.log().mean()))
        after = (joint / total).mean(0)
        after = after / after.sum()
        moved = float((after - found).abs().max())
        found = after
        if moved < change:
            break
    return found, trace


def likelihood_shares(likelihood: Tensor) -> tuple[Tensor, bool]:
    """The same greatest likelihood by convex optimisation, and whether it converged: (n, C) -> (C,)."""
    rows = likelihood.detach().to("cpu", torch.float64).numpy()
    rows = rows / np.maximum(rows.max(1, keepdims=True), 1e-300)

    def loss(q: np.ndarray) -> tuple[float, np.ndarray]:
        total = np.maximum(rows @ q, TINY)
        return float(-np.log(total).mean()), -(rows / total[:, None]).mean(0)

    found, converged = simplex_minimum(loss, rows.shape[1])
    return torch.from_numpy(found).to(likelihood), converged


def mixture_shares(parts: Tensor, whole: Tensor) -> tuple[Tensor, bool]:
    """Shares q (C,) whose mixture of ``parts`` (B, C) is nearest to ``whole`` (B,) in Hellinger distance, and whether
    the solver converged:

        min_q  sum_b (sqrt(sum_c q_c parts_bc) - sqrt(whole_b))^2,     q >= 0,  sum_c q_c = 1

    Columns of ``parts`` and ``whole`` are histograms of equal sums. González-Castro et al. 2013,
    https://doi.org/10.1016/j.ins.2012.05.028
    """
    held = whole > 0
    h, t = (v[held].detach().to("cpu", torch.float64).numpy() for v in (parts, whole))

    def loss(q: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.maximum(h @ q, TINY)
        return float(-np.sqrt(mixed * t).sum()), -(h * np.sqrt(t / mixed)[:, None]).sum(0) / 2

    found, converged = simplex_minimum(loss, h.shape[1])
    return torch.from_numpy(found).to(parts), converged


def simplex_minimum(loss: Objective, k: int) -> tuple[np.ndarray, bool]:
    """The minimum (k,) of a convex function over q >= 0 with sum 1, and whether the solver says that it got there.

    ``loss`` gives the value and the gradient (k,).
    """
    from scipy.optimize import minimize

    if k == 1:
        return np.ones(1), True
    made = minimize(
        loss, np.full(k, 1.0 / k), jac=True, method="SLSQP", bounds=[(0.0, 1.0)] * k,
        constraints={"type": "eq", "fun": lambda q: q.sum() - 1.0, "jac": lambda q: np.ones(k)},
        options={"maxiter": 500, "ftol": 1e-15},
    )  # fmt: skip
    found = np.clip(made.x, 0.0, None)
    # a step that gains nothing any more ends in "positive directional derivative", which is an end, too
    return found / found.sum(), made.status in (0, 8)


CALIBRATIONS = ("bcts", "vector", "temperature", "none")
SCALES, BIASES = (0.02, 50.0), (-30.0, 30.0)


def calibration(scores: Tensor, y: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """``scale`` (C,) and ``bias`` (C,) for which ``softmax(scale * scores + bias)`` has the least cross-entropy with y.

    ``temperature``: one scale for all classes and no bias; ``bcts``: one scale, and a bias per class; ``vector``: a
    scale and a bias per class; ``none``: 1 and 0. Scores (n, C), labels (n,). Scales stay within [1/50, 50], since they
    grow without bound where classes are separable. Guo et al. 2017, https://arxiv.org/abs/1706.04599; Alexandari et
    al. 2020, https://arxiv.org/abs/1901.06852
    """
    from scipy.optimize import minimize

    n, k = scores.shape
    if kind == "none":
        return scores.new_ones(k), scores.new_zeros(k)
    s = scores.detach().to("cpu", torch.float64).numpy()
    right = np.eye(k)[y.cpu().numpy()]
    scales, biases = (k if kind == "vector" else 1), (0 if kind == "temperature" else k)

    def loss(v: np.ndarray) -> tuple[float, np.ndarray]:
        z = v[:scales] * s + (v[scales:] if biases else 0.0)
        z = z - z.max(1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
        gap = (np.exp(log_p) - right) / n
        of_scale = (gap * s).sum(0) if scales > 1 else np.atleast_1d((gap * s).sum())
        return float(-(log_p * right).sum() / n), np.concatenate([of_scale, gap.sum(0) if biases else []])

    start = np.concatenate([np.ones(scales), np.zeros(biases)])
    bounds = [SCALES] * scales + [BIASES] * biases
    made = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 1000, "ftol": 1e-14})
    scale = np.broadcast_to(made.x[:scales], k).copy()
    bias = made.x[scales:] if biases else np.zeros(k)
    return torch.from_numpy(scale).to(scores), torch.from_numpy(bias.copy()).to(scores)
