"""Gradual unfreezing: layers start to move one group after the other, the last first. Howard, Ruder, ACL 2018.

    min_theta  1/n_f sum_i loss(f_theta(x_i), y_i)   from the source model, where group g = 0, 1, ..., G - 1 of
    parameters moves from the fraction  g * until / G  of training on:  theta_g fixed before

Group 0 is the head; the others are the body's layers from last to first, cut into G - 1 pieces (fewer where there are
fewer layers). Statistics of batch normalisation in resting layers follow the data all the same.

Evidence: tests/test_finetune.py (which parameters have moved after how many steps).
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net


@register
class GradualUnfreeze(GradientMethod):
    """Fine-tuning from the top down."""

    paper = Paper(
        title="Universal Language Model Fine-tuning for Text Classification",
        authors="Jeremy Howard, Sebastian Ruder",
        year=2018,
        url="https://arxiv.org/abs/1801.06146", venue="ACL",
        deviations="groups of layers per share of training instead of a layer per epoch; one rate for the body and "
        "the recipe's schedule in place of discriminative rates and slanted triangles",
    )  # fmt: skip
    handles = Handles(marked="few")
    targets = frozenset({"classes", "values"})
    start = "source_only"
    uses_source = False
    uses_target = False

    groups: int = hp(4, 2, 6, help="groups of parameters, the head being the first")
    until: float = hp(0.8, 0.4, 1.0, structural=True, help="fraction of training over which groups are released")
    tuned_lr: float = hp(0.1, 0.01, 1.0, log=True, structural=True, help="rate of the body, relative to the head's")

    def part_lr(self) -> dict[str, float]:
        return {"body": self.tuned_lr}

    def resting(self, net: Net, t: Progress) -> frozenset[str]:
        layers = body_layers(net)[::-1]
        pieces = [p for p in np.array_split(np.arange(len(layers)), self.groups - 1) if len(p)]
        names: set[str] = set()
        for g, piece in enumerate(pieces, start=1):
            if t.fraction < g * self.until / (len(pieces) + 1):
                names.update(name for i in piece for name in layers[i])
        return frozenset(names)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.yf is not None
        return {"cls": net.criterion(net.head(net.body(b.xf)), b.yf)}


def body_layers(net: Net) -> list[list[str]]:
    """Names of the body's parameters, layer by layer from input to output."""
    found = []
    for module_name, module in net.body.named_modules():
        own = [f"body.{module_name}.{n}" for n, _ in module.named_parameters(recurse=False)]
        if own:
            found.append(own)
    return found
