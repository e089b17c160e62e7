"""APE: attract, perturb and explore. Taekyung Kim, Changick Kim, ECCV 2020.

    min_{F,W}  [CE(z(x_s), y_s) + CE(z(x_f), y_f)] / 2
        + trade_off * MMD^2(u(x_s) u(x_f), u(x_t))                                                attract
        + explore_weight * sum_i 1[H_i < threshold ln C] CE(z(x_t,i), argmax p_i) / sum_i 1[...]  explore
        + perturb_weight * 1/(b C) sum_i KL(stop(p(x_i)) | p(x_i + r_i))                          perturb

    z(x) = W F(x) / (|F(x)| temperature),  p = softmax(z),  u(x) = F(x) / |F(x)|,  H_i the entropy of p(x_t,i) in nats
    r_i = radius * mean|x| * g_i / |g_i|,  g_i = d H(p(x_i)) / d x_i        for labelled and unlabelled target samples

MMD^2 is the biased estimate with the kernel sum_s exp(-|u - v|^2 / (2 s^2)), s in 1, 2, 5, 10. Attraction brings
unlabelled target samples to the labelled ones of both domains, exploration sharpens those that are already sure,
perturbation asks for the same answer where a sample would become most uncertain.

Evidence: tests/test_semi_supervised.py (terms equal transcriptions; no step of that length raises the entropy more).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.semi_supervised._cosine import FewLabels
from dazoo.nets.net import Net
from dazoo.nets.parts.domain_norm import still_norms
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.kernels import gaussian, squared_distances
from dazoo.ops.mmd import mmd
from dazoo.ops.perturb import entropy_direction, kl_of_logits


@register
class APE(FewLabels):
    """Less discrepancy between labelled and unlabelled target samples."""

    paper = Paper(
        title=(
            "Attract, Perturb, and Explore: Learning a Feature Alignment Network for Semi-supervised Domain Adaptation"
        ),
        authors="Taekyung Kim, Changick Kim", year=2020, url="https://arxiv.org/abs/2007.09375", venue="ECCV",
        deviations="the threshold is a share of ln C (the authors' 0.5 nats are a tenth of it for 126 classes) and the "
        "radius one of the samples' mean norm (their 25 is 0.06 of an image's); the direction is taken at the sample "
        "itself, not at a random place beside it; one step of the optimiser, in their program two after each other",
    )  # fmt: skip
    toy_hparams: ClassVar[dict[str, Any]] = {"threshold": 0.5}

    trade_off: float = hp(10.0, 1.0, 100.0, log=True, help="weight of the attraction")
    explore_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the exploration")
    perturb_weight: float = hp(10.0, 1.0, 100.0, log=True, help="weight of the perturbation")
    threshold: float = hp(0.1, 0.02, 0.5, log=True, help="entropy below which a sample is sure, as a share of ln C")
    radius: float = hp(0.06, 0.02, 0.5, log=True, help="length of the perturbation relative to a sample's mean norm")
    temperature: float = hp(0.05, 0.02, 0.2, log=True, help="of the cosine classifier", positive=True)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None
        (fs, ft), ff = net.features(b.xs, b.xt), net.body(b.xf)
        known, open_ = normalize(torch.cat([fs, ff]), dim=-1), normalize(ft, dim=-1)
        scores = self.scores(net, ft)
        sure = (entropy_of_logits(scores).detach() < self.threshold * math.log(scores.shape[-1])).to(scores.dtype)
        explored = sure * cross_entropy(scores, scores.detach().argmax(-1), reduction="none")
        return {
            **self.labelled(net, b, fs, ff),
            "attract": self.trade_off * mmd(known, open_, _kernel),
            "explore": self.explore_weight * explored.sum() / sure.sum().clamp_min(1.0),
            "perturb": self.perturb_weight * self._moved(net, torch.cat([b.xf, b.xt])) / scores.shape[-1],
        }

    def _moved(self, net: Net, x: Tensor) -> Tensor:
        """Mean divergence of the predictions on ``x`` from those a step up their entropy."""

        def answer(z: Tensor) -> Tensor:
            return self.scores(net, net.body(z))

        length = self.radius * x.flatten(1).norm(dim=1).mean()
        with still_norms(net.body):
            step = length * entropy_direction(answer, x)
            return kl_of_logits(answer(x).detach(), answer(x + step))


def _kernel(u: Tensor) -> Tensor:
    """Sum of Gaussian kernels (n, n) of unit rows u (n, width), from narrow to nearly linear."""
    sq = squared_distances(u)
    return sum((gaussian(sq, s) for s in (1.0, 2.0, 5.0, 10.0)), torch.zeros_like(sq))
