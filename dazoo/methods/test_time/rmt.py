"""RMT: a mean teacher with symmetric cross-entropy, and contrast to the source's prototypes. Döbler et al., CVPR 2023.

    min  1/b sum_i 1/2 [ SCE(s_i, t_i) + SCE(s'_i, t_i) ] + contrast_weight * L_con;   t <- m t + (1 - m) s

s_i = C(F(x_i)), s'_i the same of a view of x_i, t_i the teacher's scores, SCE the symmetric cross-entropy of scores.
L_con brings together, against all else in the batch, the projections P of three features per sample: the source's class
mean nearest by cosine to F(x_i), F(x_i) and F of the view:

    L_con = mean over the 3b anchors a of -mean over its 2 positives b of log [ e(a.b) / sum_{c != a} e(a.c) ],
    e(v) = exp(v / temperature),   a, b, c = P(f) / |P(f)|

One step of Adam per batch x (b, ...) on body, head and the perceptron P. The answer is (s_i + t_i) / 2, from before the
step.

Evidence: tests/test_parity.py (tta_sce); tests/test_stream_losses.py (class means by hand; all parts move; the teacher
follows).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamMethod, StreamState, register
from dazoo.methods.test_time._moves import descend, trained_parts
from dazoo.methods.test_time._prototypes import prototype_contrast, source_prototypes
from dazoo.nets.parts.common import mlp
from dazoo.nets.parts.norm_mode import BATCH, NormMode, norms_under
from dazoo.nets.parts.twin import Twin
from dazoo.ops.test_time import symmetric_cross_entropy


@register
class RMT(StreamMethod):
    """Robust mean teacher."""

    paper = Paper(
        title="Robust Mean Teacher for Continual and Gradual Test-Time Adaptation",
        authors="Mario Döbler, Robert A. Marsden, Bin Yang",
        year=2023, url="https://arxiv.org/abs/2211.13081",
        venue="IEEE/CVF Conference on Computer Vision and Pattern Recognition",
        deviations="no source samples are replayed and there is no warm-up on them: the source is read once, for its "
        "class means; the answer is the mean of both scores, not their sum, which is surer; views are the strong ones "
        "of this library",
    )  # fmt: skip
    needs_source_stats = True
    still = {"lr": 0.0}

    lr: float = hp(1e-3, 1e-5, 1e-2, log=True, help="learning rate of Adam")
    momentum: float = hp(0.999, 0.9, 0.9999, help="m, share of the teacher that stays per step")
    contrast_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the contrast")
    temperature: float = hp(0.1, 0.03, 0.5, log=True, help="of the contrast", positive=True)

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"projector": mlp(width, 128, 128)}

    def setup(self, net: Any) -> None:
        net.add_module("teacher", Twin(net))

    def norm(self, rows: int) -> NormMode:
        return BATCH

    def moves(self, net: Any) -> list[str]:
        return [*trained_parts(net), *(f"projector.{n}" for n, _ in net.projector.named_parameters())]

    def optimizer(self, parameters: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.lr)

    def source_stats(self, net: Any, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Any]:
        return {"prototypes": source_prototypes(self, net, batches)}

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        prototypes = state.source["prototypes"]
        with norms_under(net, self.norm(len(x)), len(x)):
            features, viewed = net.body(x), net.body(state.view())
            scores, scores_viewed = net.head(features), net.head(viewed)
            taught, _ = net.teacher(x)
        both = symmetric_cross_entropy(scores, taught) + symmetric_cross_entropy(scores_viewed, taught)
        contrast = prototype_contrast(net, prototypes, features, viewed, self.temperature)
        descend(state, 0.5 * both.mean() + self.contrast_weight * contrast)
        net.teacher.follow(net, self.momentum)
        return Prediction(0.5 * (scores + taught), features)

    def predict(self, net: Any, x: Tensor) -> Prediction:
        features = net.body(x)
        return Prediction(0.5 * (net.head(features) + net.teacher(x)[0]), features)
