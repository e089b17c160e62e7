"""CC-loss: MCC plus agreement of the class confusions of weak and strong views. Jin, Wang, Long, Wang, ECCV 2020.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * MCC(C(F(x_t)))
               + consistency_weight * m/b * (1/C) |N(stop(C(F(x_t)))) - N(C(F(strong(x_t))))|_F^2
    P = softmax(scores / temperature) (b, C),  w_i proportional to 1 + exp(-H(P_i)) where max_c P_ic >= threshold in the
    weak view, else 0,  M = P' diag(w) P,  N = M with rows scaled to sum 1,  m the number of rows with w_i > 0

Evidence: tests/test_selftraining.py (equals a transcription in loops; zero for equal views and below the threshold; no
gradient into weak views).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.entropy import entropy, mcc


@register
class CCLoss(GradientMethod):
    """Minimum class confusion with consistent confusions."""

    paper = Paper(
        title="Minimum Class Confusion for Versatile Domain Adaptation",
        authors="Ying Jin, Ximei Wang, Mingsheng Long, Jianmin Wang",
        year=2020,
        url="https://arxiv.org/abs/1912.03699", venue="ECCV",
        deviations="the consistency term is not in the paper but in the library of its authors' group "
        "(Transfer-Learning-Library, cc_loss); strong views of vectors are noise and masked entries",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    strong_views = True
    toy_hparams: ClassVar[dict[str, Any]] = {"threshold": 0.3}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the confusion")
    consistency_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the agreement of confusions")
    temperature: float = hp(2.5, 1.0, 5.0, help="softens target predictions", positive=True)
    threshold: float = hp(0.95, 0.5, 0.99, help="least softened confidence of a row that takes part in the agreement")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xt_strong is not None
        fs, ft = net.features(b.xs, torch.cat([b.xt, b.xt_strong]))
        weak, strong = net.head(ft).chunk(2)
        agree = confusion_consistency(strong, weak, self.temperature, self.threshold)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "mcc": self.trade_off * mcc(weak, self.temperature),
            "agree": self.consistency_weight * agree,
        }


def class_confusion(p: Tensor, mask: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Confusion matrix N (C, C) with rows that sum to 1 of probabilities p (n, C), over rows where mask (n,) is 1.

        M = sum_i w_i p_i p_i^T,   w_i = 1 + exp(-H(p_i)) without gradient,   N_ab = M_ab / sum_c M_ac

    A class without mass has a row of zeros. Jin et al., ECCV 2020, https://arxiv.org/abs/1912.03699
    """
    w = 1.0 + torch.exp(-entropy(p.detach(), eps))
    if mask is not None:
        w = w * mask
    m = (w[:, None] * p).T @ p
    mass = m.sum(1, keepdim=True)
    return m / torch.where(mass > 0, mass, torch.ones_like(mass))


def confusion_consistency(
    strong: Tensor, weak: Tensor, temperature: float | Tensor = 2.5, threshold: float | Tensor = 0.95
) -> Tensor:
    """How much the class confusions of two views of the same rows differ: scores (n, C), (n, C).

        value = m/n * 1/C |N(strong) - N(stop(weak))|_F^2

    N of ``class_confusion`` with softmax(scores / T), over the m rows whose weak softened confidence reaches
    ``threshold``. Transfer-Learning-Library, ``cc_loss``, https://github.com/thuml/Transfer-Learning-Library
    """
    p = functional.softmax(weak.detach() / temperature, -1)
    mask = (p.max(-1).values >= threshold).to(p.dtype)
    gap = class_confusion(functional.softmax(strong / temperature, -1), mask) - class_confusion(p, mask)
    return mask.mean() * gap.square().sum() / p.shape[-1]
