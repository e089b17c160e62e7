"""What the methods of this family share: a cosine classifier, and the labelled samples of both domains.

z(x) = W F(x) / (|F(x)| temperature)           W (C, width) the head's weight, its bias is not used
L_cls = [CE(z(x_s), y_s) + CE(z(x_f), y_f)] / 2          as many labelled target as source samples per batch
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import linear, normalize

from dazoo.core.handles import Handles
from dazoo.methods.base import Batch, GradientMethod
from dazoo.nets.net import Net


class FewLabels(GradientMethod):
    """Learns from the labels of the source and from few of the target, with a cosine classifier."""

    handles = Handles(marked="few")
    neutral = None
    temperature: float

    def scores(self, net: Net, features: Tensor) -> Tensor:
        """Cosines (n, C) of features (n, width) and the head's rows, over the temperature."""
        return linear(normalize(features, dim=-1), net.head.weight) / self.temperature

    def labelled(self, net: Net, b: Batch, fs: Tensor, ff: Tensor) -> dict[str, Tensor]:
        """L_cls of source and labelled target features as two terms."""
        assert b.yf is not None
        return {
            "cls": 0.5 * net.criterion(self.scores(net, fs), b.ys),
            "few": 0.5 * net.criterion(self.scores(net, ff), b.yf),
        }
