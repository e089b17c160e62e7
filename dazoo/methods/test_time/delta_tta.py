"""DELTA: batch statistics made steady, and classes that come seldom weigh more. Zhao, Chen, Xia, ICLR 2023.

    min_{gamma, beta}  1/b sum_i w_i H_i,   w_i proportional to 1 / (z_y + 1e-8),  y = argmax p_i,  mean of w_i = 1
    z <- frequency z + (1 - frequency) (mean of p_i),  from even shares
    a' = (a - mean) / dev * r + d,   r = dev / dev_ema,   d = (mean - mean_ema) / dev_ema   (r and d without gradient)

for inputs a (n, C, ...) of every batch normalisation, whose value is hence that of moving statistics, while gradients
go through those of the batch; mean_ema and var_ema start as the first batch's and keep ``steady`` of themselves per
batch, before they serve. p_i = softmax(C(F(x_i))), H_i its entropy; one step of Adam per batch x (b, ...); answers are
from before it.

Evidence: tests/test_stream_methods.py (the first batch is TENT's; values are those of the moving statistics, gradients
those of the batch; classes seen often weigh less).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamState, register
from dazoo.methods.test_time._moves import MovesNorms, descend
from dazoo.nets.parts.norm_mode import batch_norms, norms_by
from dazoo.ops.batch_norm import channel_moments, normalise, renormalised
from dazoo.ops.entropy import entropy_of_logits


@register
class DeltaTTA(MovesNorms):
    """Degradation-free fully test-time adaptation."""

    paper = Paper(
        title="DELTA: degradation-free fully test-time adaptation", authors="Bowen Zhao, Chen Chen, Shu-Tao Xia",
        year=2023, url="https://arxiv.org/abs/2301.13018", venue="International Conference on Learning Representations",
        deviations="on the entropy of all samples (TENT), not on EATA's choice of them; Adam as in TENT",
    )  # fmt: skip

    still = None  # its statistics move at any rate

    steady: float = hp(0.95, 0.5, 0.99, most=1.0, help="share of the moving statistics that stays per batch")
    frequency: float = hp(0.95, 0.5, 0.99, most=1.0, help="share of the class frequencies that stays per batch")

    def setup(self, net: Any) -> None:
        for layer in batch_norms(net):
            for name, like in (("ema_mean", layer.running_mean), ("ema_var", layer.running_var)):
                if like is not None:
                    layer.register_buffer(name, like.clone())

    def answer(self, net: Any, x: Tensor) -> Prediction:
        """By the moving statistics as they are."""
        with norms_by(net, _by_moving):
            return self.predict(net, x)

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        first = not state.memory.get("moved", False)
        state.memory["moved"] = True
        with norms_by(net, partial(self._renormalised, first)):
            out = self.predict(net, x)
        p = out.scores.detach().softmax(-1)
        shares = state.memory.get("shares", torch.full_like(p[0], 1.0 / p.shape[1]))
        weights = 1.0 / (shares[p.argmax(-1)] + 1e-8)
        descend(state, (weights / weights.mean() * entropy_of_logits(out.scores)).mean())
        state.memory["shares"] = self.frequency * shares + (1.0 - self.frequency) * p.mean(0)
        return out

    def _renormalised(self, first: bool, layer: Any, x: Tensor) -> Tensor:
        mean, var = channel_moments(x)
        if len(x) > 1:
            keep = 0.0 if first else self.steady
            layer.ema_mean.lerp_(mean.detach(), 1.0 - keep)
            layer.ema_var.lerp_(var.detach(), 1.0 - keep)
            return renormalised(x, layer.ema_mean, layer.ema_var, layer.weight, layer.bias, layer.eps)
        return _by_moving(layer, x)


def _by_moving(layer: Any, x: Tensor) -> Tensor:
    return normalise(x, layer.ema_mean, layer.ema_var, layer.weight, layer.bias, layer.eps)
