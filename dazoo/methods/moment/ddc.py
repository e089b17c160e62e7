"""DDC: one adaptation layer whose mean activations agree. Tzeng, Hoffman, Zhang, Saenko, Darrell, 2014.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * |mean F(x_s) - mean F(x_t)|^2

F (b, width) is the bottleneck, the paper's adaptation layer. The distance is the squared MMD of the linear kernel.

Evidence: tests/test_moment.py (test_ddc_is_the_gap_of_means, test_translation_moves_every_mean_distance).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.mmd import linear_mmd


@register
class DDC(GradientMethod):
    """Deep domain confusion."""

    paper = Paper(
        title="Deep Domain Confusion: Maximizing for Domain Invariance",
        authors="Eric Tzeng, Judy Hoffman, Ning Zhang, Kate Saenko, Trevor Darrell",
        year=2014, url="https://arxiv.org/abs/1412.3474",
        venue="arXiv",
        deviations="the distance is squared; place and width of the adaptation layer are the recipe's, not searched",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    targets = frozenset({"classes", "values"})

    trade_off: float = hp(0.25, 0.01, 10.0, log=True, help="weight of the distance of means")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        return {"cls": net.criterion(net.head(fs), b.ys), "mmd": self.trade_off * linear_mmd(fs, ft)}
