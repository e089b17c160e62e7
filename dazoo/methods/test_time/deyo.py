"""DeYO: entropy of samples that are sure because of their shape. Lee et al., ICLR 2024.

    min_{gamma, beta}  mean over kept of (exp(e0 - H_i) + exp(d_i)) H_i
    kept: H_i < margin ln K,  d_i = p_iy - p'_iy > drop,   y = argmax p_i,   e0 = scale ln K

p_i = softmax(C(F(x_i))) (K,), H_i its entropy, p'_i that of the same sample with its pieces in random order: pictures
as 4 x 4 patches, series and vectors as 16 pieces. Weights carry no gradient. One step of Adam per batch x (b, ...) that
keeps a sample; answers are from before it.

Evidence: tests/test_parity.py (tta_deyo); tests/test_stream_losses.py (one step equals a transcription; nothing kept,
nothing moves).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamState, register
from dazoo.methods.test_time._moves import MovesNorms, descend
from dazoo.nets.augment import shuffled_pieces
from dazoo.ops.test_time import shape_dependent_entropy


@register
class DeYO(MovesNorms):
    """Destroy your object."""

    paper = Paper(
        title="Entropy is not Enough for Test-Time Adaptation: From the Perspective of Disentangled Factors",
        authors=(
            "Jonghyun Lee, Dahuin Jung, Saehyung Lee, Junsung Park, Juhyeon Shin, Uiwon Hwang, Sungroh Yoon"
        ),
        year=2024, url="https://arxiv.org/abs/2403.07366", venue="International Conference on Learning Representations",
        deviations="Adam as in TENT, where the authors have SGD; all normalisation layers move, where they hold the "
        "last blocks of large networks; vectors and series are destroyed by a random order of 16 pieces",
    )  # fmt: skip

    toy_hparams: ClassVar[dict[str, Any]] = {"margin": 1.0, "drop": 0.0}

    margin: float = hp(0.5, 0.1, 1.0, most=2.0, help="share of ln K above which samples are unsure")
    scale: float = hp(0.4, 0.1, 1.0, help="e0 of the weights, as a share of ln K")
    drop: float = hp(0.2, 0.0, 0.5, help="least drop of the probability when the sample is destroyed")

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        out, most = self.answer(net, x), math.log(net.head.out_features)
        with torch.no_grad():
            destroyed = self.answer(net, shuffled_pieces(x, state.gen)).scores
        loss, kept = shape_dependent_entropy(out.scores, destroyed, self.margin * most, self.scale * most, self.drop)
        if bool(kept.any()):
            descend(state, loss)
        return out
