"""CoTTA: an averaged teacher labels the stream, and the student forgets back to the source. Wang et al., CVPR 2022.

    min_{F,C}  1/b sum_i CE(q_i, C(F(x_i))),   q_i = softmax of the teacher's scores
    teacher <- m teacher + (1 - m) student;   every entry of the student returns to the source's with chance ``restore``

one step of Adam per batch x (b, ...) on all of body and head, batch normalisation by the batch's statistics in all
three networks. The teacher's scores are those of x_i, or the mean over ``views`` random views of the batch where the
source's model is sure of the batch by less than ``confidence`` on average. They are the answer.

Evidence: tests/test_parity.py (tta_cotta_step); tests/test_stream_losses.py (restore 1: the student stays the source).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamMethod, StreamState, register
from dazoo.methods.test_time._moves import at_start, descend, moving, trained_parts
from dazoo.nets.parts.norm_mode import BATCH, NormMode, norms_under
from dazoo.nets.parts.twin import Twin
from dazoo.ops.perturb import soft_cross_entropy


@register
class CoTTA(StreamMethod):
    """Continual test-time adaptation."""

    paper = Paper(
        title="Continual Test-Time Domain Adaptation", authors="Qin Wang, Olga Fink, Luc Van Gool, Dengxin Dai",
        year=2022, url="https://arxiv.org/abs/2203.13591",
        venue="IEEE/CVF Conference on Computer Vision and Pattern Recognition",
        deviations="views are the strong ones of this library; whether they are used is decided per batch, as in the "
        "authors' program, not per sample; the source's model normalises by the batch's statistics, as there; where "
        "views cost accuracy, as masked vectors do, so do answers that are means over them",
    )  # fmt: skip

    still = {"lr": 0.0, "confidence": 0.0}

    lr: float = hp(1e-3, 1e-5, 1e-2, log=True, help="learning rate of Adam")
    momentum: float = hp(0.999, 0.9, 0.9999, help="m, share of the teacher that stays per step")
    restore: float = hp(0.01, 0.001, 0.1, log=True, most=1.0, help="chance that a weight returns to the source's")
    confidence: float = hp(0.92, 0.1, 0.95, help="mean confidence of the source's model below which views are averaged")
    views: int = hp(32, 4, 32, help="views of a batch")

    def setup(self, net: Any) -> None:
        net.add_module("teacher", Twin(net))
        net.add_module("anchor", Twin(net))

    def norm(self, rows: int) -> NormMode:
        return BATCH

    def moves(self, net: Any) -> list[str]:
        return trained_parts(net)

    def optimizer(self, parameters: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.lr)

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        source, theta = at_start(state), moving(state)
        with norms_under(net, self.norm(len(x)), len(x)):
            scores, features = net.teacher(x)
            if float(net.anchor(x)[0].softmax(-1).amax(-1).mean()) < self.confidence:
                # one view at a time: all at once would be as many copies of the batch
                scores = sum((net.teacher(state.view())[0] for _ in range(self.views)), 0.0 * scores) / self.views
            student = net.head(net.body(x))
        descend(state, soft_cross_entropy(student, scores.softmax(-1)))
        net.teacher.follow(net, self.momentum)
        with torch.no_grad():
            for p, p0, back in zip(theta, source, self.returned(theta, state)):
                p.copy_(torch.where(back, p0, p))
        return Prediction(scores, features)

    def returned(self, theta: list[Tensor], state: StreamState) -> list[Tensor]:
        """Which entries of every parameter return to the source's."""
        return [torch.rand(p.shape, generator=state.gen, device=p.device) < self.restore for p in theta]

    def predict(self, net: Any, x: Tensor) -> Prediction:
        scores, features = net.teacher(x)
        return Prediction(scores, features)
