"""MDD: margin disparity discrepancy. Zhang, Liu, Long, Jordan, ICML 2019.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * r(t) * D
    max_{C'}   D = -margin * E_s[CE(C'(f_s), y(f_s))] + E_t[log(1 - softmax(C'(f_t))[y(f_t)])]

with y(f) = argmax C(f), f (b, width), scores (b, C), C' a perceptron width -> width -> C. C' is ``adv``: it ascends D
at full rate, F descends it scaled by trade_off * r(t), through gradient reversal between F and C'. C is not moved by D.

Evidence: tests/test_parity.py (mdd_margin4), tests/test_adversarial.py (transcription; who moves which way).
"""

from __future__ import annotations

from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.discrepancy import mdd
from dazoo.ops.reversal import reverse_gradient


@register
class MDD(GradientMethod):
    """Margin disparity discrepancy."""

    paper = Paper(
        title="Bridging Theory and Algorithm for Domain Adaptation",
        authors="Yuchen Zhang, Tianle Liu, Mingsheng Long, Michael I. Jordan",
        year=2019,
        url="https://arxiv.org/abs/1904.05801", venue="ICML",
        deviations="the head is linear, as for every method here; the adversarial one has a hidden layer",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the discrepancy's gradient to the features")
    margin: float = hp(4.0, 1.0, 4.0, help="gamma, the exponential of the margin; the paper uses 2 to 4")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"adv": mlp(width, width, n_classes)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        strength = self.trade_off * t.ramp
        as_, at = net.adv(reverse_gradient(fs, strength)), net.adv(reverse_gradient(ft, strength))
        return {"cls": net.criterion(ls, b.ys), "mdd": -mdd(ls, as_, lt, at, self.margin)}
