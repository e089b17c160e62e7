"""STN: a soft transfer network. Yao, Zhang, Li and Ye, ACM Multimedia 2019.

    min  1/2 [CE(h(z_s), y_s) + CE(h(z_f), y_f)] + trade_off (|mean z_s - mean z_t|^2 + sum_c |m_s^c - m_t^c|^2)
    m_t^c = (sum_{f of class c} z_f + r sum_i p_ic z_t,i) / (n_f^c + r sum_i p_ic),      p_i = softmax(h(z_t,i))
    z = F(x) / |F(x)|

with bodies F_s and F_t of one width, a head h that both share, z_t of labelled and unlabelled target samples, and r in
[0, 1] the share of training that is over, so that soft labels of the target count the more the later. m_s^c are the
means of the source's classes in the batch; a class that either side lacks is left out.

Evidence: tests/test_heterogeneous.py::test_soft_mmd_equals_its_transcription.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.classwise import class_means, one_hot


@register
class STN(GradientMethod):
    """Soft transfer network."""

    paper = Paper(
        title="Heterogeneous Domain Adaptation via Soft Transfer Network",
        authors="Yuan Yao, Yu Zhang, Xutao Li, Yunming Ye", year=2019, url="https://arxiv.org/abs/1908.10552",
        venue="ACM Multimedia",
        deviations="batches, in the paper all samples in each step; labelled target samples weigh as much as the "
        "source's batch, in the authors' program each as much as a source sample; layers are the recipe's, "
        "in the authors' program two leaky ones for each body; no gain at the defaults on SURF and deep "
        "features: with the authors' weight of the distance, the source hardly moves the target's body",
    )  # fmt: skip
    handles = Handles(marked="few", spaces="own")

    trade_off: float = hp(0.001, 1e-4, 1.0, log=True, help="weight of the distance between means")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.yf is not None
        fs, ft = (normalize(f, dim=1) for f in net.features(b.xs, b.xt))
        ff = normalize(net.body(b.xf), dim=1)
        n = net.head.weight.shape[0]
        ws, wf = one_hot(b.ys, n, fs.dtype), one_hot(b.yf, n, fs.dtype)
        gap = soft_mmd(fs, ws, ff, wf, ft, torch.softmax(net.head(ft), 1), t.fraction)
        return {
            "cls": 0.5 * net.criterion(net.head(fs), b.ys),
            "few": 0.5 * net.criterion(net.head(ff), b.yf),
            "mmd": self.trade_off * gap,
        }

    def predict(self, net: Net, x: Tensor) -> Prediction:
        return self._answer(net, net.body(x))

    def predict_source(self, net: Net, x: Tensor) -> Prediction:
        return self._answer(net, net.of_source(x))

    def _answer(self, net: Net, features: Tensor) -> Prediction:
        z = normalize(features, dim=1)
        return Prediction(net.head(z), z)


def soft_mmd(fs: Tensor, ws: Tensor, ff: Tensor, wf: Tensor, ft: Tensor, pt: Tensor, ramp: float | Tensor) -> Tensor:
    """|mean fs - mean [ff; ft]|^2 + sum_c |m_s^c - m_t^c|^2, m_t^c of labels ``wf`` (k, C) and of ``ramp`` times the
    probabilities ``pt`` (m, C): fs (n, d) with labels ws (n, C), ff (k, d), ft (m, d) -> ()."""
    target = torch.cat([ff, ft])
    of_source, there = class_means(fs, ws)
    of_target, here = class_means(target, torch.cat([wf, ramp * pt]))
    apart = (of_source - of_target).square().sum(1) * there * here
    return (fs.mean(0) - target.mean(0)).square().sum() + apart.sum()
