"""Knowledge distillation: learn few labels and the source model's soft answers on the target. Hinton et al., 2015.

    min_{F,C}  1/n_f sum_i CE(C(F(x_i)), y_i) + trade_off * T^2 / b sum_j KL(q_j | softmax(C(F(x_t,j)) / T))

(x_i, y_i) are the n_f labelled target samples, x_t,j unlabelled ones; q = softmax(C^0(F^0(x_t)) / T) (b, C) are the
source model's answers and T = ``temperature``.

Evidence: tests/test_finetune.py (equals a transcription; zero and flat where the student is the teacher).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.finetune.fine_tune import FineTune
from dazoo.nets.net import Net
from dazoo.nets.parts.twin import Twin
from dazoo.ops.transfer import distillation


@register
class KnowledgeDistillation(FineTune):
    """Distillation of the source model on unlabelled target samples."""

    paper = Paper(
        title="Distilling the Knowledge in a Neural Network",
        authors="Geoffrey Hinton, Oriol Vinyals, Jeff Dean",
        year=2015,
        url="https://arxiv.org/abs/1503.02531", venue="NIPS workshop",
        deviations="the student has the teacher's architecture and starts at its weights; the transfer set is the "
        "unlabelled target, on which the teacher may be wrong",
    )  # fmt: skip
    targets = frozenset({"classes"})
    uses_target = True

    trade_off: float = hp(0.5, 0.05, 5.0, log=True, help="weight of the soft answers")
    temperature: float = hp(4.0, 1.0, 10.0, help="softens answers", positive=True)

    def setup(self, net: Net) -> None:
        net.add_module("teacher", Twin(net))
        super().setup(net)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.yf is not None
        ff, ft = net.features(b.xf, b.xt)
        return {
            "cls": net.criterion(net.head(ff), b.yf),
            "soft": self.trade_off * distillation(net.head(ft), net.teacher(b.xt)[0], self.temperature),
        }
