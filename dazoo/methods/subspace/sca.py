"""SCA: scatter component analysis. Ghifary, Balduzzi, Kleijn and Zhang, TPAMI 2017.

Directions along which the data and the class centres spread, but neither the domains nor the samples of a class:

    max_A tr( A' ((1 - beta) S + beta S_b) A ) / tr( A' (delta S_d + I + S_w) A ),      z = A' x / ||A' x||
    S    total scatter of both domains over n               S_d  scatter of the two domain means around their mean
    S_b  scatter of the source's class centres over n_s     S_w  scatter within the source's classes over n_s

all (d, d), of unit-norm samples; A (d, k) holds the leading generalised eigenvectors.

Evidence: tests/test_subspace_pencils.py::test_sca_solves_its_pencil (scipy.linalg.eigh on scatters summed by hand),
test_more_surf_averages.
"""

from __future__ import annotations

import torch

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, source_of
from dazoo.methods.subspace._pencil import class_scatter, pencil_of
from dazoo.ops.linalg.spectral import generalised_eigenvectors, unit_columns


@register
class SCA(FeatureMap):
    """Scatter component analysis."""

    paper = Paper(
        title="Scatter Component Analysis: A Unified Framework for Domain Adaptation and Domain Generalization",
        authors="Muhammad Ghifary, David Balduzzi, W. Bastiaan Kleijn, Mengjie Zhang", year=2017,
        url="https://arxiv.org/abs/1510.04373",
        venue="IEEE Transactions on Pattern Analysis and Machine Intelligence (Journal)",
        deviations="primal form with the linear kernel (the paper has an RBF kernel); samples, eigenvectors and "
        "projected samples of unit norm, as for the other methods of the published table",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})

    dim: int = hp(20, 4, 100, log=True, help="dimensions of the common space")
    beta: float = hp(0.5, 0.0, 1.0, help="0: spread of all samples; 1: spread of the class centres")
    delta: float = hp(1.0, 1e-2, 1e3, log=True, help="weight of the distance between the domains")
    unit_norm: bool = hp(True, help="scale samples to norm 1 first")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Solve the pencil."""
        p = pencil_of(seen, ctx, "linear", self.unit_norm)
        between, within = class_scatter(p.xs, source_of(seen).y, seen.n_classes)
        n_s, n = len(p.xs), len(p.xs) + len(p.xt)
        half = (p.xs.mean(0) - p.xt.mean(0)) / 2
        top = (1 - self.beta) * p.scatter / n + self.beta * between / n_s
        bottom = self.delta * 2 * torch.outer(half, half) + within / n_s
        bottom.diagonal().add_(1.0)
        return p.aligned(unit_columns(generalised_eigenvectors(top, bottom, self.dim)[1]))
