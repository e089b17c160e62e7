"""DSBN: domain-specific batch normalisation under MSTN's losses. Chang, You, Seo, Kwak, Han, CVPR 2019.

    MSTN's objective (adversarial alignment, distance of class centroids) with F_s(x_s) and F_t(x_t) in the place of
    F(x_s) and F(x_t); F_s, F_t (b, width) share all weights but in every batch normalisation of the body
    z_c = gamma_c^d (a_c - mean_c^d) / sqrt(var_c^d + eps) + beta_c^d,   d = s or t

each domain has its own affine parameters and statistics. A body without batch normalisation gets what is left of the
idea: each target feature is moved and scaled to the source's mean and deviation, f' = (f - mean_t) / dev_t * dev_s +
mean_s (width,), by the moments of the batches in training and running ones after.

Evidence: tests/test_normalisation.py (each domain moves its own statistics and affine parameters only; features equal a
transcription), tests/test_selftraining_teachers.py (MSTN's terms).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, register
from dazoo.methods.selftraining.mstn import MSTN
from dazoo.nets.net import Net
from dazoo.nets.parts.domain_norm import FeatureMatch, TargetNorms, norms_of


@register
class DSBN(MSTN):
    """Domain-specific batch normalisation."""

    family = "normalisation"
    own_norms = True
    paper = Paper(
        title="Domain-Specific Batch Normalization for Unsupervised Domain Adaptation",
        authors="Woong-Gi Chang, Tackgeun You, Seonguk Seo, Suha Kwak, Bohyung Han",
        year=2019, url="https://arxiv.org/abs/1906.03950", venue="CVPR",
        deviations="the first of the paper's two stages; the second, training on its pseudo-labels, is left out; "
        "features are matched to the source's moments where there is no batch normalisation; averages of mstn, whose "
        "as_program has those of its program",
    )  # fmt: skip

    def setup(self, net: Net) -> None:
        if norms_of(net.body):
            net.add_module("target_norms", TargetNorms(net.body))
        else:
            net.add_module("match", FeatureMatch(net.body.width))

    def features(self, net: Net, b: Batch) -> tuple[Tensor, Tensor]:
        fs = net.body(b.xs)
        if hasattr(net, "target_norms"):
            return fs, net.target_norms(net.body, b.xt)
        return fs, net.match(net.body(b.xt), fs)

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.target_norms(net.body, x) if hasattr(net, "target_norms") else net.match(net.body(x))
        return Prediction(net.head(features), features)

    def predict_source(self, net: Net, x: Tensor) -> Prediction:
        return super().predict(net, x)
