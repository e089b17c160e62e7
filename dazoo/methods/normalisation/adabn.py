"""AdaBN: batch normalisation with the target's statistics. Li, Wang, Shi, Liu, Hou, 2016.

    min_{F,C}  CE(C(F(x_s)), y_s)                       then, for target samples, in every batch normalisation
    z_c = gamma_c (a_c - mean_c) / sqrt(var_c + eps) + beta_c,   mean, var of a (n_t, C, ...) over the target

gamma, beta and all other weights are the source's; source samples keep the source's statistics. A body without batch
normalisation gets what is left of the idea: each feature of the target is moved and scaled to the source's mean and
deviation before the head, f' = (f - mean_t) / dev_t * dev_s + mean_s (width,).

Evidence: tests/test_normalisation.py (statistics equal a layer-by-layer transcription; an affine shift of the inputs is
undone exactly; source predictions stay source-only's).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.domain_norm import FeatureMatch, TargetNorms, norms_of


@register
class AdaBN(GradientMethod):
    """Adaptive batch normalisation."""

    paper = Paper(
        title="Revisiting Batch Normalization For Practical Domain Adaptation",
        authors="Yanghao Li, Naiyan Wang, Jianping Shi, Jiaying Liu, Xiaodi Hou",
        year=2016, url="https://arxiv.org/abs/1603.04779", venue="arXiv",
        deviations="statistics are means over chunks of some 256 target samples; features are matched to the source's "
        "moments where there is no batch normalisation",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    targets = frozenset({"classes", "values"})
    uses_target = False
    own_norms = True

    def setup(self, net: Net) -> None:
        if norms_of(net.body):
            net.add_module("target_norms", TargetNorms(net.body).requires_grad_(False))
        else:
            net.add_module("match", FeatureMatch(net.body.width))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        return {"cls": net.criterion(net.head(net.body(b.xs)), b.ys)}

    def finish(self, net: Net, look: Look) -> None:
        if hasattr(net, "target_norms"):
            net.target_norms.estimate(net.body, look.inputs("target"))
        else:
            fs, ft = (torch.cat([net.body(x) for x in look.inputs(part)]) for part in ("source", "target"))
            net.match.set(fs, ft)

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.target_norms(net.body, x) if hasattr(net, "target_norms") else net.match(net.body(x))
        return Prediction(net.head(features), features)

    def predict_source(self, net: Net, x: Tensor) -> Prediction:
        return super().predict(net, x)
