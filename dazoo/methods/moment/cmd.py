"""CMD: match central moments order by order. Zellinger, Grubinger, Lughofer, Natschlaeger, Saminger-Platz, ICLR 2017.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * CMD_K(z_s, z_t),   z = tanh(F) (b, width)
    CMD_K = |E z_s - E z_t| / s + sum_{k=2}^K |c_k(z_s) - c_k(z_t)| / s^k,   c_k(z) = E (z - E z)^k per feature

Euclidean norms over features; s is the length of the interval in which z lies.

Evidence: tests/test_moment.py (test_cmd_compares_central_moments, test_translation_moves_every_mean_distance).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.moments import central_moments


@register
class CMD(GradientMethod):
    """Central moment discrepancy."""

    paper = Paper(
        title="Central Moment Discrepancy (CMD) for Domain-Invariant Representation Learning",
        authors="Werner Zellinger, Thomas Grubinger, Edwin Lughofer, Thomas Natschläger, Susanne Saminger-Platz",
        year=2017,
        url="https://arxiv.org/abs/1702.08811", venue="ICLR",
        deviations="the bottleneck's activations are unbounded, so the moments are taken of their tanh",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    targets = frozenset({"classes", "values"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the moment discrepancy")
    moments: int = hp(5, 1, 7, help="highest order K")
    span: float = hp(1.0, help="length of the interval of the activations; 1 for tanh after ReLU", positive=True)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        distance = central_moments(fs.tanh(), ft.tanh(), self.moments, self.span)
        return {"cls": net.criterion(net.head(fs), b.ys), "cmd": self.trade_off * distance}
