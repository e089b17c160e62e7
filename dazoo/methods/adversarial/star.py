"""STAR: maximum classifier discrepancy with classifiers drawn from a learned Gaussian. Lu, Yang, Zhu, Liu, Song, Xiang,
CVPR 2020.

    W1, W2 ~ N(M, softplus(S - 2)^2),  drawn anew in every phase,   C_i(f) = W_i f + bias
    phase A, F, M, S, bias:  min [CE(C1(f_s), y_s) + CE(C2(f_s), y_s)] / 2
    phase B, M, S, bias:     min [CE(C1(f_s), y_s) + CE(C2(f_s), y_s)] / 2 - trade_off * d(f_t)
    phase C, F, k times:     min trade_off * d(f_t),   d(f_t) = mean |softmax(C1(f_t)) - softmax(C2(f_t))|

M (C, width) and bias (C,) are the head's, so that the mean classifier predicts; S (C, width), starting at 0, is the
part ``spread``; features (b, width).

Evidence: tests/test_adversarial.py, tests/test_adversarial_limits.py (transcription; without spread the classifiers
agree; what moves in which phase).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Phase, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.discrepancy import mcd
from dazoo.ops.draws import normal
from dazoo.ops.games import sampled_scores


class HeadSpread(nn.Module):
    """The spread of a head's weights before the softplus, (C, width)."""

    def __init__(self, n_classes: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_classes, width))


@register
class STAR(GradientMethod):
    """Stochastic classifiers."""

    paper = Paper(
        title="Stochastic Classifiers for Unsupervised Domain Adaptation",
        authors="Zhihe Lu, Yongxin Yang, Xiatian Zhu, Cong Liu, Yi-Zhe Song, Tao Xiang",
        year=2020,
        url="https://openaccess.thecvf.com/content_CVPR_2020/html/"
        "Lu_Stochastic_Classifiers_for_Unsupervised_Domain_Adaptation_CVPR_2020_paper.html",
        venue="CVPR",
        deviations="the k repetitions of phase C share one draw of the classifiers",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    neutral = None

    trade_off: float = hp(1.0, 0.1, 30.0, log=True, help="weight of the discrepancy in phases B and C")
    encoder_steps: int = hp(4, 1, 4, help="k, repetitions of phase C")

    @property
    def phases(self) -> tuple[Phase, ...]:  # type: ignore[override]
        return (
            Phase("losses", update=("body", "head", "spread")),
            Phase("losses_classifiers", update=("head", "spread")),
            Phase("losses_encoder", update=("body",), repeat=self.encoder_steps),
        )

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"spread": HeadSpread(n_classes, width)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        return {"cls": self._task(net, net.body(b.xs), b, self._noise(net, t, "A"))}

    def losses_classifiers(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        noise = self._noise(net, t, "B")
        gap = self._gap(net, ft.detach(), noise)
        return {"cls": self._task(net, fs.detach(), b, noise), "gap": -self.trade_off * gap}

    def losses_encoder(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        return {"gap": self.trade_off * self._gap(net, net.body(b.xt), self._noise(net, t, "C"))}

    def _noise(self, net: Net, t: Progress, phase: str) -> Tensor:
        """Standard normal, (2, C, width)."""
        return normal((2, *net.head.weight.shape), t.step, net.head.weight, f"star {phase}")

    def _scores(self, net: Net, f: Tensor, noise: Tensor) -> Tensor:
        return sampled_scores(f, net.head.weight, net.spread.weight, net.head.bias, noise)

    def _task(self, net: Net, fs: Tensor, b: Batch, noise: Tensor) -> Tensor:
        first, second = (net.criterion(self._scores(net, fs, n), b.ys) for n in noise)
        return 0.5 * (first + second)

    def _gap(self, net: Net, ft: Tensor, noise: Tensor) -> Tensor:
        first, second = (self._scores(net, ft, n).softmax(1) for n in noise)
        return mcd(first, second)
