"""ETD: transport at a cost that attends to predictions. Li, Zhai, Luo, Ge, Ren, CVPR 2020.

    max_v      W(v)                                                                     three steps per iteration
    min_{F,C,A}  CE(C(f_s), y_s) + r(t) [trade_off * W(v) + entropy_weight * mean_j H(softmax(C(f_t,j)))]
    W(v) = mean_i v^{c,reg}(f_s,i) + mean_j v(f_t,j),   v^{c,reg}(f_s,i) = -reg log mean_j exp((v(f_t,j) - c_ij) / reg)
    c_ij = S_ij |f_s,i - f_t,j|,   S_ij = sigmoid(<A_s l_s,i, A_t l_t,j>) over its mean

f = F(x) (b, width), l = C(f) (b, C). v is a perceptron width -> hidden -> hidden -> 1, the Kantorovich
potential of the entropic problem; A_s, A_t, maps of R^C, project scores, which enter as constants. r is
the recipe's ramp.

Evidence: tests/test_deep_transport.py (test_semi_dual_optimum_is_entropic_transport, test_etd_terms,
test_etd_potential_phase_moves_the_potential_alone).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Phase, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.transport import feature_cost


@register
class ETD(GradientMethod):
    """Enhanced transport distance."""

    paper = Paper(
        title="Enhanced Transport Distance for Unsupervised Domain Adaptation",
        authors="Mengxue Li, Yi-Ming Zhai, You-Wei Luo, Peng-Fei Ge, Chuan-Xian Ren",
        year=2020,
        url="https://openaccess.thecvf.com/content_CVPR_2020/html/"
        "Li_Enhanced_Transport_Distance_for_Unsupervised_Domain_Adaptation_CVPR_2020_paper.html",
        venue="CVPR",
        deviations="the semi-dual with one potential, as the paper states it, without its constant reg; the "
        "attention's activation is the sigmoid of the authors' program, divided by its mean; scores enter it as "
        "constants and it learns 100 times slower than the "
        "rest, since it enters a cost that is minimised and would learn to look away "
        "from every pair; the ramp stands in for training on the source first",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    # the potential's gradient nearly cancels at first, and Adam makes whole steps of its rounding error
    stackable: ClassVar[bool] = False
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase("potential", update=("kantorovich",), repeat=3),
        Phase("losses", update=("body", "head", "attend_s", "attend_t")),
    )

    trade_off: float = hp(0.5, 0.05, 25.0, log=True, help="weight of the transport distance")
    entropy_weight: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the target entropy")
    reg: float = hp(0.1, 0.01, 1.0, log=True, help="entropic regularisation", positive=True)
    hidden: int = hp(256, 32, 512, log=True, help="width of the potential's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {
            # without a last bias: a constant changes nothing, and its gradient would be rounding error
            "kantorovich": nn.Sequential(
                mlp(width, self.hidden, self.hidden, final=True), nn.Linear(self.hidden, 1, bias=False)
            ),
            "attend_s": _narrow(n_classes),
            "attend_t": _narrow(n_classes),
        }

    def part_lr(self) -> dict[str, float]:
        return {"attend_s": 0.01, "attend_t": 0.01}

    def cost(self, net: Net, fs: Tensor, ft: Tensor) -> Tensor:
        """Attended squared distances c (n, m)."""
        ls, lt = net.head(fs).detach(), net.head(ft).detach()
        attention = (net.attend_s(ls) @ net.attend_t(lt).T).sigmoid()
        return attention / attention.mean().clamp_min(1e-12) * (feature_cost(fs, ft) + 1e-12).sqrt()

    def distance(self, net: Net, fs: Tensor, ft: Tensor) -> Tensor:
        """W of the present potential (0-d)."""
        return semi_dual(self.cost(net, fs, ft), net.kantorovich(ft).squeeze(1), self.reg)

    def potential(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt, b.held)
        if b.held.get("etd", [None])[0] is not fs:  # the cost is the same in all steps of the potential
            with torch.no_grad():
                b.held["etd"] = fs, self.cost(net, fs, ft)
        v = net.kantorovich(ft.detach()).squeeze(1)
        return {"potential": -semi_dual(b.held["etd"][1], v, self.reg)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt, b.held)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "transport": self.trade_off * t.ramp * self.distance(net, fs, ft),
            "ent": self.entropy_weight * t.ramp * entropy_of_logits(net.head(ft)).mean(),
        }


def _narrow(n: int) -> nn.Linear:
    """A map of R^n whose small weights make all pairs attend alike at first."""
    layer = nn.Linear(n, n)
    nn.init.normal_(layer.weight, std=0.05)
    nn.init.zeros_(layer.bias)
    return layer


def smooth_transform(cost: Tensor, v: Tensor, reg: float | Tensor) -> Tensor:
    """Soft c-transform of a potential, ``-reg log mean_j exp((v_j - c_ij) / reg)``: cost (n, m), v (m,) -> (n,).

    Tends to ``min_j (c_ij - v_j)`` as ``reg`` goes to 0. Genevay et al., NIPS 2016, https://arxiv.org/abs/1605.08527
    """
    return -reg * (torch.logsumexp((v[None, :] - cost) / reg, 1) - math.log(cost.shape[1]))


def semi_dual(cost: Tensor, v: Tensor, reg: float | Tensor) -> Tensor:
    """Value of a potential, ``mean_i v^{c,reg}_i + mean_j v_j``: cost (n, m), v (m,).

    Its maximum over v is ``min_P <P, c> + reg KL(P | a b^T)`` over plans with uniform marginals a, b. Concave in v, and
    unchanged by a constant added to v. Genevay et al., NIPS 2016, https://arxiv.org/abs/1605.08527
    """
    return smooth_transform(cost, v, reg).mean() + v.mean()
