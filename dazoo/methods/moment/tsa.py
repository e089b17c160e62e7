"""TSA: train on source features moved towards the target by sampling without sampling. Li et al., CVPR 2021.

    min_{F,C}  CE(l_s + s(p) a(y_s), y_s) + info_weight * [mean_j H(p_t,j) - H(mean_j p_t,j)]
    a(y)_c = (w_c - w_y) . (mu_t,y - mu_s,y) + 1/2 (w_c - w_y)' Sigma_t,y (w_c - w_y),   s(p) = trade_off * p

l = C(f) (b, C), f = F(x) (b, width), w_c the head's weights (width,), p the fraction of training, p_t softmax(C(f_t)).
The first term bounds the expected loss of features f + N(s (mu_t,y - mu_s,y), s Sigma_t,y): class by class, source
samples are carried to the target's mean and spread as it is. Means (C, width) and covariances (C, width, width) are
taken of all features before every epoch, of the target by predicted class.

Evidence: tests/test_moment_structure.py (test_tsa_terms, test_tsa_bounds_the_sampled_loss).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.classwise import class_means, one_hot
from dazoo.ops.entropy import info_max

_TINY = 1e-30


@register
class TSA(GradientMethod):
    """Transferable semantic augmentation."""

    paper = Paper(
        title="Transferable Semantic Augmentation for Domain Adaptation",
        authors="Shuang Li, Mixue Xie, Kaixiong Gong, Chi Harold Liu, Yulin Wang, Wei Li",
        year=2021, url="https://arxiv.org/abs/2103.12562", venue="CVPR",
        deviations="class statistics are taken of all samples before every epoch instead of a memory that each batch "
        "updates; in the program this memory holds features of training batches",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(0.25, 0.05, 2.0, log=True, help="strength of the augmentation at the end of training")
    info_weight: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the target's mutual information")

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        (fs, _), (ft, scores) = look.source, look.target
        c = scores.shape[1]
        wt = one_hot(scores.argmax(1), c, ft.dtype)
        (ms, in_s), (mt, in_t) = class_means(fs, one_hot(look.ys, c, fs.dtype)), class_means(ft, wt)
        return {"shift": (mt - ms) * (in_s * in_t)[:, None], "spread": class_covariances(ft, wt)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        moved = semantic_shift(net.head.weight, b.memory["shift"], b.memory["spread"])[b.ys]
        return {
            "cls": net.criterion(net.head(fs) + self.trade_off * t.fraction * moved, b.ys),
            "info": self.info_weight * info_max(net.head(ft)),
        }


def class_covariances(f: Tensor, w: Tensor) -> Tensor:
    """Class covariances, ``sum_i w_ic (f_i - mu_c)(f_i - mu_c)^T / sum_i w_ic``: f (n, d), w (n, C) -> (C, d, d).

    Zero for a class without weight.
    """
    share = w / w.sum(0).clamp_min(_TINY)
    mu = share.T @ f
    found = []
    for c in range(w.shape[1]):
        of_class = share[:, c] > 0
        centred = f[of_class] - mu[c]
        found.append((centred * share[of_class, c : c + 1]).T @ centred)
    return torch.stack(found)


def semantic_shift(weight: Tensor, shift: Tensor, spread: Tensor) -> Tensor:
    """What moving the features of class y adds to the score of class c, beyond that of y: (C, C), rows y, columns c.

        a_yc = (w_c - w_y) . m_y + 1/2 (w_c - w_y)^T S_y (w_c - w_y)

    For features moved by N(s m_y, s S_y), ``log sum_c exp(l_c + s a_yc) - l_y`` bounds the expected cross-entropy of
    class y from above (Jensen's inequality). Wang et al., NeurIPS 2019 (ISDA), https://arxiv.org/abs/1909.12220; Li et
    al., CVPR 2021 (TSA), https://arxiv.org/abs/2103.12562

    Args:
        weight: class weights w (C, d) of a linear classifier.
        shift: moves m (C, d).
        spread: covariances S (C, d, d).
    """
    gap = weight[None, :, :] - weight[:, None, :]
    linear = (gap * shift[:, None, :]).sum(2)
    return linear + 0.5 * ((gap @ spread) * gap).sum(2)
