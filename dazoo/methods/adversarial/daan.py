"""DAAN: weigh the alignment of domains against that of classes as training goes. Yu, Wang, Chen, Huang, ICDM 2019.

    min_{F,C} max_{D,D_c}  CE(C(F(x_s)), y_s) - trade_off * r(t) * [(1 - omega) L_g + omega * mean_c L_c]
    L_g = [E_s BCE(D(f_s), 1) + E_t BCE(D(f_t), 0)] / 2,   L_c likewise for D_c(g_c f)
    omega = mean_c d_c / (d + mean_c d_c),   d = 2 (1 - 2 error of D),  d_c = 2 (1 - 2 error of D_c)

f (b, width) features, g = softmax(C(f)) (b, C) predictions taken as constants. omega is measured once per epoch on all
visible samples; the error of D_c counts sample i by g_ic.

Evidence: tests/test_adversarial.py (transcription; omega at its ends; equals dann where omega is 0).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import ParallelMLP, mlp
from dazoo.ops.adversarial import domain_bce
from dazoo.ops.games import classwise_domain_bce, domain_error, dynamic_factor
from dazoo.ops.reversal import reverse_gradient


@register
class DAAN(GradientMethod):
    """Dynamic adversarial adaptation network."""

    paper = Paper(
        title="Transfer Learning with Dynamic Adversarial Adaptation Network",
        authors="Chaohui Yu, Jindong Wang, Yiqiang Chen, Meiyu Huang",
        year=2019, url="https://arxiv.org/abs/1909.08184", venue="ICDM",
        deviations="distances come from the discriminators' errors on all visible samples, not from running losses; "
        "omega weighs the classes by their share of the distance, as its meaning in the text and the authors' code do",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    disc_width: int = hp(64, 16, 256, log=True, help="width of the discriminators' hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        w = self.disc_width
        return {"disc": mlp(width, w, w, 1), "discs": ParallelMLP(n_classes, width, w, w, 1)}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        (fs, ls), (ft, lt) = look.source, look.target
        f, p = torch.cat([fs, ft]), torch.cat([ls, lt]).softmax(1)
        marginal = domain_error(net.disc(f), len(fs)).squeeze(0)
        return {"omega": dynamic_factor(marginal, domain_error(self._local(net, f, p), len(fs), p))}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        f = reverse_gradient(torch.cat([fs, ft]), self.trade_off * t.ramp)
        p = torch.cat([ls, lt]).detach().softmax(1)
        omega = b.memory["omega"]
        return {
            "cls": net.criterion(ls, b.ys),
            "dom": (1.0 - omega) * domain_bce(net.disc(f), len(fs)),
            "class_dom": omega * classwise_domain_bce(self._local(net, f, p), len(fs)).mean(),
        }

    def _local(self, net: Net, f: Tensor, p: Tensor) -> Tensor:
        """Logits (n, C) of the classes' discriminators."""
        logits: Tensor = net.discs(p.T[:, :, None] * f).squeeze(-1).T
        return logits
