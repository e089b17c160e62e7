"""Gaussian ratio: importance weights from one normal density per domain. Shimodaira, JSPI 2000.

    w_i = (N(x_i; m_t, C_t) / N(x_i; m_s, C_s))^power

with means (d,) and covariances C + reg tr(C)/d I (d, d) of each domain. Exact when both domains are Gaussian.

Evidence: tests/test_reweighting.py::test_gaussian_ratio_equals_scipy, test_known_gaussian_ratio.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.reweighting._ratio import flattened
from dazoo.methods.shallow import Reweighting, moments, source_x
from dazoo.ops.linalg.linear import ridged


@register
class GaussianRatio(Reweighting):
    """Importance weights from one normal density per domain."""

    paper = Paper(
        title="Improving predictive inference under covariate shift by weighting the log-likelihood function",
        authors="Hidetoshi Shimodaira", year=2000, url="https://doi.org/10.1016/S0378-3758(00)00115-4",
        venue="Journal of Statistical Planning and Inference",
        deviations="the covariances are regularised, so that fewer samples than features or constant features leave a "
        "density; in many dimensions the ratio of two densities is that of their tails, so a few samples decide: it "
        "warns, and is for few features",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})

    reg: float = hp(1e-3, 1e-6, 1.0, log=True, help="share of the mean variance added to both covariances' diagonals")
    power: float = hp(1.0, 0.0, 1.0, help="exponent of the density ratio; 0 weights nothing", most=float("inf"))

    def weights(self, seen: Seen, ctx: Context) -> Tensor:
        """The flattened ratio of both densities."""
        x = source_x(seen)
        (mean_s, cov_s), (mean_t, cov_t) = moments(seen, ctx)
        ratio = log_normal(x, mean_t, ridged(cov_t, self.reg)) - log_normal(x, mean_s, ridged(cov_s, self.reg))
        return flattened(ratio, self.power)


def log_normal(x: Tensor, mean: Tensor, cov: Tensor) -> Tensor:
    """log N(x; mean, cov) (n,) up to the constant d/2 log(2 pi)."""
    lower = torch.linalg.cholesky(cov)
    z = torch.linalg.solve_triangular(lower, (x - mean).T, upper=False)
    return -z.square().sum(0) / 2 - lower.diagonal().log().sum()
