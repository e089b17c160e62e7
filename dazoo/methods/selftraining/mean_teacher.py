"""Mean teacher: agree with a moving average of oneself on the target. Tarvainen, Valpola, NeurIPS 2017.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * r(p) * 1/b sum_i 1/C |softmax(C(F(strong(x_t,i)))) - q_i|^2
    q_i = softmax(C'(F'(x_t,i))) (C,),  (F', C') <- a (F', C') + (1 - a) (F, C) after each step,
    a = min(decay, 1 - 1/(step + 1)),  r(p) = exp(-5 (1 - min(1, p / ramp_end))^2)

The teacher (F', C') predicts.

Evidence: tests/test_selftraining_teachers.py (loss and average equal transcriptions).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.twin import Twin
from dazoo.ops.selftraining import consistency, sigmoid_ramp


@register
class MeanTeacher(GradientMethod):
    """Consistency with an averaged teacher."""

    paper = Paper(
        title="Mean teachers are better role models: Weight-averaged consistency targets improve semi-supervised deep "
        "learning results",
        authors="Antti Tarvainen, Harri Valpola", year=2017, url="https://arxiv.org/abs/1703.01780", venue="NeurIPS",
        deviations="consistency on the target only; weak views for the teacher and strong ones for the student; the "
        "decay stays at the paper's 0.99 of the first phase, since runs are short",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    strong_views = True
    stackable = False

    trade_off: float = hp(100.0, 1.0, 300.0, log=True, help="weight of the consistency")
    decay: float = hp(0.99, 0.9, 0.999, help="share of the teacher that stays per step")
    ramp_end: float = hp(0.3, 0.1, 0.9, help="fraction of training at which the weight is reached")

    def setup(self, net: Net) -> None:
        net.add_module("teacher", Twin(net, still=False))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xt_strong is not None
        fs, ft = net.features(b.xs, b.xt_strong)
        weight = self.trade_off * sigmoid_ramp(t.fraction, self.ramp_end)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "agree": weight * consistency(net.head(ft), net.teacher(b.xt)[0]),
        }

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        net.teacher.follow(net, min(self.decay, 1.0 - 1.0 / (t.step + 1)))

    def predict(self, net: Net, x: Tensor) -> Prediction:
        return Prediction(*net.teacher(x))
