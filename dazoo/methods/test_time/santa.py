"""SANTA: the source's model on the batch's statistics anchors, and its prototypes align. Chakrabarty et al., TMLR 2023.

    min_{gamma, beta, P}  1/b sum_i 1/2 [ CE(p_i, a_i) + CE(p'_i, a_i) ] + contrast_weight * L_con
    CE(p, a) = -sum_c p_c log a_c

p_i = softmax(C(F(x_i))), p'_i the same of a view of x_i, a_i of the source's model; all normalise by the batch's
statistics. L_con is the contrast of RMT: the projections P of the source's class mean nearest to F(x_i), of F(x_i) and
of F of the view belong together. One step of Adam per batch x (b, ...); answers are p_i, from before it.

Evidence: tests/test_stream_losses.py (one step equals a transcription; scales, shifts and P move, the anchor stays).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import log_softmax

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamState, register
from dazoo.methods.test_time._moves import MovesNorms, descend
from dazoo.methods.test_time._prototypes import prototype_contrast, source_prototypes
from dazoo.nets.parts.common import mlp
from dazoo.nets.parts.norm_mode import norms_under
from dazoo.nets.parts.twin import Twin


@register
class SANTA(MovesNorms):
    """Source anchoring network and target alignment."""

    paper = Paper(
        title="SANTA: Source Anchoring Network and Target Alignment for Continual Test Time Adaptation",
        authors="Goirik Chakrabarty, Manogna Sreenivas, Soma Biswas",
        year=2023, url="https://openreview.net/forum?id=V7guVYzvE4", venue="Transactions on Machine Learning Research",
        deviations="the two cross-entropies are averaged, as in public programs, where the paper adds them; views are "
        "the strong ones of this library",
    )  # fmt: skip
    needs_source_stats = True

    contrast_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the contrast")
    temperature: float = hp(0.1, 0.03, 0.5, log=True, help="of the contrast", positive=True)

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"projector": mlp(width, 128, 128)}

    def setup(self, net: Any) -> None:
        net.add_module("anchor", Twin(net))

    def moves(self, net: Any) -> list[str]:
        own = [n for n in super().moves(net) if not n.startswith("anchor.")]
        return [*own, *(f"projector.{n}" for n, _ in net.projector.named_parameters())] if own else []

    def source_stats(self, net: Any, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Any]:
        return {"prototypes": source_prototypes(self, net, batches)}

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        with norms_under(net, self.norm(len(x)), len(x)):
            features, viewed = net.body(x), net.body(state.view())
            anchor = log_softmax(net.anchor(x)[0], -1)
        scores = net.head(features)
        both = scores.softmax(-1) + net.head(viewed).softmax(-1)
        contrast = prototype_contrast(net, state.source["prototypes"], features, viewed, self.temperature)
        descend(state, self.contrast_weight * contrast - 0.5 * (both * anchor).sum(-1).mean())
        return Prediction(scores, features)
