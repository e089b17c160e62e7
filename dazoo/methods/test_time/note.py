"""NOTE: each sample's own statistics where they differ by more than chance, and an even memory. Gong et al., 2022.

    mean_i' = mean + S(mean_i - mean, k sqrt((var + eps) / L)),   var_i' likewise,   L values per channel
    every ``memory`` samples:  min_{gamma, beta}  1/m sum_i H(softmax(C(F(x_i)))) over the memory x (m, ...)
    mean <- (1 - momentum) mean + momentum mean_m,   var likewise, from the statistics of the memory

S(z, t) = relu(z - t) - relu(-z - t) (``ops.batch_norm.instance_aware_moments``), for inputs (n, C, ...) of every batch
normalisation. The memory is a prediction-balanced reservoir: a full one gives up a random sample of its largest class,
one of that class enters with the chance kept / seen. Answers depend on their own sample and on the past alone.

Evidence: tests/test_parity.py (tta_note_iabn); tests/test_stream_methods.py (the reservoir is balanced and fair;
answers do not depend on the other samples of a batch).
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
from dazoo.nets.parts.norm_mode import STORED, NormMode, norms_by
from dazoo.ops.batch_norm import channel_moments, instance_aware_moments, normalise
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.memories import place_by_reservoir


@register
class NOTE(MovesNorms):
    """Non-i.i.d. test-time adaptation."""

    paper = Paper(
        title="NOTE: Robust Continual Test-time Adaptation Against Temporal Correlation",
        authors="Taesik Gong, Jongheon Jeong, Taewon Kim, Yewon Kim, Jinwoo Shin, Sung-Ju Lee",
        year=2022, url="https://arxiv.org/abs/2208.05117", venue="Advances in Neural Information Processing Systems",
        deviations="the source's model is trained with plain batch normalisation, as all models here share it, so "
        "instance-aware statistics begin at test time; a channel with a single value per sample (vectors, bottlenecks) "
        "has no statistics of its own and takes the stored ones",
    )  # fmt: skip
    needs_batch_norm = True
    still = {"lr": 0.0, "momentum": 0.0, "k": 1e9}
    toy_hparams = {"lr": 0.05, "memory": 16}

    lr: float = hp(1e-4, 1e-5, 1e-1, log=True, help="learning rate of Adam")
    k: float = hp(4.0, most=1e12, help="standard errors by which a sample's statistics must differ")
    memory: int = hp(64, 16, 256, help="samples that are remembered, and after which a step is made")
    momentum: float = hp(0.01, 0.001, 0.1, log=True, help="share of the memory's statistics that the stored ones take")

    def norm(self, rows: int) -> NormMode:
        return STORED

    def predict(self, net: Any, x: Tensor) -> Prediction:
        with norms_by(net, partial(_aware, self.k)):
            features = net.body(x)
            return Prediction(net.head(features), features)

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        with torch.no_grad():
            out = self.predict(net, x)
        kept = state.memory
        if not kept:
            kept.update(x=x[:0], y=[], seen=[0] * out.scores.shape[1], arrived=0)
        for sample, label in zip(x, out.scores.argmax(-1).tolist()):
            kept["seen"][label] += 1
            kept["arrived"] += 1
            row = place_by_reservoir(kept["y"], kept["seen"], label, self.memory, state.gen)
            if row == len(kept["y"]):
                kept["x"], kept["y"] = torch.cat([kept["x"], sample[None]]), [*kept["y"], label]
            elif row is not None:
                kept["x"][row], kept["y"][row] = sample, label
            if kept["arrived"] % self.memory == 0:
                self._learn(net, kept["x"], state)
        return out

    def _learn(self, net: Any, x: Tensor, state: StreamState) -> None:
        with norms_by(net, partial(_aware_in_training, self.k, self.momentum)):
            scores = net.head(net.body(x))
        descend(state, entropy_of_logits(scores).mean())


def _aware(k: float, layer: Any, x: Tensor) -> Tensor:
    mean, var = instance_aware_moments(x, layer.running_mean, layer.running_var, k, layer.eps)
    return normalise(x, mean, var, layer.weight, layer.bias, layer.eps)


def _aware_in_training(k: float, momentum: float, layer: Any, x: Tensor) -> Tensor:
    """By the statistics of the batch in the place of the stored ones, which move towards them."""
    mean, var = channel_moments(x, unbiased=True)
    layer.running_mean.lerp_(mean.detach(), momentum)
    layer.running_var.lerp_(var.detach(), momentum)
    mean, var = instance_aware_moments(x, mean, var, k, layer.eps)
    return normalise(x, mean, var, layer.weight, layer.bias, layer.eps)
