"""CDAC: cross-domain adaptive clustering. Jichang Li, Guanbin Li, Yemin Shi, Yizhou Yu, CVPR 2021.

    min_{F,W}    [CE(z(x_s), y_s) + CE(z(x_f), y_f)] / 2                      z(x) = W F(x) / (|F(x)| temperature)
    min_F max_W  trade_off * min(1, C / 126) * -1/b^2 sum_ij s_ij log(p_i . p'_j) + (1 - s_ij) log(1 - p_i . p'_j)
    min_{F,W}    pseudo_weight * 1/b sum_i 1[max p_i >= threshold] CE(z(x''_i), argmax p_i)
               + consistency_weight * exp(-5 (1 - min(1, t / ramp))^2) * 1/(b C) sum_i |p'_i - p''_i|^2

p, p', p'' (b, C) are softmax(z) of unlabelled target samples x and of two strong views x' and x''; s_ij = 1 where the
``top`` largest entries of F(x_i) and F(x_j) are the same; t is the fraction of training. The first unlabelled term is
minimax by gradient reversal, as in ``mme``. It pushes apart what is not recognised as similar, of which every C-th pair
is of one class: hence less of it where classes are few.

Evidence: tests/test_semi_supervised.py (terms equal transcriptions in loops; body and head get opposite gradients).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.semi_supervised._cosine import FewLabels
from dazoo.nets.net import Net
from dazoo.ops.reversal import reverse_gradient
from dazoo.ops.selftraining import fixmatch, sigmoid_ramp
from dazoo.ops.semi_supervised import pairwise_clusters, same_largest

MANY = 126  # classes of the DomainNet subset for which the authors give the weights


@register
class CDAC(FewLabels):
    """Adversarial adaptive clustering with pseudo-labels and consistency."""

    paper = Paper(
        title="Cross-Domain Adaptive Clustering for Semi-Supervised Domain Adaptation",
        authors="Jichang Li, Guanbin Li, Yemin Shi, Yizhou Yu",
        year=2021, url="https://arxiv.org/abs/2104.09415", venue="CVPR",
        deviations="the clustering's weight is the authors' for 126 classes and falls with their number, since more of "
        "the pairs that it pushes apart are then of one class (at the full weight, ten classes collapse, "
        "which was seen beside target accuracies of two pairs of Office-Caltech10 before the weight was scaled, so its "
        "row there is no blind one); means over "
        "pairs and entries as in the authors' program; labelled and unlabelled terms in one step of the optimiser, "
        "there in two, with twice as many unlabelled samples; strong views of vectors are noise and masked entries",
    )  # fmt: skip
    strong_views = 2
    stackable = False  # which entries are largest is decided by rounding where two are nearly equal
    toy_hparams: ClassVar[dict[str, Any]] = {"threshold": 0.5}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the adversarial clustering")
    pseudo_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the pseudo-labelled strong views")
    consistency_weight: float = hp(30.0, 1.0, 100.0, log=True, help="largest weight of the strong views' agreement")
    threshold: float = hp(0.95, 0.5, 0.99, help="least confidence of a pseudo-label")
    top: int = hp(5, 1, 10, help="largest features that similar samples share", structural=True)
    ramp: float = hp(0.4, 0.1, 1.0, help="fraction of training in which consistency reaches its weight", positive=True)
    temperature: float = hp(0.05, 0.02, 0.2, log=True, help="of the cosine classifier", positive=True)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.xt_strong is not None and b.xt_more is not None
        views = torch.cat([b.xt, b.xt_strong, b.xt_more[:, 0]])
        fs, every = net.features(b.xs, views)
        weak, one, _ = every.chunk(3)
        p, q = (self.scores(net, reverse_gradient(f, 1.0)).softmax(-1) for f in (weak, one))
        plain, first, second = self.scores(net, every).chunk(3)
        agreed = mse_loss(first.softmax(-1), second.softmax(-1))
        clusters = min(1.0, plain.shape[-1] / MANY) * pairwise_clusters(p, q, same_largest(weak, self.top))
        return {
            **self.labelled(net, b, fs, net.body(b.xf)),
            "cluster": -self.trade_off * clusters,
            "pseudo": self.pseudo_weight * fixmatch(second, plain, self.threshold),
            "consistency": self.consistency_weight * sigmoid_ramp(t.fraction, self.ramp).to(agreed) * agreed,
        }
