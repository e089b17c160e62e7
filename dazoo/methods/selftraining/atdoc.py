"""ATDOC: target labels from the nearest neighbours in a memory bank. Liang, Hu, Feng, CVPR 2021.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * p * sum_i w_i CE(C(F(x_t,i)), y_i) / sum_i w_i
    q_i = mean over the k most similar bank entries j != i of P_j,  scaled to sum 1;  y_i = argmax q_i,  w_i = max q_i
    bank of all n_t target samples: unit features (n_t, width) and predictions P_jc = p_jc^2 / mean_j p_jc^2 (n_t, C)

p is the fraction of training. The bank is made in a full pass per epoch; after each step the batch's rows are renewed.

Evidence: tests/test_selftraining_teachers.py (labels and weights equal a transcription in loops; the batch's rows are
renewed).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.selftraining import balanced_square, hard_cross_entropy, neighbour_mean


@register
class ATDOC(GradientMethod):
    """Auxiliary target domain-oriented classifier by neighbourhood aggregation."""

    paper = Paper(
        title="Domain Adaptation with Auxiliary Target Domain-Oriented Classifier",
        authors="Jian Liang, Dapeng Hu, Jiashi Feng",
        year=2021, url="https://arxiv.org/abs/2007.04171", venue="CVPR",
        deviations="the neighbourhood variant; the bank starts from a full pass instead of random entries and is "
        "renewed by one per epoch; sharpened predictions are divided by class means, not sums, so that rows from "
        "passes and from batches have one scale; q_i is scaled to sum 1, in the authors' program it is not "
        "(as_program), so that a row weighs less whose neighbours are of classes predicted often; the program also "
        "smooths the source's labels by 0.1",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    stackable = False

    trade_off: float = hp(0.2, 0.02, 2.0, log=True, help="final weight of the neighbours' labels")
    neighbours: int = hp(5, 2, 15, help="bank entries a label is made from")
    as_program: bool = hp(False, help="weights from q as it is, not scaled to sum 1, as in the authors' program")

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        features, scores = look.target
        return {"bank_f": normalize(features, dim=-1), "bank_p": balanced_square(scores.softmax(-1))}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        bank_f, bank_p = b.memory["bank_f"], b.memory["bank_p"]
        q = neighbour_mean(ft.detach(), b.t_rows, bank_f, bank_p, self.neighbours, scaled=not self.as_program)
        w, y = q.max(-1)
        pseudo = hard_cross_entropy(net.head(ft), y, w) / w.mean().clamp_min(1e-12)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "pseudo": self.trade_off * t.fraction * pseudo,
        }

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        features = net.body(b.xt)
        b.memory["bank_f"][b.t_rows] = normalize(features, dim=-1)
        b.memory["bank_p"][b.t_rows] = balanced_square(net.head(features).softmax(-1))
