"""RTN: classifiers of the domains that differ by a residual. Long, Zhu, Wang, Jordan, NIPS 2016.

    min_{F,C,R}  CE(C_s(f_s), y_s) + trade_off * MMD^2_k(z_s, z_t) + entropy_weight * r(t) * mean_j H(softmax(C(f_t,j)))
    C_s(f) = C(f) + residual_weight * R(C(f)),   z = f (x) C(f)

f = F(x) (b, width). The target classifier C is the head, the source classifier adds the perceptron R, C -> C -> C
scores, and trains it. z (b, width * C) fuses both layers; its kernel, five Gaussians around the mean squared distance,
is computed from the layers' Gram matrices, since <z_i, z_j> = <f_i, f_j> <l_i, l_j> with l = C(f). r is the recipe's
ramp. Predictions are C's.

Evidence: tests/test_moment_classes.py (test_rtn_terms, test_fused_mmd_equals_the_mmd_of_outer_products).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.kernels import FIVE_SCALES, multi_gaussian
from dazoo.ops.mmd import mmd_of_kernel


@register
class RTN(GradientMethod):
    """Residual transfer network."""

    paper = Paper(
        title="Unsupervised Domain Adaptation with Residual Transfer Networks",
        authors="Mingsheng Long, Han Zhu, Jianmin Wang, Michael I. Jordan",
        year=2016, url="https://arxiv.org/abs/1602.04433", venue="NIPS",
        deviations="the entropy is ramped up, so that it does not sharpen the guesses of an untrained network; at the "
        "paper's weight it still can take a shift that leaves most predictions wrong below source-only; five "
        "bandwidths around the mean squared distance, in the paper one at the median",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(0.3, 0.03, 3.0, log=True, help="weight of the fused MMD")
    entropy_weight: float = hp(0.3, 0.01, 1.0, log=True, help="weight of the target entropy")
    residual_weight: float = hp(1.0, 0.1, 2.0, help="scale of the residual between the classifiers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"residual": mlp(n_classes, n_classes, n_classes)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        return {
            "cls": net.criterion(ls + self.residual_weight * net.residual(ls), b.ys),
            "mmd": self.trade_off * fused_mmd((fs, ls), (ft, lt)),
            "ent": self.entropy_weight * t.ramp * entropy_of_logits(lt).mean(),
        }

    def predict_source(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        scores = net.head(features)
        return Prediction(scores + self.residual_weight * net.residual(scores), features)


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
