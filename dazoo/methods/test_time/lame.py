"""LAME: the answers of a batch are made to agree between neighbours; the network stays. Boudiaf et al., CVPR 2022.

    min_Y  sum_i KL(y_i | p_i) - sum_ij W_ij y_i . y_j,   rows y_i probabilities,   by   Y <- softmax(log p + W Y)

p_i = softmax(C(F(x_i))) (K,) of the source's model. W (b, b) is 1 for the ``neighbours`` nearest other samples by unit
features, or exp(-|f_i - f_j|^2 / (2 s^2)) with s the mean distance to the ``neighbours``-th.

Evidence: tests/test_parity.py (tta_lame_knn, tta_lame_rbf); tests/test_stream_rules.py (no neighbours: the source).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamMethod, StreamState, register
from dazoo.ops.test_time import gaussian_affinity, laplacian_adjusted, neighbour_affinity


@register
class LAME(StreamMethod):
    """Laplacian adjusted maximum-likelihood estimation."""

    paper = Paper(
        title="Parameter-free Online Test-time Adaptation",
        authors="Malik Boudiaf, Romain Mueller, Ismail Ben Ayed, Luca Bertinetto",
        year=2022, url="https://arxiv.org/abs/2201.05718",
        venue="IEEE/CVF Conference on Computer Vision and Pattern Recognition",
        deviations="a sample is never its own neighbour, where the authors' program drops the nearest row, which may "
        "be an equal one; scores are logarithms of the adjusted probabilities; the paper chooses the affinity on "
        "validation streams, here it is fixed; made for streams in which "
        "near samples share a class: on shuffled batches of many classes neighbours are of other classes, and it falls "
        "below the source's model",
    )  # fmt: skip

    still = {"neighbours": 0}

    affinity: str = hp("knn", choices=("knn", "rbf"), help="W of nearest neighbours, or Gaussian")
    neighbours: int = hp(5, 1, 10, least=0, help="nearest samples that agree, or that set the Gaussian's width")

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        with torch.no_grad():
            out = self.predict(net, x)
            assert out.features is not None
            affinity = neighbour_affinity if self.affinity == "knn" else gaussian_affinity
            y = laplacian_adjusted(out.scores, affinity(out.features, self.neighbours))
            return Prediction(torch.log(y.clamp_min(torch.finfo(y.dtype).tiny)), out.features)
