"""What methods have in common that ask for labels: the training between their questions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.methods.base import Batch, GradientMethod, Look, Progress
from dazoo.nets.net import Net


@dataclass(frozen=True, kw_only=True)
class Active(GradientMethod):
    """From the source model, on the source and on the labels that were asked for; a file shows which those are.

    With a budget of all labels in one round, all strategies are one: training on both labelled domains.
    """

    handles = Handles(marked="query")
    start = "source_only"
    uses_target = False

    few_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the labels that were asked for")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        return self.supervised(net, net.body(b.xs), b)

    def supervised(self, net: Net, fs: Tensor, b: Batch) -> dict[str, Tensor]:
        """The terms of labelled samples, ``fs`` being the features of the source's."""
        assert b.xf is not None and b.yf is not None
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "few": self.few_weight * net.criterion(net.head(net.body(b.xf)), b.yf),
        }


def at(look: Look, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Features (m, width) and scores (m, C) of target ``rows`` (m,), on the CPU."""
    features, scores = look.target
    return features.cpu()[rows], scores.cpu()[rows]
