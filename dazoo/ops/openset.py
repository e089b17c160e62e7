"""Losses that draw a boundary around unknown classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.ops.entropy import entropy


def osbp(logits: Tensor, t: float | Tensor = 0.5, eps: float = 1e-6) -> Tensor:
    """Unknown-class cross-entropy of OSBP: target logits (n, K + 1), the last class being unknown.

        q = softmax(logits)[:, -1],  value = -mean(t log(q + eps)) - mean((1 - t) log(1 - q + eps))

    The classifier minimises it, the body maximises it. Saito et al., ECCV 2018, https://arxiv.org/abs/1804.10427
    """
    q = functional.softmax(logits, dim=-1)[..., -1]
    return -(t * torch.log(q + eps)).mean() - ((1.0 - t) * torch.log(1.0 - q + eps)).mean()


def one_vs_all(logits: Tensor, onehot: Tensor, eps: float = 0.0) -> Tensor:
    """One-vs-all loss with hard negatives: logits (n, K, 2) of (negative, positive) per class, onehot (n, K).

        mean_i [-log p_pos(y_i)] + mean_i max_{k != y_i} [-log p_neg(k)]

    ``eps`` stands inside the logarithms, as in the authors' program (1e-8, and half the sum).
    Saito and Saenko, ICCV 2021 (OVANet), https://arxiv.org/abs/2104.03344
    """
    log_p = _log_softmax(logits, eps)
    positive = -(onehot * log_p[..., 1]).sum(-1)
    negative = (-(log_p[..., 0]) * (1.0 - onehot)).amax(-1)
    return positive.mean() + negative.mean()


def one_vs_all_entropy(logits: Tensor, eps: float = 0.0) -> Tensor:
    """Mean entropy of all one-vs-all classifiers, ``-1/(n K) sum_ik sum_o p_iko log(p_iko + eps)``: logits (n, K, 2).

    Saito and Saenko, ICCV 2021 (OVANet), https://arxiv.org/abs/2104.03344
    """
    return -(functional.softmax(logits, dim=-1) * _log_softmax(logits, eps)).sum(-1).mean()


def _log_softmax(logits: Tensor, eps: float) -> Tensor:
    """``log(softmax(logits) + eps)`` along the last axis; the exact one for ``eps = 0``."""
    if eps == 0:
        return functional.log_softmax(logits, dim=-1)
    return torch.log(functional.softmax(logits, dim=-1) + eps)


def known_unknown_terms(
    ps: Tensor, y: Tensor, pt: Tensor, known: Tensor, ds: Tensor, dt: Tensor, pu: Tensor, eps: float = 1e-12
) -> dict[str, Tensor]:
    """Terms of the second stage of STA, without weights: K known classes and, last, the unknown one.

        cls: -mean log ps_i,yi        dom: -mean log ds_i - mean_j known_j log(1 - dt_j)
        ent: mean_j known_j H(pt_j)   unknown: -mean_j log pu_j,K

    Liu et al., CVPR 2019 (STA)

    Args:
        ps, y: probabilities of source rows (n, K + 1) and their classes (n,). pt: of target rows (m, K + 1).
        known: weight of every target row as known (m,). ds, dt: probabilities of "source" by the discriminator.
        pu: probabilities of the rows taken as unknown (u, K + 1).
        eps: inside the logarithms but that of the entropy, which has 1e-20.
    """
    return {
        "cls": -torch.log(ps.gather(1, y[:, None]) + eps).mean(),
        "dom": -torch.log(ds + eps).mean() - (known * torch.log(1.0 - dt.reshape(-1) + eps)).mean(),
        "ent": (known * entropy(pt, eps=1e-20)).mean(),
        "unknown": -torch.log(pu[:, -1] + eps).mean(),
    }
