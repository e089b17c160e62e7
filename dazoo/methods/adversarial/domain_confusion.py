"""Domain confusion: features on which the domain classifier is maximally unsure. Tzeng, Hoffman, Darrell, Saenko,
ICCV 2015.

    phase 1, F and C:  min CE(C(f_s), y_s) + trade_off * r(t) * L_conf,
                       L_conf = -1/(2 n) sum_i [log sigmoid(z_i) + log(1 - sigmoid(z_i))],  z = D([f_s; f_t]) (n,)
    phase 2, D:        min [BCE(D(f_s), 1) + BCE(D(f_t), 0)] / 2    at fixed f

L_conf is the cross-entropy with the uniform domain label; it is smallest where D says one half. D is a perceptron
width -> disc_width -> disc_width -> 1 logit.

Evidence: tests/test_adversarial.py (transcription; only the parts of a phase move).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Phase, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.adversarial import domain_bce, domain_confusion


@register
class DomainConfusion(GradientMethod):
    """Adaptation by a domain confusion loss."""

    paper = Paper(
        title="Simultaneous Deep Transfer Across Domains and Tasks",
        authors="Eric Tzeng, Judy Hoffman, Trevor Darrell, Kate Saenko",
        year=2015, url="https://arxiv.org/abs/1510.02192", venue="ICCV",
        deviations="without the soft-label loss, which needs labelled target samples; the weight is ramped up",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    targets = frozenset({"classes", "values"})
    phases = (Phase("losses", update=("body", "head")), Phase("losses_disc", update=("disc",)))

    trade_off: float = hp(0.01, 0.001, 1.0, log=True, help="weight of the confusion")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"disc": mlp(width, self.disc_width, self.disc_width, 1)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        confusion = domain_confusion(net.disc(torch.cat([fs, ft])).squeeze(-1))
        return {"cls": net.criterion(net.head(fs), b.ys), "conf": self.trade_off * t.ramp * confusion}

    def losses_disc(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        return {"dom": domain_bce(net.disc(torch.cat([fs, ft]).detach()), len(fs))}
