"""MMDT: max-margin domain transforms. Hoffman, Rodner, Donahue, Saenko and Darrell, ICLR 2013.

    min_{W, theta, b}  1/2 |W|_F^2 + 1/2 sum_k |theta_k|^2 + C_s sum_{i,k} [1 - y^s_ik (theta_k' x^s_i + b_k)]_+
                                                       + C_t sum_{i,k} [1 - y^t_ik (theta_k' W x^t_i + b_k)]_+

with y_ik = 1 where sample i is of class k, else -1: machines theta_k (k_s,) of the source's space, one class against
the rest, and a linear map W (k_s, k_t + 1) of labelled target samples, with a constant behind them, into that space.
Starts from machines of the source alone and alternates: W given the machines is a quadratic programme in one
multiplier per labelled target sample and class, W = sum_ik a_ik y_ik theta_k x_i', 0 <= a <= C_t; machines given W are
linear SVMs.

Evidence: tests/test_heterogeneous.py::test_mmdt_finds_the_best_map.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.heterogeneous._maps import components_of, few_target
from dazoo.methods.shallow import sides, source_of
from dazoo.shallow.classifiers import Warn, fit_svc
from dazoo.shallow.steps import Affine, AsScores, Pipeline


@register
class MMDT(ShallowMethod):
    """Max-margin domain transforms."""

    paper = Paper(
        title="Efficient Learning of Domain-invariant Image Representations",
        authors="Judy Hoffman, Erik Rodner, Jeff Donahue, Kate Saenko, Trevor Darrell", year=2013,
        url="https://arxiv.org/abs/1301.3224", venue="ICLR",
        deviations="principal components of each domain first; starts from machines of the source alone, in the paper "
        "from the identity, which different spaces do not have",
    )  # fmt: skip
    handles = Handles(marked="few", spaces="own")

    toy_hparams: ClassVar[dict[str, Any]] = {"components": 3}

    C_s: float = hp(0.05, 1e-3, 1.0, log=True, help="cost of a violated margin in the source", positive=True)
    C_t: float = hp(1.0, 0.1, 100.0, log=True, help="cost of a violated margin in the target", positive=True)
    components: int = hp(100, 20, 200, log=True, help="principal components of each domain")
    rounds: int = hp(2, help="alternations")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Alternate between machines and the map."""
        xs, xt = sides(seen)
        xf, yf = few_target(seen)
        to_s, to_t = components_of(xs, self.components), components_of(xt, self.components)
        zs, ys, zf = to_s(xs), source_of(seen).y, _with_one(to_t(xf))
        n = seen.n_classes
        costs = torch.full((len(zs),), self.C_s, dtype=torch.float64)
        theta, b = machines(zs, ys, costs, n, ctx.warn)
        signs = torch.where(yf[:, None] == torch.arange(n), 1.0, -1.0).to(torch.float64)
        w = zs.new_zeros(zs.shape[1], zf.shape[1])
        for _ in range(self.rounds):
            w = best_map(theta, b, zf, signs, self.C_t)
            both, labels = torch.cat([zs, zf @ w.T]), torch.cat([ys, yf.to(ys)])
            every = torch.cat([costs, costs.new_full((len(zf),), self.C_t)])
            theta, b = machines(both, labels, every, n, ctx.warn)
        joined = w.T @ theta  # (k_t + 1, C)
        target = Affine(joined[:-1], joined[-1] + b)
        return Pipeline((to_t, target), (to_s, Affine(theta, b)), AsScores())


def machines(x: Tensor, y: Tensor, costs: Tensor, n_classes: int, warn: Warn) -> tuple[Tensor, Tensor]:
    """Linear machines of one class against the rest: weights (d, C), offsets (C,); -1 for a class without samples."""
    theta, b = x.new_zeros(x.shape[1], n_classes), x.new_full((n_classes,), -1.0)
    for k in range(n_classes):
        signs = torch.where(y == k, 1, -1).numpy()
        if abs(signs.sum()) < len(signs):
            model = fit_svc(x.numpy(), signs, costs.numpy(), warn, C=1.0, kernel="linear")
            theta[:, k], b[k] = torch.tensor(model.coef_[0]), float(model.intercept_[0])
    return theta, b


def best_map(theta: Tensor, b: Tensor, x: Tensor, signs: Tensor, cost: float) -> Tensor:
    """W (d, e) of the least 1/2 |W|^2 + cost sum_ik [1 - signs_ik (theta_k' W x_i + b_k)]_+, theta (d, C), x (n, e).

    By its dual over 0 <= a_ik <= cost, max sum_ik a_ik (1 - signs_ik b_k) - 1/2 |sum_ik a_ik signs_ik theta_k x_i'|^2.
    """
    from scipy.optimize import minimize

    of_classes, of_samples = (theta.T @ theta).numpy(), (x @ x.T).numpy()
    y = signs.numpy()
    gain = 1 - y * b.numpy()

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        a = flat.reshape(y.shape) * y
        pull = of_samples @ a @ of_classes
        return 0.5 * float((a * pull).sum()) - float((gain * y * a).sum()), (y * pull - gain).ravel()

    bounds = [(0.0, cost)] * y.size
    found = minimize(value, np.zeros(y.size), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 2000})
    a = torch.from_numpy(found.x.reshape(y.shape) * y)
    return theta @ a.T @ x


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, x.new_ones(len(x), 1)], 1)
