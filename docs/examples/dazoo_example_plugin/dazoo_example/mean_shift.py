"""Mean shift: match the means of the domains' features. An example, not a published method.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * || mean_i F(x_s,i) - mean_j F(x_t,j) ||^2

F(x) (width,) are features, C(F(x)) (C,) class scores. It is the linear-kernel case of DDC (Tzeng et al., 2014).

Evidence: `dazoo check dazoo_example.mean_shift:MeanShift`, which dazoo's own tests run on this package.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register


@register
class MeanShift(GradientMethod):
    """Squared distance of the feature means."""

    family = "example"
    paper = Paper(
        title="Deep Domain Confusion: Maximizing for Domain Invariance",
        authors="Tzeng, Hoffman, Zhang, Saenko, Darrell",
        year=2014,
        url="https://arxiv.org/abs/1412.3474",
        deviations="a linear kernel, and no search for the layer that is matched",
    )
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the distance of the means")

    def losses(self, net: Any, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        means = (fs.mean(0) - ft.mean(0)).square().sum()
        return {"cls": net.criterion(net.head(fs), b.ys), "means": self.trade_off * means}
