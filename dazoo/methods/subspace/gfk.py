"""GFK: geodesic flow kernel. Gong, Shi, Sha and Grauman, CVPR 2012.

Integrates over all subspaces on the geodesic from the source's (P_s) to the target's (P_t), both (d, k):

    <z, z'> = x' G x',    G = integral_0^1 Phi(t) Phi(t)' dt = [P_s U_1, R_s U_2] Lambda [P_s U_1, R_s U_2]'
    P_s' P_t = U_1 cos(theta) V',    R_s' P_t = -U_2 sin(theta) V',    R_s the complement of P_s
    Lambda = 1/2 [ 1 + sin(2 theta) / (2 theta)      (cos(2 theta) - 1) / (2 theta) ]
                 [ (cos(2 theta) - 1) / (2 theta)     1 - sin(2 theta) / (2 theta)  ]

As G has rank 2k at most, samples are mapped to z = x [P_s U_1, R_s U_2] Lambda^(1/2) (2k), and neither G (d, d) nor R_s
(d, d - k) is ever formed.

Evidence: tests/test_subspace.py::test_gfk_is_the_integral_along_the_geodesic (numerical quadrature),
test_gfk_of_equal_subspaces_is_the_projection, test_surf_averages.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, pair, principal, source_x
from dazoo.shallow.steps import Affine, Step, UnitNorm, run_steps


@register
class GFK(FeatureMap):
    """Geodesic flow kernel."""

    paper = Paper(
        title="Geodesic Flow Kernel for Unsupervised Domain Adaptation",
        authors="Boqing Gong, Yuan Shi, Fei Sha, Kristen Grauman", year=2012,
        url="https://doi.org/10.1109/CVPR.2012.6247911", venue="CVPR",
        deviations="subspaces by PCA on both sides (the paper also has PLS), of samples scaled to unit norm unless "
        "unit_norm=False; k is a hyper-parameter instead of the paper's subspace disagreement measure",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})
    on_disk = "both"

    dim: int = hp(20, 4, 100, log=True, help="dimensions of both subspaces")

    unit_norm: bool = hp(True, help="scale samples to norm 1 first")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """The root of the kernel."""
        steps = flow_steps(seen, ctx, self.dim, self.unit_norm)
        return Aligned(run_steps(steps, source_x(seen)), steps)


def flow_steps(seen: Seen, ctx: Context, dim: int, unit_norm: bool) -> tuple[Step, ...]:
    """Steps x -> x W with G = W W', of the two domains' leading principal directions, once per pair."""
    before: tuple[Step, ...] = (UnitNorm(),) if unit_norm else ()

    def make() -> tuple[Step, ...]:
        ps, pt = (principal(run_steps(before, x), dim)[2] for x in pair(seen))
        k = min(ps.shape[1], pt.shape[1])
        return (*before, Affine(geodesic_root(ps[:, :k], pt[:, :k])))

    return ctx.memo(("flow", dim, unit_norm), make)


def geodesic_root(ps: Tensor, pt: Tensor) -> Tensor:
    """W (d, 2k) with W W' the geodesic flow kernel between orthonormal bases (d, k)."""
    u, cos, vt = torch.linalg.svd(ps.T @ pt)
    theta = torch.arccos(cos.clamp(-1, 1))
    start = ps @ u
    across = start * cos - pt @ vt.T  # equals R_s U_2 sin(theta)
    length = across.norm(dim=0)
    # directions that both subspaces share have no way to go: their second column is zero
    across = torch.where(length > 1e-7, across / length.clamp(min=1e-300), torch.zeros_like(across))
    twice = 2 * theta
    sinc = torch.where(twice > 1e-7, torch.sin(twice) / twice.clamp(min=1e-300), torch.ones_like(twice))
    mixed = torch.where(twice > 1e-7, (torch.cos(twice) - 1) / twice.clamp(min=1e-300), torch.zeros_like(twice))
    blocks = torch.stack([torch.stack([1 + sinc, mixed], 1), torch.stack([mixed, 1 - sinc], 1)], 1) / 2  # (k, 2, 2)
    values, vectors = torch.linalg.eigh(blocks)
    roots = vectors * values.clamp(min=0).sqrt()[:, None, :]
    frame = torch.stack([start, across], dim=2)  # (d, k, 2)
    return torch.einsum("dki,kij->dkj", frame, roots).reshape(len(ps), -1)
