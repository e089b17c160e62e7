"""CC-loss: MCC plus agreement of the class confusions of weak and strong views. Jin, Wang, Long, Wang, ECCV 2020.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * MCC(C(F(x_t)))
               + consistency_weight * m/b * (1/C) |N(stop(C(F(x_t)))) - N(C(F(strong(x_t))))|_F^2
    P = softmax(scores / temperature) (b, C),  w_i proportional to 1 + exp(-H(P_i)) where max_c P_ic >= threshold in the
    weak view, else 0,  M = P' diag(w) P,  N = M with rows scaled to sum 1,  m the number of rows with w_i > 0

Evidence: tests/test_selftraining.py (equals a transcription in loops; zero for equal views and below the threshold; no
gradient into weak views).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.setting import MULTI_SOURCE, UNSUPERVISED
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.confusion import confusion_consistency
from dazoo.ops.entropy import mcc


@register
class CCLoss(GradientMethod):
    """Minimum class confusion with consistent confusions."""

    paper = Paper(
        title="Minimum Class Confusion for Versatile Domain Adaptation", authors="Jin, Wang, Long, Wang", year=2020,
        url="https://arxiv.org/abs/1912.03699", venue="ECCV",
        deviations="the consistency term is not in the paper but in the library of its authors' group "
        "(Transfer-Learning-Library, cc_loss); strong views of vectors are noise and masked entries",
    )  # fmt: skip
    settings = frozenset({UNSUPERVISED, MULTI_SOURCE})
    strong_views = True
    toy_hparams: ClassVar[dict[str, Any]] = {"threshold": 0.3}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the confusion")
    consistency_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the agreement of confusions")
    temperature: float = hp(2.5, 1.0, 5.0, help="softens target predictions", positive=True)
    threshold: float = hp(0.95, 0.5, 0.99, help="least softened confidence of a row that takes part in the agreement")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xt_strong is not None
        fs, ft = net.features(b.xs, torch.cat([b.xt, b.xt_strong]))
        weak, strong = net.head(ft).chunk(2)
        agree = confusion_consistency(strong, weak, self.temperature, self.threshold)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "mcc": self.trade_off * mcc(weak, self.temperature),
            "agree": self.consistency_weight * agree,
        }
