"""FixMatch: confident labels of weak views supervise strong views of the target. Sohn et al., NeurIPS 2020.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * 1/b sum_i 1[max q_i >= threshold] CE(C(F(strong(x_t,i))), argmax q_i)
    q_i = stop(softmax(C(F(x_t,i)))) (C,)

Evidence: tests/test_selftraining.py (equals a transcription; zero below the threshold; no gradient into weak views).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.selftraining import fixmatch


@register
class FixMatch(GradientMethod):
    """Consistency with confident pseudo-labels, the target in the role of the unlabelled data."""

    paper = Paper(
        title="FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence",
        authors=(
            "Kihyuk Sohn, David Berthelot, Chun-Liang Li, Zizhao Zhang, Nicholas Carlini, Ekin D. Cubuk, "
            "Alex Kurakin, Han Zhang, Colin Raffel"
        ),
        year=2020,
        url="https://arxiv.org/abs/2001.07685", venue="NeurIPS",
        deviations="as many target as source samples per batch (the paper: 7 to 1); no average of the weights; strong "
        "views of vectors are noise and masked entries; on large shifts confident labels are wrong and it can end "
        "below source_only",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    strong_views = True
    toy_hparams: ClassVar[dict[str, Any]] = {"threshold": 0.3}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the pseudo-labelled strong views")
    threshold: float = hp(0.95, 0.5, 0.99, help="least confidence of a pseudo-label")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xt_strong is not None
        fs, ft = net.features(b.xs, torch.cat([b.xt, b.xt_strong]))
        weak, strong = net.head(ft).chunk(2)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "pseudo": self.trade_off * fixmatch(strong, weak, self.threshold),
        }
