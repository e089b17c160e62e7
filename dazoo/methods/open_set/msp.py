"""MSP: source-only, unknown where the largest probability is small. Hendrycks and Gimpel, ICLR 2017.

    min_{F,C}  CE(C(F(x_s)), y_s)
    unknown(x) = (1 - max_c p_c) / (1 - 1/K) in [0, 1],   p = softmax(C(F(x))),   above ``threshold``

The scale makes 0 a certain answer and 1 none at all, whatever the number K of classes.

Evidence: tests/test_open_set.py (the score at both ends).
"""

from __future__ import annotations

from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Look, register
from dazoo.methods.open_set._scored import ScoredSource
from dazoo.nets.net import Net


@register
class MSP(ScoredSource):
    """Source only, with the maximum softmax probability as what is known."""

    paper = Paper(
        title="A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks",
        authors="Dan Hendrycks, Kevin Gimpel",
        year=2017, venue="ICLR", url="https://arxiv.org/abs/1610.02136",
        deviations="the paper ranks samples and sets no threshold",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial", "open", "universal"}, n_sources={"one", "many"})

    threshold: float = hp(0.5, most=1.0, help="share of the largest doubt above which a row is unknown")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {}

    def finish(self, net: Net, look: Look) -> None:
        return

    def unknown(self, net: Net, scores: Tensor, f: Tensor) -> Tensor:
        return (1.0 - scores.softmax(1).amax(1)) / (1.0 - 1.0 / scores.shape[1])

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        scores = net.head(features)
        return Prediction(scores, features, unknown=self.unknown(net, scores, features), threshold=self.threshold)
