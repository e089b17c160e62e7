"""ASA: domains need the same support, not the same distribution. Tong, Garipov, Zhang, Chang, Jaakkola, ICLR 2022.

    phase 1, D:    min [BCE(D(f_s), 1) + BCE(D(f_t), 0)] / 2
    phase 2, F, C: min CE(C(f_s), y_s) + trade_off * r(t) * [mean_{z in S_s} d(z, S_t) + mean_{z in S_t} d(z, S_s)]
    d(z, S) = min_{s in S} |z - s|, or its square with ``distance = "sq"``

f = F(x) (b, width); D a perceptron to one logit; S_s, S_t are the logits of the batch and, as they were at the begin of
the epoch, of all samples of the domain, which draw what is nearest to them. A logit inside the other domain's support
costs nothing, whatever the shares of the classes: alignment under label shift.

Evidence: tests/test_frontier.py (transcription; no cost for another mixture of the same points; who moves which way;
formulas compared with the authors' program).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Phase, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.adversarial import domain_bce


@register
class ASA(GradientMethod):
    """Adversarial support alignment."""

    paper = Paper(
        title="Adversarial Support Alignment",
        authors="Shangyuan Tong, Timur Garipov, Yang Zhang, Shiyu Chang, Tommi S. Jaakkola", year=2022,
        url="https://arxiv.org/abs/2203.08908", venue="ICLR",
        deviations="the supports hold all samples as they were at the begin of the epoch, not the last 1000; the "
        "discriminator's logits have no spectral normalisation, as in the paper's experiments on digits",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    revision = 1  # what lies in memory is moved towards, too
    phases = (Phase("losses_disc", update=("disc",)), Phase("losses", update=("body", "head")))

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the distance between supports")
    distance: str = hp("abs", choices=("abs", "sq"), help="absolute or squared distance to the nearest logit")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"disc": mlp(width, self.disc_width, self.disc_width, 1)}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        return {"s": net.disc(look.source[0]).squeeze(-1), "t": net.disc(look.target[0]).squeeze(-1)}

    def losses_disc(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt, b.held)
        return {"dom": domain_bce(net.disc(torch.cat([fs, ft]).detach()), len(fs))}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt, b.held)
        zs, zt = net.disc(torch.cat([fs, ft])).squeeze(-1).split([len(fs), len(ft)])
        zs, zt = torch.cat([zs, b.memory["s"].to(zs)]), torch.cat([zt, b.memory["t"].to(zt)])
        to_target, to_source = nearest_gap(zs, zt), nearest_gap(zt, zs)
        if self.distance == "sq":
            to_target, to_source = to_target.square(), to_source.square()
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "support": self.trade_off * t.ramp * (to_target.mean() + to_source.mean()),
        }


def nearest_gap(z: Tensor, support: Tensor) -> Tensor:
    """Distance of each z (n,) to the nearest of ``support`` (m,): (n,). In O((n + m) log m)."""
    values, order = support.detach().sort()
    right = torch.searchsorted(values, z.detach())
    sides = [support.gather(0, order.gather(0, i.clamp(0, len(support) - 1))) for i in (right - 1, right)]
    return torch.minimum(*((z - s).abs() for s in sides))
