"""T3A: the classifier is replaced by prototypes of the surest samples so far. Iwasawa and Matsuo, NeurIPS 2021.

    scores(x) = c F(x),   c_k = s_k / |s_k|,   s_k = sum of f / |f| over the supports f of class k

Supports begin as the rows of the head's weights. Each batch's features join them under the class that the head gives,
with the entropy of its probabilities; of every class the ``supports`` with the lowest entropies stay. Features are not
scaled to length 1, and nothing is learned.

Evidence: tests/test_parity.py (tta_t3a); tests/test_stream_rules.py (before any sample, the head with unit rows and no
bias; with all supports kept none is lost).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamMethod, StreamState, register
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.test_time import surest_rows, unit_prototypes


@register
class T3A(StreamMethod):
    """Test-time template adjuster."""

    paper = Paper(
        title="Test-Time Classifier Adjustment Module for Model-Agnostic Domain Generalization",
        authors="Yusuke Iwasawa, Yutaka Matsuo",
        year=2021, url="https://proceedings.neurips.cc/paper/2021/hash/1415fe9fea0fa1e45dddcff5682239a0-Abstract.html",
        venue="Advances in Neural Information Processing Systems",
        deviations="keeping all supports (0) keeps all, where the authors' program loses the least sure one of every "
        "class at each batch; the paper chooses their number on held-out source samples, here it is fixed",
    )  # fmt: skip

    supports: int = hp(20, 1, 100, log=True, least=0, help="supports that stay per class; 0: all")

    def setup(self, net: Any) -> None:
        rows = net.head.weight.detach()
        net.register_buffer("prototypes", unit_prototypes(rows, net.head(rows).argmax(-1), len(rows)))

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        with torch.no_grad():
            kept, n_classes = state.memory, len(net.prototypes)
            features = net.body(x)
            if not kept:
                kept.update(_supports(net, net.head.weight))
            joined = {k: torch.cat([kept[k], v]) for k, v in _supports(net, features).items()}
            rows = surest_rows(joined["y"], joined["entropy"], self.supports, n_classes)
            kept.update({k: v[rows] for k, v in joined.items()})
            net.prototypes.copy_(unit_prototypes(kept["features"], kept["y"], n_classes))
            return self._scored(net, features)

    def predict(self, net: Any, x: Tensor) -> Prediction:
        return self._scored(net, net.body(x))

    def _scored(self, net: Any, features: Tensor) -> Prediction:
        return Prediction(features @ net.prototypes.T, features)


def _supports(net: Any, features: Tensor) -> dict[str, Tensor]:
    """Features with the class that the head gives them, and how sure it is."""
    scores = net.head(features)
    return {"features": features.detach(), "y": scores.argmax(-1), "entropy": entropy_of_logits(scores)}
