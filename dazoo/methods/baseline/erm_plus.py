"""ERM++: what a plain source model gains by views, soft labels and averaged weights, before anything is adapted.

    min_{F,C}  L(z_s, y_s) + trade_off * L(z_s', y_s),   L(z, y) = (1 - e) CE(z, y) - e/C sum_c log softmax(z)_c
    prediction by the average (F, C)^ <- a (F, C)^ + (1 - a) (F, C) after each step,  a = min(decay, 1 - 1/(step + 1))

z (b, C) are scores of weak, z' of strongly augmented views, e is ``smoothing``. The target is not looked at: what an
adaptation gains beyond this, it gains from the target. Added to another method (``dann+erm_plus``) it brings its views,
its smoothing and the average of the whole to that one.

Evidence: tests/test_frontier.py (terms equal a transcription), tests/test_frontier_compose.py (the average predicts).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import log_softmax

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.twin import Twin


@register
class ERMPlus(GradientMethod):
    """Empirical risk minimisation with strong views, label smoothing and averaged weights."""

    paper = Paper(
        title="ERM++: An Improved Baseline for Domain Generalization",
        authors="Piotr Teterwak, Kuniaki Saito, Theodoros Tsiligkaridis, Kate Saenko, Bryan A. Plummer", year=2023,
        url="https://arxiv.org/abs/2304.01973", venue="arXiv",
        deviations="of the paper's ingredients the average of the weights alone, as a moving one; strong views and "
        "label smoothing are those of the self-training methods it is compared with; learning rates, length of "
        "training and initial weights are the recipe's; batch statistics are averaged with the weights; on "
        "synthetic shifts no gain at the defaults",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    strong_views = True
    uses_target = False
    stackable = False
    neutral = {"smoothing": 0.0, "decay": 0.0}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the source's strong views")
    smoothing: float = hp(0.1, 0.0, 0.3, help="share of a label that is spread over all classes")
    decay: float = hp(0.99, 0.9, 0.999, help="share of the average that stays per step")

    def setup(self, net: Net) -> None:
        net.add_module("average", Twin(net))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xs_strong is not None
        weak, strong = (net.head(f) for f in net.features(b.xs, b.xs_strong))
        cls, hard = net.criterion(weak, b.ys), net.criterion(strong, b.ys)
        return {
            "cls": cls,
            "smooth": self.smoothing * (_uniform(weak) - cls),
            "strong": self.trade_off * (hard + self.smoothing * (_uniform(strong) - hard)),
        }

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        decay = min(self.decay, 1.0 - 1.0 / (t.step + 1))
        for mine, other in zip(_state(net.average), _state(net)):
            mine.lerp_(other, 1.0 - decay)

    def finish(self, net: Net, look: Look) -> None:
        for mine, averaged in zip(_state(net), _state(net.average)):
            mine.copy_(averaged)


def _state(net: Any) -> list[Tensor]:
    """Weights of body and head, and the body's batch statistics."""
    buffers = [v for v in net.body.buffers() if v.is_floating_point()]
    return [*net.body.parameters(), *net.head.parameters(), *buffers]


def _uniform(scores: Tensor) -> Tensor:
    """Mean cross-entropy with the uniform label."""
    return -log_softmax(scores, -1).mean()
