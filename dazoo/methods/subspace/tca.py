"""TCA: transfer component analysis. Pan, Tsang, Kwok and Yang, IEEE Transactions on Neural Networks 2011.

With X = [X_s, X_t] (d, n) of unit-norm samples, H = I - 11'/n and M = e e' / ||e||^2, where e is 1/n_s on source and
-1/n_t on target samples, the map A (d, k) keeps variance and removes the difference of the means:

    max_A  tr( (A' (X M X' + mu I) A)^-1  A' X H X' A )
    X H X' a = l (X M X' + mu I) a,       z = A' x / ||A' x||,     A: the k leading eigenvectors, each of norm 1

With ``kernel="rbf"`` X is replaced by K (n, n) and mu I stays; gamma is 1 / median squared distance.

Evidence: tests/test_subspace.py::test_tca_solves_its_pencil (scipy.linalg.eigh on the dense pencil),
test_tca_of_few_samples_equals_tca_in_all_features, test_surf_averages.
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap
from dazoo.methods.subspace._pencil import Problem, mean_gap, pencil_of


@register
class TCA(FeatureMap):
    """Transfer component analysis."""

    paper = Paper(
        title="Domain Adaptation via Transfer Component Analysis",
        authors="Sinno Jialin Pan, Ivor W. Tsang, James T. Kwok, Qiang Yang", year=2011,
        url="https://doi.org/10.1109/TNN.2010.2091281", venue="IEEE Transactions on Neural Networks (Journal)",
        deviations="M is scaled to Frobenius norm 1, samples and projected samples are scaled to unit norm and "
        "eigenvectors to unit Euclidean norm, as in the public codes behind the published tables; unit_norm=False "
        "leaves the samples alone",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    on_disk = "both"
    targets = frozenset({"classes", "values"})

    dim: int = hp(20, 5, 100, log=True, help="dimensions of the common space")
    mu: float = hp(1.0, 1e-2, 1e2, log=True, help="weight of ||A||^2")
    kernel: str = hp("linear", choices=("linear", "rbf"), help="primal in the features, or an RBF kernel")
    unit_norm: bool = hp(True, help="scale samples to norm 1 first")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """The k leading components."""
        p = pencil_of(seen, ctx, self.kernel, self.unit_norm, spanned=False)
        return p.aligned(self.solve(p))

    def solve(self, p: Problem) -> Tensor:
        """Unit-norm eigenvectors (r, k) in the coordinates of ``p``."""
        n_s, n_t = len(p.xs), len(p.xt)
        factor = mean_gap(p.xs, p.xt) * (n_s * n_t / (n_s + n_t)) ** 0.5  # X e / ||e||
        return p.leading(factor[:, None], self.mu, self.dim)
