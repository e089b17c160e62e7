"""Source-only with a score of being unknown: what every method for open sets has to beat."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Look, Progress
from dazoo.nets.net import Net
from dazoo.nets.parts.rows import Value
from dazoo.ops.source_free import two_means


class ScoredSource(GradientMethod):
    """Training as ``source_only``; ``unknown`` says how unlikely a target row is of any source class.

    Scores without a natural scale are cut half way between the centres of the best two clusters of all target rows'
    scores (``two_means``), which no label decides.
    """

    uses_target: ClassVar[bool] = False

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"cut": Value(0.0)}

    def unknown(self, net: Net, scores: Tensor, f: Tensor) -> Tensor:
        """The score of being unknown (n,) from class scores (n, K) and features (n, width)."""
        raise NotImplementedError(f"{self.name} does not define unknown")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        return {"cls": net.criterion(net.head(net.body(b.xs)), b.ys)}

    def finish(self, net: Net, look: Look) -> None:
        features, scores = look.target
        low, high, _ = two_means(self.unknown(net, scores, features).double())
        net.cut.set((low + high)[None] / 2)

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        scores = net.head(features)
        return Prediction(scores, features, unknown=self.unknown(net, scores, features), threshold=float(net.cut.x))
