"""TENT: lower the entropy of each batch through the affine weights of normalisation. Wang et al., ICLR 2021.

    min_{gamma, beta}  1/b sum_i H(p_i),   p_i = softmax(C(F(x_i))),   H(p) = -sum_c p_c log p_c

one step of Adam per batch x (b, ...), batch normalisation by the batch's statistics. The answer for a batch is that of
the forward pass whose entropy is lowered, before the step.

Evidence: tests/test_streams.py (rate 0 is the source's model with batch statistics, bit for bit; one step equals a
transcription; nothing but gamma and beta moves).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamMethod, StreamState, register
from dazoo.nets.parts.norm_mode import BATCH, NormMode, norm_layers
from dazoo.ops.entropy import entropy_of_logits


@register
class TENT(StreamMethod):
    """Test-time entropy minimisation."""

    paper = Paper(
        title="Tent: Fully Test-Time Adaptation by Entropy Minimization",
        authors="Dequan Wang, Evan Shelhamer, Shaoteng Liu, Bruno Olshausen, Trevor Darrell",
        year=2021, url="https://arxiv.org/abs/2006.10726", venue="International Conference on Learning Representations",
        deviations="all normalisations move, one-dimensional, layer and group ones too, where the authors' program "
        "moves those of pictures alone",
    )  # fmt: skip
    adapts = "normalisation layers"
    still = {"lr": 0.0}

    lr: float = hp(1e-3, 1e-5, 1e-1, log=True, help="learning rate of Adam")

    def norm(self, rows: int) -> NormMode:
        return BATCH

    def moves(self, net: Any) -> list[str]:
        return [f"{name}.{p}" for name, layer in norm_layers(net) for p, _ in layer.named_parameters()]

    def optimizer(self, parameters: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.lr)

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        out = self.answer(net, x)
        assert state.optimizer is not None
        state.optimizer.zero_grad()
        entropy_of_logits(out.scores).mean().backward()
        state.optimizer.step()
        return out
