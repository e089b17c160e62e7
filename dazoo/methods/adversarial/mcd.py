"""MCD: two classifiers look for target samples that they disagree on, the encoder removes them. Saito, Watanabe,
Ushiku, Harada, CVPR 2018.

    phase A, F, C1, C2:   min CE(C1(f_s), y_s) + CE(C2(f_s), y_s)
    phase B, C1, C2:      min CE(C1(f_s), y_s) + CE(C2(f_s), y_s) - trade_off * d(f_t)
    phase C, F, k times:  min trade_off * d(f_t)
    d(f_t) = mean over samples and classes of |softmax(C1(f_t)) - softmax(C2(f_t))|

C1 is ``head`` (which predicts), C2 ``head2``, both linear, width -> C; features (b, width).

Evidence: tests/test_parity.py (mcd_discrepancy), tests/test_adversarial.py, tests/test_adversarial_limits.py
(transcription of the phases; what moves).
"""

from __future__ import annotations

from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Phase, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.discrepancy import mcd


@register
class MCD(GradientMethod):
    """Maximum classifier discrepancy."""

    paper = Paper(
        title="Maximum Classifier Discrepancy for Unsupervised Domain Adaptation",
        authors="Kuniaki Saito, Kohei Watanabe, Yoshitaka Ushiku, Tatsuya Harada",
        year=2018, url="https://arxiv.org/abs/1712.02560", venue="CVPR",
        deviations="the classifiers are linear on the common bottleneck, not perceptrons of their own; without the "
        "class balance (weight 0.01) that the authors' program adds on VisDA",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    neutral = None

    trade_off: float = hp(1.0, 0.1, 30.0, log=True, help="weight of the discrepancy in phases B and C")
    encoder_steps: int = hp(4, 1, 4, help="k, repetitions of phase C")

    @property
    def phases(self) -> tuple[Phase, ...]:  # type: ignore[override]
        return (
            Phase("losses", update=("body", "head", "head2")),
            Phase("losses_classifiers", update=("head", "head2")),
            Phase("losses_encoder", update=("body",), repeat=self.encoder_steps),
        )

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"head2": nn.Linear(width, n_classes)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        return self._task(net, net.body(b.xs), b)

    def losses_classifiers(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        return {**self._task(net, fs.detach(), b), "gap": -self.trade_off * self._gap(net, ft.detach())}

    def losses_encoder(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        return {"gap": self.trade_off * self._gap(net, net.body(b.xt))}

    def _task(self, net: Net, fs: Tensor, b: Batch) -> dict[str, Tensor]:
        return {"cls": net.criterion(net.head(fs), b.ys), "cls2": net.criterion(net.head2(fs), b.ys)}

    def _gap(self, net: Net, ft: Tensor) -> Tensor:
        return mcd(net.head(ft).softmax(1), net.head2(ft).softmax(1))
