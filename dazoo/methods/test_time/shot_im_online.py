"""SHOT-IM online: sure and evenly spread answers by the whole body, batch after batch. After Liang et al., ICML 2020.

    min_F  1/b sum_i H(p_i) - H(pbar),   p_i = softmax(C(F(x_i))),   pbar = 1/b sum_i p_i

one step of Adam per batch x (b, ...) on the body, the head held fixed, batch normalisation by the batch's statistics.
Answers are from before the step. No pseudo-labels: their centroids need the whole target.

Evidence: tests/test_stream_methods.py (one step equals a transcription; the head keeps its bits).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamMethod, StreamState, register
from dazoo.methods.test_time._moves import descend
from dazoo.nets.parts.norm_mode import BATCH, NormMode
from dazoo.ops.entropy import info_max


@register
class SHOTIMOnline(StreamMethod):
    """Information maximisation on a stream."""

    paper = Paper(
        title=(
            "Do We Really Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised Domain Adaptation"
        ),
        authors="Jian Liang, Dapeng Hu, Jiashi Feng",
        year=2020, url="https://arxiv.org/abs/2002.08546", venue="International Conference on Machine Learning",
        deviations="made for batches that are seen once, as later comparisons have it: one step per batch, no "
        "pseudo-labels; where a batch holds few classes, the second term drives answers apart that should agree",
    )  # fmt: skip
    still = {"lr": 0.0}

    lr: float = hp(1e-3, 1e-5, 1e-2, log=True, help="learning rate of Adam")

    def norm(self, rows: int) -> NormMode:
        return BATCH

    def moves(self, net: Any) -> list[str]:
        return [name for name, _ in net.named_parameters() if name.startswith("body.")]

    def optimizer(self, parameters: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.lr)

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        out = self.answer(net, x)
        if state.optimizer is not None:  # a body without parameters has nothing to move
            descend(state, info_max(out.scores))
        return out
