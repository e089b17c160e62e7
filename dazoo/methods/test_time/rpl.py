"""RPL: robust pseudo-labels, by a loss between cross-entropy and absolute error. Rusak et al., TMLR 2022.

    min_{gamma, beta}  1/b sum_i (1 - p_iy^q) / q,   y = argmax p_i,   p_i = softmax(C(F(x_i)))

one step of Adam per batch x (b, ...), batch normalisation by the batch's statistics. A wrong label of a sample that the
network is unsure of has a gradient of at most p^q: as q grows, sure samples count more. Answers are from before the
step.

Evidence: tests/test_parity.py (tta_gce); tests/test_stream_losses.py (one step equals a transcription).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamState, register
from dazoo.methods.test_time._moves import MovesNorms, descend
from dazoo.ops.test_time import generalised_cross_entropy


@register
class RPL(MovesNorms):
    """Robust pseudo-labelling online."""

    paper = Paper(
        title="If your data distribution shifts, use self-learning",
        authors=(
            "Evgenia Rusak, Steffen Schneider, George Pachitariu, Luisa Eck, Peter Gehler, Oliver Bringmann, "
            "Wieland Brendel, Matthias Bethge"
        ),
        year=2022, url="https://arxiv.org/abs/2104.12928", venue="Transactions on Machine Learning Research",
        deviations="Adam as in TENT, where the authors have SGD; each batch once",
    )  # fmt: skip

    q: float = hp(0.8, 0.3, 1.0, help="0: cross-entropy, 1: one minus the probability", positive=True)

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        out = self.answer(net, x)
        descend(state, generalised_cross_entropy(out.scores, out.scores.argmax(-1), self.q))
        return out
