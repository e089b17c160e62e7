"""DeCoTa: co-training of two tasks, semi-supervised learning and unsupervised adaptation. Yang et al., ICCV 2021.

    f: min CE(f(x_f), y_f) + trade_off * mean_{i: max g_i >= threshold} M(f, l; (x_f,i, y_f,i), (x_t,i, argmax g_i))
    g: min CE(g(x_s), y_s) + trade_off * mean_{i: max f_i >= threshold} M(g, 1 - l; (x_s,i, y_s,i), (x_t,i, argmax f_i))
    M(n, l; (x, y), (x', y')) = l CE(n(l x + (1 - l) x'), y) + (1 - l) CE(n(l x + (1 - l) x'), y')

f (body and head) learns from the few labelled target samples, g (a copy) from the source, each with the sure labels of
the other: f_i, g_i (C,) are their probabilities of x_t,i, without gradient. l ~ Uniform(0, 1) is drawn once per step.
Both start from ``s_plus_t``; the mean of their probabilities answers.

Evidence: tests/test_semi_supervised.py (terms equal transcriptions; each network is taught by the other alone).
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, normalize

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.semi_supervised._cosine import FewLabels
from dazoo.nets.net import Net
from dazoo.ops.selftraining import confident, step_draws


@register
class DeCoTa(FewLabels):
    """Deep co-training with task decomposition."""

    paper = Paper(
        title="Deep Co-Training with Task Decomposition for Semi-Supervised Domain Adaptation",
        authors=(
            "Luyu Yang, Yan Wang, Mingfei Gao, Abhinav Shrivastava, Kilian Q. Weinberger, Wei-Lun Chao, Ser-Nam Lim"
        ),
        year=2021, url="https://arxiv.org/abs/2007.12684", venue="ICCV",
        deviations="row i of the labelled batch is mixed with row i of the unlabelled one; the share of a mixture "
        "belongs to the step, the same for every seed; the start is s_plus_t for both networks",
    )  # fmt: skip
    start = "s_plus_t"
    stackable = False
    toy_hparams: ClassVar[dict[str, Any]] = {"threshold": 0.4}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the mixtures")
    threshold: float = hp(0.5, 0.3, 0.95, help="least confidence of a label that is passed on")
    temperature: float = hp(0.05, 0.02, 0.2, log=True, help="of the cosine classifiers", positive=True)

    def setup(self, net: Net) -> None:
        net.add_module("body_s", copy.deepcopy(net.body))
        net.add_module("head_s", copy.deepcopy(net.head))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.yf is not None
        l = float(step_draws(t.step, 2021).beta(1.0, 1.0))  # noqa: E741
        with torch.no_grad():
            taught_f = confident(self._source_task(net, b.xt).softmax(-1), self.threshold)
            taught_g = confident(self._target_task(net, b.xt).softmax(-1), self.threshold)
        few, source = self._target_task(net, b.xf), self._source_task(net, b.xs)
        mixed_f = self._target_task(net, l * b.xf + (1.0 - l) * b.xt)
        mixed_g = self._source_task(net, (1.0 - l) * b.xs + l * b.xt)
        return {
            "few": net.criterion(few, b.yf),
            "cls": net.criterion(source, b.ys),
            "mix_f": self.trade_off * _mixture(mixed_f, l, b.yf, *taught_f),
            "mix_g": self.trade_off * _mixture(mixed_g, 1.0 - l, b.ys, *taught_g),
        }

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        both = self.scores(net, features).softmax(-1) + self._source_task(net, x).softmax(-1)
        return Prediction(torch.log(both / 2.0 + 1e-30), features)

    def _target_task(self, net: Net, x: Tensor) -> Tensor:
        return self.scores(net, net.body(x))

    def _source_task(self, net: Net, x: Tensor) -> Tensor:
        return linear(normalize(net.body_s(x), dim=-1), net.head_s.weight) / self.temperature


def _mixture(scores: Tensor, share: float, y: Tensor, other: Tensor, sure: Tensor) -> Tensor:
    """Cross-entropy of mixtures with a ``share`` of labels y (n,) and the rest of ``other``: mean over the ``sure``."""
    each = share * cross_entropy(scores, y, reduction="none")
    each = each + (1.0 - share) * cross_entropy(scores, other, reduction="none")
    return (sure * each).sum() / sure.sum().clamp_min(1.0)
