"""MIC: what is masked must be told from what is left. Hoyer, Dai, Wang, Van Gool, CVPR 2023.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * 1/b sum_i q_i CE(C(F(m_i * x_t,i)), y_i)
    y_i, q_i = argmax and max of softmax(C'(F'(x_t,i))),   (F', C') <- a (F', C') + (1 - a) (F, C) after each step,
    a = min(decay, 1 - 1/(step + 1))

m hides a share ``ratio`` of cells: of pictures those of a 4 x 4 grid (the paper's blocks of 64 of 224 pixels), set to
0, the mean colour; of series 16 stretches of time; of vectors single entries, set to the batch's mean. Added to another
method (``sdat+mic``) it adds its term to that one's.

Evidence: tests/test_frontier_selftraining.py (term and teacher equal transcriptions; how much is hidden, in cells).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.twin import Twin
from dazoo.ops.draws import uniform
from dazoo.ops.selftraining import hard_cross_entropy

CELLS = 16


@register
class MIC(GradientMethod):
    """Masked image consistency."""

    paper = Paper(
        title="MIC: Masked Image Consistency for Context-Enhanced Domain Adaptation",
        authors="Lukas Hoyer, Dengxin Dai, Haoran Wang, Luc Van Gool", year=2023,
        url="https://arxiv.org/abs/2212.01322", venue="CVPR",
        deviations="the term alone, to be put on another method (the paper: sdat with mcc); no colour jitter on masked "
        "pictures; of vectors, which have no neighbourhoods, single entries are hidden",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    stackable = False

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the masked views")
    ratio: float = hp(0.7, 0.3, 0.9, help="share of the cells that is hidden")
    decay: float = hp(0.9, 0.5, 0.999, help="share of the teacher that stays per step")

    def setup(self, net: Net) -> None:
        net.add_module("teacher", Twin(net, still=False))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, masked(b.xt, self.ratio, t.step))
        confidence, y = net.teacher(b.xt)[0].softmax(-1).max(-1)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "masked": self.trade_off * hard_cross_entropy(net.head(ft), y, confidence),
        }

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        net.teacher.follow(net, min(self.decay, 1.0 - 1.0 / (t.step + 1)))


def masked(x: Tensor, ratio: float | Tensor, step: int) -> Tensor:
    """x (b, d), (b, channels, length) or (b, channels, h, w) with cells hidden; the draws belong to the step."""
    b = len(x)
    if x.ndim == 2:
        hidden = uniform(x.numel(), step, x, "mask").reshape(x.shape) < ratio
        return torch.where(hidden, x.mean(0, keepdim=True), x)
    shape, size = ((CELLS,), x.shape[2:]) if x.ndim == 3 else ((round(CELLS**0.5),) * 2, x.shape[2:])
    u = uniform(b * CELLS, step, x, "mask").reshape(b, 1, *shape)
    return torch.where(interpolate(u, size=size, mode="nearest") < ratio, torch.zeros_like(x), x)
