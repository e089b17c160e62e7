"""CLDA: contrastive learning between domains' classes and samples' views. Ankit Singh, NeurIPS 2021.

    min_{F,W}  [CE(z(x_s), y_s) + CE(z(x_f), y_f)] / 2
        + trade_off * mean_k -log[ h(c_k, m_k) / (sum_r h(c_k, m_r) + sum_{r != k} h(c_k, c_r)) ]
        + instance_weight * 1/b sum_i -log[ h(z'_i, z_i) / (sum_r h(z'_i, z_r) + sum_{r != i} h(z'_i, z'_r)) ]

    z(x) = W F(x) / (|F(x)| temperature) (C,),   h(u, v) = exp(u . v / (|u| |v| contrast_temperature))
    c_k  the mean score of the batch's target samples that are predicted as class k
    m_k <- decay m_k + (1 - decay) (mean score of the batch's source samples of class k)

z_i, z'_i are the scores of a target sample and of its strong view; k runs over classes that both sides have.

Evidence: tests/test_semi_supervised.py (terms equal transcriptions in loops; absent classes count nowhere).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.semi_supervised._cosine import FewLabels
from dazoo.nets.net import Net
from dazoo.nets.parts.centroids import Centroids
from dazoo.ops.classwise import class_means, one_hot
from dazoo.ops.semi_supervised import paired_contrast


@register
class CLDA(FewLabels):
    """Contrast of class centroids between domains and of target samples with their views."""

    paper = Paper(
        title="CLDA: Contrastive Learning for Semi-Supervised Domain Adaptation", authors="Ankit Singh",
        year=2021, url="https://arxiv.org/abs/2107.00085", venue="NeurIPS",
        deviations="classes that the batch lacks on one side do not count; strong views of vectors are noise and "
        "masked entries",
    )  # fmt: skip
    strong_views = True

    trade_off: float = hp(4.0, 0.4, 40.0, log=True, help="weight of the contrast between classes")
    instance_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the contrast between samples")
    contrast_temperature: float = hp(5.0, 0.1, 10.0, log=True, help="of both contrasts", positive=True)
    decay: float = hp(0.3, 0.0, 0.95, help="share of a source centroid that stays per step")
    temperature: float = hp(0.05, 0.02, 0.2, log=True, help="of the cosine classifier", positive=True)

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"centroids": Centroids(n_classes, n_classes)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.xt_strong is not None
        fs, ft = net.features(b.xs, torch.cat([b.xt, b.xt_strong]))
        source, (weak, strong) = self.scores(net, fs), self.scores(net, ft).chunk(2)
        c = weak.shape[-1]
        near = net.centroids(source, one_hot(b.ys, c, source.dtype), self.decay)
        centres, held = class_means(weak, one_hot(weak.detach().argmax(-1), c, weak.dtype))
        both = held * (near.detach().abs().sum(-1) > 0).to(held)
        return {
            **self.labelled(net, b, fs, net.body(b.xf)),
            "classes": self.trade_off * paired_contrast(centres, near, self.contrast_temperature, both),
            "samples": self.instance_weight * paired_contrast(strong, weak, self.contrast_temperature),
        }
