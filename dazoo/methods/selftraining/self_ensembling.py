"""Self-ensembling: a mean teacher with a confidence threshold and class balance. French et al., ICLR 2018.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * [1/b sum_i w_i 1/C |p_i - q_i|^2 + balance_weight * mean(w) * B(p)]
    p_i = softmax(C(F(strong(x_t,i)))) (C,),  q_i = softmax(C'(F'(x_t,i))),  w_i = 1[max q_i > threshold]
    B(p) = binary cross-entropy of the mean of p with the uniform prediction, summed over classes
    (F', C') <- decay (F', C') + (1 - decay) (F, C) after each step

The teacher (F', C') predicts.

Evidence: tests/test_selftraining_teachers.py (both terms equal transcriptions; nothing below the threshold).
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.twin import Twin
from dazoo.ops.selftraining import class_balance, confident, consistency


@register
class SelfEnsembling(GradientMethod):
    """Mean teacher for domain adaptation."""

    paper = Paper(
        title="Self-ensembling for visual domain adaptation",
        authors="Geoffrey French, Michal Mackiewicz, Mark Fisher",
        year=2018,
        url="https://arxiv.org/abs/1706.05208", venue="ICLR",
        deviations="the student sees strong and the teacher weak views; the paper draws both alike and trains for "
        "hundreds of epochs: in a run of some hundred steps the teacher seldom reaches the paper's threshold, and "
        "little happens; lower threshold, or use mean_teacher, which has none",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    strong_views = True
    stackable = False
    toy_hparams: ClassVar[dict[str, Any]] = {"threshold": 0.3}

    trade_off: float = hp(3.0, 0.3, 30.0, log=True, help="weight of the unsupervised terms")
    balance_weight: float = hp(0.005, 0.001, 0.1, log=True, help="weight of the class balance within them")
    threshold: float = hp(0.968, 0.5, 0.99, help="least confidence of the teacher")
    decay: float = hp(0.99, 0.9, 0.999, help="share of the teacher that stays per step")

    def setup(self, net: Net) -> None:
        net.add_module("teacher", Twin(net, still=False))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xt_strong is not None
        fs, ft = net.features(b.xs, b.xt_strong)
        student, teacher = net.head(ft), net.teacher(b.xt)[0]
        _, w = confident(teacher.softmax(-1), self.threshold)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "agree": self.trade_off * consistency(student, teacher, w),
            "balance": self.trade_off * self.balance_weight * w.mean() * class_balance(student.softmax(-1)),
        }

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        net.teacher.follow(net, self.decay)

    def predict(self, net: Net, x: Tensor) -> Prediction:
        return Prediction(*net.teacher(x))
