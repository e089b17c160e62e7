"""Kernels of layers fused by the outer product, without forming it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dazoo.ops.kernels import FIVE_SCALES, multi_gaussian
from dazoo.ops.mmd import mmd_of_kernel


def fused_distances(layers: Sequence[Tensor]) -> Tensor:
    """Squared distances of the rows' outer products ``z_i = (x) of all layers' rows i``: layers (n, d_l) -> (n, n).

    ``|z_i - z_j|^2 = G_ii + G_jj - 2 G_ij`` with ``G_ij = prod_l <x_l,i, x_l,j>``. Never negative.
    """
    g = layers[0] @ layers[0].T
    for layer in layers[1:]:
        g = g * (layer @ layer.T)
    norms = torch.diagonal(g)
    sq = (norms[:, None] + norms[None, :] - 2.0 * g).clamp_min(0.0)
    return sq * (1.0 - torch.eye(g.shape[0], dtype=g.dtype, device=g.device))


def fused_mmd(zs: Sequence[Tensor], zt: Sequence[Tensor], scales: Sequence[float] = FIVE_SCALES) -> Tensor:
    """Unbiased multi-kernel MMD of the outer products of several layers: zs of (n, d_l), zt of (m, d_l), n, m >= 2.

    Long et al., NIPS 2016 (RTN), https://arxiv.org/abs/1602.04433
    """
    sq = fused_distances([torch.cat([s, t]) for s, t in zip(zs, zt, strict=True)])
    return mmd_of_kernel(multi_gaussian(sq, scales), zs[0].shape[0], unbiased=True)
