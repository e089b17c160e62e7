"""Implicit alignment: batches in which both domains hold the same classes. Jiang, Lao, Matwin, Havaei, ICML 2020.

    batch: classes c_1..c_b, every class floor(b/C) times or once more; x_s,i drawn from source class c_i, x_t,i from
    the target samples of pseudo-label c_i = argmax C(F(x_t)), renewed per epoch
    objective: that of ``base`` (``mdd`` in the paper, ``dann``, or ``none``) on such batches

Under label shift a random batch of the target holds other classes than one of the source, and aligning the two moves
classes onto each other; aligned batches agree in their classes, and nothing about classes enters the loss. A place
whose class nobody in the target is predicted as keeps the sample that was drawn at random. Added to another method
(``dann+implicit_alignment``) it brings its batches to that one.

Evidence: tests/test_frontier_compose.py (batches hold classes evenly, rows and labels belong together, a killed run
goes on with the same rows; with base none it adds no term; formulas compared with the authors' program).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Generator, Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.adversarial._game import game
from dazoo.methods.adversarial.mdd import MDD
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.batches import even_by_class


@register
class ImplicitAlignment(GradientMethod):
    """Implicit class-conditioned domain alignment by sampling."""

    paper = Paper(
        title="Implicit Class-Conditioned Domain Alignment for Unsupervised Domain Adaptation",
        authors="Xiang Jiang, Qicheng Lao, Stan Matwin, Mohammad Havaei", year=2020,
        url="https://arxiv.org/abs/2006.04996", venue="ICML",
        deviations="all classes take turns in a batch instead of a random subset of them, so that no class has to be "
        "masked in the loss; pseudo-labels are renewed per epoch",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    neutral = None  # balanced batches are other batches than source_only's
    partner: ClassVar[dict[str, Any]] = {"base": "none", "trade_off": 0.0, "margin": 4.0, "disc_width": 32}
    knob_needs: ClassVar[dict[str, dict[str, Any]]] = {"disc_width": {"base": "dann"}}

    trade_off: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the base's gradient to the features")
    base: str = hp("mdd", choices=("mdd", "dann", "none"), help="the method that is trained on such batches")
    margin: float = hp(4.0, 1.0, 4.0, help="exponential of the margin of the base mdd")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator of the base dann")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        base = self._base()
        return {} if base is None else base.build(width, n_classes)

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        return {"labels": look.target[1].argmax(-1)}

    def redraw(
        self, rows: Mapping[str, Tensor], ys: Tensor, memory: Mapping[str, Tensor], gen: Generator
    ) -> Mapping[str, Tensor]:
        return even_by_class(rows, ys, memory["labels"], gen)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        base = self._base()
        if base is None:
            return {"cls": net.criterion(net.head(net.features(b.xs, b.xt)[0]), b.ys)}
        return base.losses(net, b, t)

    def _base(self) -> GradientMethod | None:
        if self.base == "mdd":
            return MDD(trade_off=self.trade_off, margin=self.margin)
        return game(self.base, self.trade_off, self.disc_width)
