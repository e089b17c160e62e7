"""SA: subspace alignment. Fernando, Habrard, Sebban and Tuytelaars, ICCV 2013.

With P_s, P_t (d, k) the k leading principal directions of source and target,

    z_s = (x_s - mean_s) P_s P_s' P_t,      z_t = (x_t - mean_t) P_t

since M = P_s' P_t minimises ||P_s M - P_t||_F.

Evidence: tests/test_subspace.py::test_sa_alignment_is_the_least_squares_one, test_sa_without_shift_is_pca.
"""

from __future__ import annotations

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, components, source_x
from dazoo.shallow.steps import Affine, run_steps


@register
class SA(FeatureMap):
    """Subspace alignment."""

    paper = Paper(
        title="Unsupervised Visual Domain Adaptation Using Subspace Alignment",
        authors="Basura Fernando, Amaury Habrard, Marc Sebban, Tinne Tuytelaars", year=2013,
        url="https://openaccess.thecvf.com/content_iccv_2013/html/"
        "Fernando_Unsupervised_Visual_Domain_2013_ICCV_paper.html",
        venue="ICCV",
        deviations="k is a hyper-parameter (20) instead of the paper's bound on the stability of eigenvectors; below "
        "source_only on raw pixels (mnist_usps) and before boosted trees (heart_trees)",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})
    on_disk = "both"

    dim: int = hp(20, 5, 100, log=True, help="dimensions of both subspaces")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Rotate the source's subspace onto the target's."""
        mean_s, _, ps = components(seen, ctx, "s", self.dim)
        mean_t, _, pt = components(seen, ctx, "t", self.dim)
        k = min(ps.shape[1], pt.shape[1])
        a = ps[:, :k] @ (ps[:, :k].T @ pt[:, :k])
        source, target = Affine(a, -mean_s @ a), Affine(pt[:, :k], -mean_t @ pt[:, :k])
        return Aligned(run_steps((source,), source_x(seen)), (target,), (source,))
