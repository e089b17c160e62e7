"""AADA: adversarial alignment whose discriminator also says which samples to ask for. Su et al., WACV 2020.

    min_{F,C} max_D  CE(C(F(x_s)), y_s) + few_weight * CE(C(F(x_a)), y_a)
                     - trade_off * [BCE(D(F(x_s)), 1) + BCE(D(F(x_t)), 0)] / 2        from the model of DANN
    asked:           the n rows of largest  (1 - D_i) / D_i * H(p_i),   p_i = softmax(C(F(x_t,i))) (C,)

D_i in (0, 1) is the probability that F(x_t,i) is from the source: rows unlike it (diversity) and unsure. (x_a, y_a) are
the target samples asked for so far; D descends its loss at full rate, F ascends it scaled by trade_off.

Evidence: tests/test_active.py (terms; rows equal a transcription), tests/test_parity.py (active_aada).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from dazoo.core.hparam import configure, hp
from dazoo.core.paper import Paper
from dazoo.methods.active._active import Active, at
from dazoo.methods.adversarial.dann import DANN
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.ops import active
from dazoo.ops.adversarial import domain_bce
from dazoo.ops.reversal import reverse_gradient


@register
class AADA(Active):
    """Active adversarial domain adaptation."""

    paper = Paper(
        title="Active Adversarial Domain Adaptation",
        authors="Jong-Chyi Su, Yi-Hsuan Tsai, Kihyuk Sohn, Buyu Liu, Subhransu Maji, Manmohan Chandraker", year=2020,
        url="https://arxiv.org/abs/1904.07848", venue="WACV",
        deviations="the discriminator is DANN's, without ramp since it starts trained; the target's entropy is not "
        "minimised, as the authors of CLUE do in their program of it",
    )  # fmt: skip
    start = "dann"
    uses_target = True

    trade_off: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the reversed gradient")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        parts: dict[str, nn.Module] = configure(DANN, {}).build(width, n_classes)
        return parts

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        d = net.disc(reverse_gradient(torch.cat([fs, ft]), self.trade_off)).squeeze(-1)
        return {**self.supervised(net, fs, b), "dom": domain_bce(d, len(fs))}

    def pick(self, net: Net, look: Look, rows: Tensor, n: int, gen: Generator) -> Tensor:
        domain = net.disc(look.target[0]).squeeze(-1).cpu()[rows]
        return rows[active.highest(active.aada(at(look, rows)[1], domain), n)]
