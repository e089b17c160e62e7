"""Linear GW: the map between Gaussians of different dimensions. Delon, Desolneux and Salmona, 2022.

    z = mean_t + V diag(s_i sqrt(b_i / a_i)) U' (x - mean_s)         over the k = min(d_s, d_t) leading directions

with the eigenvalues a (d_s,), b (d_t,) of the covariances, largest first, and their eigenvectors U, V: the best linear
map for the Gromov-Wasserstein distance of Gaussians, sqrt(4 (sum a - sum b)^2 + 8 |a - b|^2). Every choice of the
signs s_i is as good for Gaussians. They are chosen so that class means along a pair of directions agree where target
labels are shown, else so that the third moments have the same sign. The cost does not grow with pairs of samples.

Evidence: tests/test_heterogeneous.py::test_linear_gw_matches_moments, fixture het_gaussian_gw.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, sides, source_of
from dazoo.ops.classwise import class_means, one_hot
from dazoo.ops.linalg.spectral import principal_components
from dazoo.shallow.steps import Affine


@register
class LinearGW(FeatureMap):
    """Gaussian Gromov-Wasserstein map."""

    paper = Paper(
        title="Gromov-Wasserstein Distances between Gaussian Distributions",
        authors="Julie Delon, Agnès Desolneux, Antoine Salmona", year=2022, url="https://arxiv.org/abs/2104.07970",
        venue="Journal of Applied Probability (Journal)",
        deviations="the paper leaves the signs open; directions beyond the numerical rank of either side are left out; "
        "no gain at the defaults where two spaces share no order of their principal directions, as SURF and "
        "deep features do not: with three labels per class it lies far below labelled_target",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"}, spaces="own")

    dim: int = hp(100, 5, 200, log=True, help="leading directions at most")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Pair the principal directions."""
        xs, xt = sides(seen)
        (ms, a, us), (mt, b, ut) = (principal_components(x, self.dim) for x in (xs, xt))
        k = min(len(a), len(b))
        ps, pt = (xs - ms) @ us[:, :k], (xt - mt) @ ut[:, :k]
        ratio = (b[:k] / a[:k].clamp(min=1e-300)).sqrt()
        weight = us[:, :k] * (ratio * self.signs(seen, ps * ratio, pt)) @ ut[:, :k].T
        step = Affine(weight, mt - ms @ weight)
        return Aligned(step(xs), (), (step,))

    def signs(self, seen: Seen, ps: Tensor, pt: Tensor) -> Tensor:
        """+1 or -1 (k,) for the coordinates ``ps`` (n_s, k) of the source beside ``pt`` (n_t, k) of the target."""
        agree = _third(ps) * _third(pt)
        if seen.few is not None:
            n = seen.n_classes
            of_source, _ = class_means(ps, one_hot(source_of(seen).y, n, ps.dtype))
            of_target, there = class_means(pt[-len(seen.few) :], one_hot(seen.few.y, n, pt.dtype))
            told = (of_source * of_target * there[:, None]).sum(0)
            agree = torch.where(told == 0, agree, told)
        return torch.where(agree < 0, -1.0, 1.0).to(ps)


def _third(p: Tensor) -> Tensor:
    size = p.abs().amax(0).clamp(min=1e-300)
    return (p / size).pow(3).mean(0)
