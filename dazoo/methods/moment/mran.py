"""MRAN: match classes in several representations of a sample. Zhu, Zhuang, Wang, Chen, Shi, Wu, He, NN 2019.

    min_{F,C,G}  CE(l_s, y_s) + trade_off * r(t) * 1/(K + 1) sum_{k=0}^K CMMD(h_k,s, h_k,t)
    l = C(f) + branch_weight * sum_k C_k(h_k),   h_0 = f = F(x) (b, width),   h_k = G_k(f) (b, branch_width)
    CMMD = 1/|S| sum_{c in S} | mean_{i: y_i = c} phi(h_s,i) - mean_{j: yhat_j = c} phi(h_t,j) |^2

G_k is a perceptron of k layers, so the branches see the sample through functions of different depth; l is a linear
classifier on all representations side by side. yhat are predicted target classes, S those that both batches hold, the
kernel is a sum of five Gaussians around the mean squared distance, r the recipe's ramp.

Evidence: tests/test_moment_classes.py (test_mran_terms, test_mran_scores_are_linear_in_all_representations).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.classwise import lmmd_weights, one_hot
from dazoo.ops.kernels import multi_gaussian, squared_distances


@register
class MRAN(GradientMethod):
    """Multi-representation adaptation network."""

    paper = Paper(
        title="Multi-Representation Adaptation Network for Cross-domain Image Classification",
        authors="Yongchun Zhu, Fuzhen Zhuang, Jindong Wang, Jingwu Chen, Zhiping Shi, Wenjuan Wu, Qing He", year=2019,
        url="https://arxiv.org/abs/2201.01002", venue="Neural Networks (Journal)",
        deviations="the branches are perceptrons on the features instead of convolutions on the last feature map; the "
        "mean over representations instead of their sum; the weight ends at 0.1 instead of 1, at which the biased "
        "estimate shrinks a network trained from scratch until it no longer fits the source; the bandwidth is a mean "
        "over all pairs of rows, in the authors' program over pairs of different rows",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(0.1, 0.01, 10.0, log=True, help="weight of the conditional MMDs, reached by the ramp")
    branch_weight: float = hp(1.0, 0.1, 2.0, help="scale of the branches' part of the scores")
    branches: int = hp(3, 1, 4, help="number K of further representations")
    branch_width: int = hp(64, 16, 256, log=True, help="width of a further representation")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        depths = range(self.branches)
        return {
            "branch": nn.ModuleList(mlp(width, *[self.branch_width] * (k + 1), final=True) for k in depths),
            "branch_head": nn.ModuleList(nn.Linear(self.branch_width, n_classes) for _ in depths),
        }

    def scores(self, net: Net, features: Tensor) -> Tensor:
        return self._both(net, features)[0]

    def _both(self, net: Net, f: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores (n, C) and the further representations (n, branch_width) of features f (n, width)."""
        hidden = [branch(f) for branch in net.branch]
        extra = torch.stack([head(h) for head, h in zip(net.branch_head, hidden)]).sum(0)
        return net.head(f) + self.branch_weight * extra, hidden

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        (ls, hs), (lt, ht) = self._both(net, fs), self._both(net, ft)
        c = ls.shape[1]
        weights = lmmd_weights(one_hot(b.ys, c, fs.dtype), one_hot(lt.argmax(1), c, ft.dtype))
        layers = (torch.cat(pair) for pair in zip([fs, *hs], [ft, *ht]))
        distances = [(multi_gaussian(squared_distances(h)) * weights).sum() for h in layers]
        return {
            "cls": net.criterion(ls, b.ys),
            "cmmd": self.trade_off * t.ramp * torch.stack(distances).mean(),
        }
