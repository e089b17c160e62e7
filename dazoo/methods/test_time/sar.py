"""SAR: sharpness-aware entropy of sure samples, and a way back to the source. Niu et al., ICLR 2023.

    min_{gamma, beta}  mean of H_i(theta + e) over {H_i(theta) < e0, H_i(theta + e) < e0},   e = rho g / |g|
    g = gradient in theta of the mean of H_i(theta) over {H_i(theta) < e0},   e0 = margin ln K

theta are gamma and beta, H_i the entropy of softmax(C(F(x_i))), |g| over all of theta; no gradient through e. A moving
average of the loss (0.9 of what it was) below ``reset`` e0 means collapse: theta, the optimiser and the average start
anew. One step of Adam per batch x (b, ...); answers are from before it.

Evidence: tests/test_parity.py (tta_sar_step); tests/test_stream_losses.py (rho 0 with all samples kept is TENT, also
with layer normalisation; the reset brings back the source's weights).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamState, register
from dazoo.methods.test_time._moves import MovesNorms, at_start, descend, moving
from dazoo.ops.entropy import entropy_of_logits


@register
class SAR(MovesNorms):
    """Sharpness-aware and reliable entropy minimisation."""

    paper = Paper(
        title="Towards Stable Test-Time Adaptation in Dynamic Wild World",
        authors=(
            "Shuaicheng Niu, Jiaxiang Wu, Yifan Zhang, Zhiquan Wen, Yaofo Chen, Peilin Zhao, Mingkui Tan"
        ),
        year=2023, url="https://arxiv.org/abs/2302.12400", venue="International Conference on Learning Representations",
        deviations="Adam as in TENT, where the authors have SGD; all normalisation layers move, where they hold the "
        "last blocks of large networks; the bound of the reset is a share of e0 (their 0.2 at 1000 classes is 0.07 of "
        "it); after a reset the average begins anew, where their program keeps it; a batch without sure samples "
        "changes nothing",
    )  # fmt: skip

    toy_hparams: ClassVar[dict[str, Any]] = {"margin": 1.0}

    margin: float = hp(0.4, 0.1, 1.0, most=2.0, help="e0 as a share of ln K, above which samples are unsure")
    rho: float = hp(0.05, 0.01, 0.2, log=True, help="length of the step uphill")
    reset: float = hp(0.07, 0.01, 1.0, log=True, most=1.0, help="share of e0 below which the average loss is collapse")

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        out, theta, start = self.answer(net, x), moving(state), at_start(state)
        e0 = self.margin * math.log(net.head.out_features)
        h = entropy_of_logits(out.scores)
        kept = h.detach() < e0
        if not bool(kept.any()):
            return out
        grads = torch.autograd.grad(h[kept].mean(), theta)
        far = self.rho / (torch.sqrt(sum((g.square().sum() for g in grads), h.new_zeros(()))) + 1e-12)
        here = [p.detach().clone() for p in theta]
        _put(theta, [p + far * g for p, g in zip(here, grads)])
        above = entropy_of_logits(self.answer(net, x).scores)[kept]
        sure = above[above.detach() < e0]
        loss = sure.mean() if len(sure) else None
        uphill = None if loss is None else torch.autograd.grad(loss, theta)
        _put(theta, here)
        if loss is None or uphill is None:
            return out
        descend(state, sum(((p * g).sum() for p, g in zip(theta, uphill)), h.new_zeros(())))
        average = float(loss.detach())
        average = 0.9 * state.memory["average"] + 0.1 * average if "average" in state.memory else average
        state.memory["average"] = average
        if average < self.reset * e0:
            _put(theta, start)
            state.optimizer = self.optimizer(theta)
            del state.memory["average"]
        return out


def _put(parameters: list[Tensor], values: list[Tensor]) -> None:
    with torch.no_grad():
        for p, value in zip(parameters, values):
            p.copy_(value)
