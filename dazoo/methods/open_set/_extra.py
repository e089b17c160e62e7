"""What methods share whose classifier has one class more, the unknown one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.types import Prediction
from dazoo.nets.net import Net


def extra_class(width: int) -> dict[str, nn.Module]:
    """The part that gives the unknown class its score: (n, width) -> (n, 1)."""
    return {"extra": nn.Linear(width, 1)}


def open_scores(net: Net, f: Tensor) -> Tensor:
    """Scores of the known classes and, last, of the unknown one: features f (n, width) -> (n, K + 1)."""
    return torch.cat([net.head(f), net.extra(f)], 1)


def open_prediction(net: Net, x: Tensor) -> Prediction:
    """Known scores (n, K); a row is unknown where the unknown class has the largest score of all."""
    features = net.body(x)
    scores = net.head(features)
    return Prediction(scores, features, unknown=net.extra(features).squeeze(1) - scores.amax(1), threshold=0.0)
