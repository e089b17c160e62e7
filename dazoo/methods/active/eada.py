"""EADA: ask for samples of high free energy, and bring the target's down to the source's. Xie et al., AAAI 2022.

    min_{F,C}  CE(C(F(x_s)), y_s) + few_weight * CE(C(F(x_a)), y_a)
               + trade_off * 1/b sum_i max(0, E(x_t,i) - mean_j E(x_s,j))             from the source model
    asked:     of the share first_share of largest E the n rows of smallest s_(1) - s_(2)

E(x) = -log sum_c exp(s_c), s = C(F(x)) (C,) the scores, s_(1) and s_(2) the two largest; the mean of the source's batch
stands still. Cross-entropy is the energy model's likelihood. (x_a, y_a) are the target samples asked for so far.

Evidence: tests/test_active.py (terms; rows equal a transcription).
"""

from __future__ import annotations

from torch import Generator, Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.active._active import Active, at
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.ops import active


@register
class EADA(Active):
    """Energy-based active domain adaptation."""

    paper = Paper(
        title="Active Learning for Domain Adaptation: An Energy-based Approach",
        authors="Binhui Xie, Longhui Yuan, Shuang Li, Chi Harold Liu, Xinjing Cheng, Guoren Wang", year=2022,
        url="https://arxiv.org/abs/2112.01406", venue="AAAI",
        deviations="temperature 1, as in the authors' program; the bound is the mean of the batch, there a moving "
        "average; trade_off is that for Office (VisDA-2017: 0.0005)",
    )  # fmt: skip
    uses_target = True

    trade_off: float = hp(0.01, 0.0005, 0.1, log=True, help="weight of the alignment of free energies")
    first_share: float = hp(
        0.5, 0.1, 1.0, help="share of the target of highest free energy that is asked from", most=1.0
    )

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        energy = active.energy_alignment(net.head(fs), net.head(ft))
        return {**self.supervised(net, fs, b), "energy": self.trade_off * energy}

    def pick(self, net: Net, look: Look, rows: Tensor, n: int, gen: Generator) -> Tensor:
        return rows[active.eada(at(look, rows)[1], n, self.first_share, len(look.target[1]))]
