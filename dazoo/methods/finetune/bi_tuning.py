"""Bi-Tuning: fine-tuning with contrast in two spaces. Zhong, Wang, Kou, Wang, Long, 2020.

    min  1/n_f sum_i CE(C(F(x_i)), y_i) + trade_off * L_CCE + projection_weight * L_CCL
    L_CCE = -log softmax of w_{y_i}.h / temperature over {h_i} and the keys h_j', averaged over those of class y_i
    L_CCL = -log softmax of z_i.z_j' / temperature over the keys z_j',            averaged over those of class y_i

h (b, width + 1) are features with a constant entry, w (C, width + 1) the head's rows with their biases, z = P(F(x))
(b, projection) a linear projection; all of unit length. Keys are those of strong views through a moving average of the
network with decay ``momentum``, without gradients.

Evidence: tests/test_finetune.py (both losses equal transcriptions in loops; keys carry no gradient and follow).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.finetune.fine_tune import FineTune
from dazoo.nets.net import Net
from dazoo.nets.parts.twin import Twin
from dazoo.ops.transfer import categorical_contrast, class_contrast


@register
class BiTuning(FineTune):
    """Contrast of samples with class weights, and with each other."""

    paper = Paper(
        title="Bi-tuning of Pre-trained Representations",
        authors="Jincheng Zhong, Ximei Wang, Zhi Kou, Jianmin Wang, Mingsheng Long",
        year=2020,
        url="https://arxiv.org/abs/2011.06182", venue="arXiv",
        deviations="keys are those of the batch instead of a queue of 40 per class, which few labels could not fill",
    )  # fmt: skip
    targets = frozenset({"classes"})
    strong_views = True
    stackable = False

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the contrast with class weights")
    projection_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the contrast of projections")
    temperature: float = hp(0.07, 0.03, 0.5, log=True, help="of both contrasts", positive=True)
    momentum: float = hp(0.999, 0.9, 0.9999, help="share of the key network that stays per step")
    projection: int = hp(128, 32, 256, log=True, help="width of the projections")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"projector": nn.Linear(width, self.projection)}

    def setup(self, net: Net) -> None:
        super().setup(net)
        net.add_module("key", Twin(net, still=False))
        net.add_module("key_projector", copy.deepcopy(net.projector).requires_grad_(False))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.yf is not None and b.xf_strong is not None
        f, (_, key) = net.body(b.xf), net.key(b.xf_strong)
        w = _unit(net.head.weight, net.head.bias[:, None])
        one = torch.ones_like(f[:, :1])
        z, key_z = (normalize(x, dim=-1) for x in (net.projector(f), net.key_projector(key)))
        return {
            "cls": net.criterion(net.head(f), b.yf),
            "classes": self.trade_off * class_contrast(_unit(f, one), _unit(key, one), w, b.yf, self.temperature),
            "samples": self.projection_weight * categorical_contrast(z, key_z, b.yf, self.temperature),
        }

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        net.key.follow(net, self.momentum)
        for mine, other in zip(net.key_projector.parameters(), net.projector.parameters()):
            mine.lerp_(other, 1.0 - self.momentum)


def _unit(x: Tensor, last: Tensor) -> Tensor:
    """Rows of x (n, d) with one more entry (n, 1), of unit length."""
    return normalize(torch.cat([x, last], -1), dim=-1)
