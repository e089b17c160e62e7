"""SF(DA)^2: source-free adaptation by neighbours and by augmentation of features. Hwang et al., ICLR 2024.

    F_0, C_0 = source-only model;   from it
    min_{F,C}  -1/b sum_i sum_{j in N_k(i)} <p_i, P_j>
               + spread_weight (1 + 10 p)^-fading * 1/b sum_{i != j} <p_i, p_j>^2
               + augment_weight * 2/b sum_ik CE(z_i + strength p / 2 * q_ik, k)
               - disentangle_weight * 1/2 sum_{c != k} <m_c, m_k> (1 - cos(S_c, S_k))
    q_ikl = (w_l - w_k)' S_y(i) (w_l - w_k),   y(i) = argmax z_i,   w the rows of C's weight

z = C(f) (b, C), p_i = softmax(z_i); N_k(i) the k most similar features in a bank of all target samples with predictions
P (n_t, C), m_c the mean of P over the samples of predicted class c; S_c (width, width) the moving covariance of class
c's features, with the gradient of this batch's share. Augmenting features by N(0, S) without end is bounded by adding
q / 2 to the scores. The fraction of training is p where it stands alone. No source sample is read.

Evidence: tests/test_frontier_mixtures.py (terms equal transcriptions in loops; the bound holds for sampled features).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, normalize

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.classwise import class_means, normalised, one_hot
from dazoo.ops.selftraining import neighbour_mean


class Covariances(nn.Module):
    """Moving covariances of classes (C, d, d); those of classes that a batch lacks stay."""

    def __init__(self, n_classes: int, width: int):
        super().__init__()
        self.s: Tensor
        self.register_buffer("s", torch.zeros(n_classes, width, width))

    def forward(self, f: Tensor, w: Tensor, decay: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Moved by features f (n, d) of one-hot classes w (n, C); stored in training mode.

        Returns them without gradient, and what of them this batch moves, ``sum_i rate_ic x_i x_i'``: centred features x
        (n, d) and rates (n, C). Losses take their gradient from these, since (C, d, d) is much to go through backwards.
        """
        scaled, _ = normalised(w)
        x, rates = f - w @ (scaled.T @ f), (1.0 - decay) * scaled
        with torch.no_grad():
            stays = (1.0 - rates.sum(0))[:, None, None]
            moved = torch.baddbmm(
                stays * self.s, (rates.T[:, :, None] * x).transpose(1, 2), x.expand(len(stays), *x.shape)
            )
            if self.training:
                self.s = moved
        return moved, x, rates


@register
class SFDA2(GradientMethod):
    """Source-free domain adaptation through the lens of data augmentation."""

    paper = Paper(
        title="SF(DA)^2: Source-free Domain Adaptation Through the Lens of Data Augmentation",
        authors="Uiwon Hwang, Jonghyun Lee, Juhyeon Shin, Sungroh Yoon", year=2024,
        url="https://arxiv.org/abs/2403.10834", venue="ICLR",
        deviations="covariances are moving averages with a decay of 0.9 instead of means over all batches so far; the "
        "head has no weight normalisation; the bank is made anew by a full pass per epoch",
    )  # fmt: skip
    handles = Handles(source="model", n_sources={"one", "many"})
    start = "source_only"
    uses_source = False
    stackable = False

    spread_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight that drives predictions apart, at first")
    fading: float = hp(5.0, 0.0, 5.0, help="how fast that weight falls")
    augment_weight: float = hp(1e-4, 1e-5, 1e-2, log=True, help="weight of augmented features")
    disentangle_weight: float = hp(10.0, 0.1, 10.0, log=True, help="weight of different covariances of like classes")
    strength: float = hp(5.0, 1.0, 10.0, help="size of the augmentation at the end")
    neighbours: int = hp(5, 2, 10, help="bank entries that a prediction is drawn to")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"covariances": Covariances(n_classes, width)}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        features, scores = look.target
        return {"bank_f": normalize(features, dim=-1), "bank_p": scores.softmax(-1)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        f = net.body(b.xt)
        z = net.head(f)
        p, bank_p = z.softmax(-1), b.memory["bank_p"].to(z)
        c = p.shape[-1]
        near = neighbour_mean(f.detach(), b.t_rows, b.memory["bank_f"].to(z), bank_p, self.neighbours, scaled=False)
        count = min(self.neighbours, len(bank_p) - 1)
        alike = (p @ p.T).square()
        y = one_hot(z.detach().argmax(-1), c, z.dtype)
        s, x, rates = net.covariances(f, y, 0.9)
        means, _ = class_means(bank_p, one_hot(bank_p.argmax(-1), c, z.dtype))
        like = (means @ means.T) * (1.0 - torch.eye(c).to(z))
        return {
            "cluster": -count * (p * near).sum(-1).mean(),
            "spread": self.spread_weight * (1.0 + 10.0 * t.fraction) ** -self.fading
            * (alike.sum() - alike.diagonal().sum()) / len(p),
            "augment": self.augment_weight * augmented(z, net.head.weight, y, s, self.strength * t.fraction, x, rates),
            "disentangle": -self.disentangle_weight * apart(s, like, x, rates),
        }  # fmt: skip

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        features = net.body(b.xt)
        b.memory["bank_f"][b.t_rows] = normalize(features, dim=-1)
        b.memory["bank_p"][b.t_rows] = net.head(features).softmax(-1)


def augmented(
    z: Tensor, w: Tensor, y: Tensor, s: Tensor, strength: float | Tensor, x: Tensor | None = None, rates: Any = None
) -> Tensor:
    """``2/n sum_ik CE(z_i + strength / 2 q_ik, k)`` with q_ikl = (w_l - w_k)' S_y(i) (w_l - w_k): scores z (n, C),
    weights w (C, d), one-hot classes y (n, C), covariances s (C, d, d). Gradients to s go to x and rates of
    ``Covariances`` where they are given."""
    inner = w @ s @ w.T
    if x is not None:
        seen = x @ w.detach().T
        moved = torch.einsum("nc,nk,nl->ckl", rates, seen, seen)
        inner = inner + (moved - moved.detach())
    own = inner.diagonal(dim1=1, dim2=2)
    form = own[:, :, None] + own[:, None] - 2.0 * inner
    scores = z[:, None] + 0.5 * strength * torch.einsum("nc,ckl->nkl", y, form)
    return -2.0 * log_softmax(scores, -1).diagonal(dim1=1, dim2=2).sum(1).mean()


def apart(s: Tensor, like: Tensor, x: Tensor, rates: Tensor) -> Tensor:
    """``1/2 sum_ck like_ck (1 - cos(S_c, S_k))``: s, x and rates of ``Covariances``, like (C, C) symmetric.

    With U = S / |S| the slope in S_c is ``-sum_k like_ck (U_k - cos_ck U_c) / |S_c|``, and in x_i twice that of its
    class times x_i.
    """
    with torch.no_grad():
        flat = s.flatten(1)
        size = flat.norm(dim=1, keepdim=True).clamp_min(1e-12)
        unit = flat / size
        cos = unit @ unit.T
        pull = torch.addmm((like * cos).sum(1, keepdim=True) * unit, like, unit, beta=-1.0).div_(size).reshape(s.shape)
        slope = -2.0 * ((rates.T[:, :, None] * x) @ pull).sum(0)
    return 0.5 * (like * (1.0 - cos)).sum() + (slope * (x - x.detach())).sum()
