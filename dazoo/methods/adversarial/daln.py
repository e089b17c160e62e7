"""DALN: the task classifier as its own critic. Chen, Chen, Wei, Jin, Tan, Jin, Chen, CVPR 2022.

    min_{F} max_{C}  trade_off * D,  beside  min_{F,C} CE(C(F(x_s)), y_s)
    D = ||softmax(C(f_s))||_* / b - ||softmax(C(f_t))||_* / b

with the nuclear norm of predictions (b, C): large where they are certain and diverse. C ascends D at trade_off, F
descends it at trade_off * r(t), through gradient reversal between F and C; no discriminator is built.

Evidence: tests/test_adversarial.py (transcription with numpy's singular values; who moves which way).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.discrepancy import nwd
from dazoo.ops.reversal import reverse_gradient


@register
class DALN(GradientMethod):
    """Discriminator-free adversarial learning network."""

    paper = Paper(
        title="Reusing the Task-specific Classifier as a Discriminator: Discriminator-free Adversarial Domain "
        "Adaptation",
        authors="Lin Chen, Huaian Chen, Zhixiang Wei, Xin Jin, Xiao Tan, Yi Jin, Enhong Chen",
        year=2022, url="https://arxiv.org/abs/2204.03838", venue="CVPR",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the nuclear-norm discrepancy")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ps = net.head(reverse_gradient(fs, t.ramp)).softmax(1)
        pt = net.head(reverse_gradient(ft, t.ramp)).softmax(1)
        return {"cls": net.criterion(net.head(fs), b.ys), "nwd": -self.trade_off * nwd(ps, pt)}
