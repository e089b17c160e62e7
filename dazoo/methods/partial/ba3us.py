"""BA3US: source samples stand in for the classes that the target lacks, and sure mistakes are punished. Liang, Wang,
Hu, He, Feng, ECCV 2020.

    min_{F,C} max_D  sum_i w_{y_i} CE(C(f_i), y_i) / sum_i w_{y_i} + entropy_weight * mean_j H(p_j)
        + complement_weight * sum_i u_i sum_{k != y_i} c_ik ln c_ik / (ln(C - 1) sum_i u_i)
        - trade_off * r(t) * [sum_i v_i (BCE(D_i, 1) + m BCE(D_i, 0)) + sum_j v_j BCE(D_j, 0)] / (2 + m)
    w = mean over all target samples of p,   u_i = w_{y_i} (1 - p_i,y_i)^alpha,   c_ik = p_ik / (1 - p_i,y_i)

i over the source batch, j over the target's, f = F(x), D_i = D(f_i), p = softmax(C(f)) (b, C). v_i is w_{y_i} (1 +
e^-H(p_i)) scaled to sum 1 over the source rows, v_j is 1 + e^-H(p_j) over the target's. Source rows stand on the
target's side too, in the measure m, which falls from borrow to 0 over training. w (C,) is 1/C in the first pass over
the data and renewed after every pass. D is a perceptron width -> disc_width -> disc_width -> 1.

Evidence: tests/test_parity.py (pda_ba3us_complement, pda_ba3us_adv), tests/test_partial.py (transcription; equal
weights and nothing borrowed give the unweighted loss).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.entropy import entropy, entropy_of_logits
from dazoo.ops.partial import borrowed_domain_bce, complement_entropy, mean_prediction, weighted_cross_entropy
from dazoo.ops.reversal import reverse_gradient


@register
class BA3US(GradientMethod):
    """Balanced adversarial alignment and adaptive uncertainty suppression."""

    paper = Paper(
        title="A Balanced and Uncertainty-aware Approach for Partial Domain Adaptation",
        authors="Jian Liang, Yunbo Wang, Dapeng Hu, Ran He, Jiashi Feng", year=2020,
        url="https://arxiv.org/abs/2003.02541", venue="ECCV",
        deviations="all source rows of a batch stand on the target's side in the measure m, in the authors' program "
        "a share m of as many others; m falls with every iteration; class weights are renewed after every pass over "
        "the data; complement_weight as for Office-Home (5 for Office-31); the last model is taken, in the program the "
        "one of least entropy",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial"}, n_sources={"one", "many"})
    neutral = None

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    complement_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the complement's entropy")
    entropy_weight: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the target's entropy")
    alpha: float = hp(1.0, 0.0, 4.0, help="how much more unsure source samples count in the complement's entropy")
    borrow: float = hp(0.25, 0.05, 0.5, log=True, help="share of the source that stands in for the target at first")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"disc": mlp(width, self.disc_width, self.disc_width, 1)}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        share = mean_prediction(look.target[1])
        return {"share": share if look.step else torch.full_like(share, 1.0 / share.shape[0])}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        w, n = b.memory["share"][b.ys], fs.shape[0]
        sure = 1.0 + torch.exp(-entropy(torch.cat([ls, lt]).detach().softmax(1)))
        rows = sure * torch.cat([w, torch.ones_like(sure[n:])])
        d = net.disc(reverse_gradient(torch.cat([fs, ft]), self.trade_off * t.ramp)).squeeze(-1)
        m = self.borrow * (1.0 - t.fraction)
        return {
            "cls": weighted_cross_entropy(ls, b.ys, w),
            "dom": borrowed_domain_bce(torch.cat([d, d[:n]]), n, ft.shape[0], torch.cat([rows, m * rows[:n]]), m),
            "complement": self.complement_weight * complement_entropy(ls, b.ys, w, self.alpha),
            "ent": self.entropy_weight * entropy_of_logits(lt).mean(),
        }
