"""Linear Monge mapping between Gaussians. Knott and Smith 1984; Flamary, Lounici and Ferrari 2019.

    z_s = (x_s - mean_s) A + mean_t,      z_t = x_t
    A = C_s^(-1/2) (C_s^(1/2) C_t C_s^(1/2))^(1/2) C_s^(-1/2)        (d, d)
    C_s = cov(X_s) + reg v_s I,  v_s the mean variance of a feature;  C_t likewise

computed (``_monge``) as A = L^-T (L' C_t L)^(1/2) L^-1 with the Cholesky factor C_s = L L': the one symmetric positive
definite A with A C_s A = C_t.

Evidence: tests/test_shallow_transport.py::test_linear_map_equals_pots_gaussian_map,
test_linear_map_carries_mean_and_covariance_over.
"""

from __future__ import annotations

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, mean_of, pair
from dazoo.methods.transport._monge import monge_map
from dazoo.shallow.steps import Affine, run_steps


@register
class OTLinear(FeatureMap):
    """Linear Monge mapping between Gaussians."""

    paper = Paper(
        title="Concentration bounds for linear Monge mapping estimation and optimal transport domain adaptation",
        authors="Rémi Flamary, Karim Lounici, André Ferrari", year=2019, url="https://arxiv.org/abs/1905.10155",
        venue="arXiv", deviations="covariances are regularised relative to their mean variance",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})
    on_disk = "both"

    reg: float = hp(1e-3, 1e-6, 1.0, log=True, help="added to the diagonals, relative to the mean variance")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """The Monge map between the two Gaussians."""
        xs, xt = pair(seen)
        a = monge_map(seen, ctx, self.reg)
        step = Affine(a, mean_of(xt) - mean_of(xs) @ a)
        return Aligned(run_steps((step,), xs), (), (step,))
