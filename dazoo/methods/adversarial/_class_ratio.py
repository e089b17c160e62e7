"""Importance weights of classes, estimated while a network trains."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from dazoo.core.types import Prediction
from dazoo.methods.base import Look
from dazoo.ops.classwise import one_hot


def importance_weights(joint: Tensor, target: Tensor, share: Tensor) -> Tensor:
    """``argmin_w |target - joint w|^2`` over w >= 0 with share'w = 1: (C, C), (C,), (C,) -> (C,).

    joint_ij is the source's mean prediction of class i on samples of class j, times p_s(j); target_i the target's mean
    prediction. Where p(x|y) is that of both domains, w is p_t(y) / p_s(y). Lipton, Wang, Smola, ICML 2018,
    https://arxiv.org/abs/1802.03916; Tachet des Combes et al., NeurIPS 2020, https://arxiv.org/abs/2003.04475
    """
    from scipy.optimize import nnls

    # the equality as a row that outweighs all others; what it leaves open is divided out
    heavy = 1e4
    a = torch.cat([joint, heavy * share[None]]).to("cpu", torch.float64)
    b = torch.cat([target, heavy * torch.ones(1).to(target)]).to("cpu", torch.float64)
    w = torch.from_numpy(nnls(a.numpy(), b.numpy(), maxiter=1000 * len(share))[0])
    return (w / (share.to(w) @ w).clamp_min(1e-12)).to(target)


class ClassRatio(nn.Module):
    """Moving average of importance weights (C,); 1 until the network has been trained for an epoch.

    ``share`` (C,) are the source's class shares.
    """

    LATER = ("class_ratio.share",)  # buffers that models of older versions lack

    def __init__(self, n_classes: int):
        super().__init__()
        self.w: Tensor
        self.epochs: Tensor
        self.share: Tensor
        self.register_buffer("w", torch.ones(n_classes))
        self.register_buffer("epochs", torch.zeros(()))
        self.register_buffer("share", torch.zeros(n_classes))  # of the source's classes

    def renew(self, look: Look, decay: float) -> dict[str, Tensor]:
        """The weights ``ratio`` after a look at both domains, and ``even`` = 1 / (C p_s(c)), (C,) each."""
        (_, source), (_, target) = look.source, look.target
        belongs = one_hot(look.ys, source.shape[1], source.dtype)
        share = belongs.mean(0)
        self.share.copy_(share)
        if self.epochs > 0:
            joint = source.softmax(-1).T @ belongs / len(belongs)
            new = importance_weights(joint, target.softmax(-1).mean(0), share)
            self.w.copy_(decay * self.w + (1.0 - decay) * new)
        self.epochs += 1
        held = (share > 0).sum()
        even = torch.where(share > 0, 1.0 / (held * share.clamp_min(1e-12)), torch.ones_like(share))
        return {"ratio": self.w.clone(), "even": even}

    def says(self, out: Prediction) -> Prediction:
        """``out`` with the target's class shares p_s(c) w_c, scaled to sum 1; as it is before there are weights."""
        found = self.share * self.w
        return out if not bool(found.sum() > 0) else replace(out, prior=found / found.sum())


def row_weights(values: Tensor, y: Tensor, n_target: int) -> Tensor:
    """The classes' weights of source rows, followed by ones for the target's: (C,), (n,) -> (n + n_target,)."""
    return torch.cat([values[y], torch.ones_like(values[:1]).expand(n_target)])


def class_weighted(scores: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Mean cross-entropy with every row times its class's weight, (C,)."""
    return (weights[y] * nn.functional.cross_entropy(scores, y, reduction="none")).mean()
