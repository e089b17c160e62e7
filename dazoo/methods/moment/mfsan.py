"""MFSAN: a feature map and a classifier for every source, which agree on the target. Zhu, Zhuang, Wang, AAAI 2019.

    min_{F,H,C}  CE(C_i(h_i), y_s) + r(t) * [ trade_off * 1/N sum_i MMD^2_k(h_i,s of source i, h_i,t)
                                             + agree_weight * 2/(N (N-1)) sum_{i<j} mean |p_i - p_j| ]

h_i = H_i(F(x)) (b, branch_width) and C_i belong to source i of N: each source sample is classified by its own pair,
each target sample by all. p_i = softmax(C_i(h_i,t)) (b, C); predictions are the mean of the p_i. k is a sum of five
Gaussians around the mean squared distance, r the recipe's ramp.

Evidence: tests/test_moment_structure.py (test_mfsan_terms, test_mfsan_predicts_the_mean_probability,
test_mfsan_sources_train_their_own_branch).
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.classwise import one_hot
from dazoo.ops.sources import weighted_mmd


@register
class MFSAN(GradientMethod):
    """Multiple feature spaces adaptation network."""

    paper = Paper(
        title="Aligning Domain-Specific Distribution and Classifier for Cross-Domain Classification from "
        "Multiple Sources",
        authors="Yongchun Zhu, Fuzhen Zhuang, Deqing Wang",
        year=2019, url="https://arxiv.org/abs/2201.01003", venue="AAAI",
        deviations="the domain-specific feature maps are single layers; the MMD is the unbiased estimate, divided by "
        "the number of sources; the bandwidth is a mean over all pairs of rows, in the authors' program over pairs of "
        "different rows",
    )  # fmt: skip
    handles = Handles(n_sources="many")

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the MMDs, reached by the ramp")
    agree_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the classifiers' disagreement")
    branch_width: int = hp(64, 16, 256, log=True, help="width of a source's own features")

    def setup(self, net: Net) -> None:
        """A branch and a classifier per source; the shared head is not used."""
        width, n_classes = net.head.in_features, net.head.out_features
        sources = range(net.n_sources)
        net.add_module("branch", nn.ModuleList(mlp(width, self.branch_width, final=True) for _ in sources))
        net.add_module("own_head", nn.ModuleList(nn.Linear(self.branch_width, n_classes) for _ in sources))
        net.head.requires_grad_(False)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        w = one_hot(b.ds, net.n_sources, fs.dtype)
        own, distances, p = torch.zeros_like(net.own_head[0](net.branch[0](fs))), [], []
        for i, (branch, head) in enumerate(zip(net.branch, net.own_head)):
            hs, ht = branch(fs), branch(ft)
            own = own + w[:, i : i + 1] * head(hs)
            distances.append(weighted_mmd(hs, ht, w[:, i]))
            p.append(head(ht).softmax(1))
        gaps = [(a - c).abs().mean() for a, c in itertools.combinations(p, 2)]
        return {
            "cls": net.criterion(own, b.ys),
            "mmd": self.trade_off * t.ramp * torch.stack(distances).mean(),
            "agree": self.agree_weight * t.ramp * torch.stack(gaps).mean(),
        }

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        p = torch.stack([head(branch(features)).softmax(1) for branch, head in zip(net.branch, net.own_head)])
        return Prediction(p.mean(0).clamp_min(1e-30).log(), features)
