"""ADDA: a target encoder that fools a discriminator into taking its features for the source's. Tzeng, Hoffman, Saenko,
Darrell, CVPR 2017.

    F_s, C = source-only model;  F_t starts as F_s;  F_s and C stay fixed
    phase 1, D:    min [BCE(D(F_s(x_s)), 1) + BCE(D(F_t(x_t)), 0)] / 2
    phase 2, F_t:  min trade_off * BCE(D(F_t(x_t)), 1)
    target prediction C(F_t(x)), source prediction C(F_s(x))

F_t is ``body``, F_s the fixed part ``source_body``; features (b, width), D a perceptron to one logit.

Evidence: tests/test_adversarial.py (transcription; only the parts of a phase move; the source's model does not).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Phase, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.adversarial import domain_bce


@register
class ADDA(GradientMethod):
    """Adversarial discriminative domain adaptation."""

    paper = Paper(
        title="Adversarial Discriminative Domain Adaptation",
        authors="Eric Tzeng, Judy Hoffman, Kate Saenko, Trevor Darrell",
        year=2017,
        url="https://arxiv.org/abs/1702.05464", venue="CVPR",
        deviations="both phases run in every iteration; the encoder's rate is relative to the recipe's",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    targets = frozenset({"classes", "values"})
    start = "source_only"
    classifies = False
    phases = (Phase("losses_disc", update=("disc",)), Phase("losses", update=("body",)))

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the encoder's adversarial loss")
    encoder_lr: float = hp(0.1, 0.01, 1.0, log=True, structural=True, help="rate of the target encoder")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"disc": mlp(width, self.disc_width, self.disc_width, 1)}

    def setup(self, net: Net) -> None:
        net.add_module("source_body", copy.deepcopy(net.body))

    def part_lr(self) -> dict[str, float]:
        return {"body": self.encoder_lr, "source_body": 0.0, "head": 0.0}

    def losses_disc(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.source_body(b.xs), net.body(b.xt)
        return {"dom": domain_bce(net.disc(torch.cat([fs, ft]).detach()), len(fs))}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fooled = nn.functional.softplus(-net.disc(net.body(b.xt)))
        return {"fool": self.trade_off * fooled.mean()}

    def predict_source(self, net: Net, x: Tensor) -> Prediction:
        features = net.source_body(x)
        return Prediction(net.head(features), features)
