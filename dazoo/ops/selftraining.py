"""Losses of pseudo-labels, consistency and self-training: pure functions of scores, features and banks.

Masks are weights of 0 and 1 in sums, never index sets, so shapes do not depend on the data.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dazoo.ops.classwise import class_means, one_hot
from dazoo.ops.entropy import entropy_weights

_TINY = 1e-30


def linear_ramp(fraction: float, start: float | Tensor, end: float | Tensor) -> Tensor:
    """0 before ``start``, 1 after ``end``, straight between: scalar."""
    return torch.as_tensor((fraction - start) / (end - start)).clamp(0.0, 1.0)


def sigmoid_ramp(fraction: float, end: float | Tensor) -> Tensor:
    """``exp(-5 (1 - min(1, fraction / end))^2)``: scalar.

    Laine and Aila, ICLR 2017, https://arxiv.org/abs/1610.02242
    """
    rest = 1.0 - torch.as_tensor(fraction / end).clamp(max=1.0)
    return torch.exp(-5.0 * rest.square())


def cosine_ramp(fraction: float) -> float:
    """``1/2 - cos(min(pi, 2 pi fraction)) / 2``: from 0 to 1 over the first half of training.

    Berthelot et al., ICLR 2022 (AdaMatch), https://arxiv.org/abs/2106.04732
    """
    return 0.5 - 0.5 * math.cos(min(math.pi, 2.0 * math.pi * fraction))


def step_draws(step: int, label: int) -> np.random.Generator:
    """Random numbers that belong to a step of training and to nothing else: the same in every run and after a restart.

    They leave torch's generators alone, so that a method that draws inside its losses changes no other draw.
    """
    return np.random.default_rng([label, step])


def hard_cross_entropy(scores: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """Weighted mean over rows of ``-log softmax(scores)_y``, ``1/n sum_i w_i ce_i``: (n, C), (n,), (n,)."""
    return (w * functional.cross_entropy(scores, y, reduction="none")).mean()


def confident(p: Tensor, threshold: float | Tensor) -> tuple[Tensor, Tensor]:
    """Most probable classes (n,) and which rows reach the threshold (n,) of 0 and 1: p (n, C). No gradient."""
    top, y = p.detach().max(-1)
    return y, (top >= threshold).to(p.dtype)


def unbiased_variance(x: Tensor) -> Tensor:
    """``1/(n - 1) sum_i (x_i - mean x)^2`` of x (n,); 0 for a single entry, which says nothing about it."""
    return (x - x.mean()).square().sum() / max(x.shape[0] - 1, 1)


def fixmatch(strong: Tensor, weak: Tensor, threshold: float | Tensor = 0.95) -> Tensor:
    """``1/n sum_i 1[max p_i >= threshold] CE(strong_i, argmax p_i)``, p = stop(softmax(weak)): scores (n, C), (n, C).

    Sohn et al., NeurIPS 2020, https://arxiv.org/abs/2001.07685
    """
    y, mask = confident(functional.softmax(weak, -1), threshold)
    return hard_cross_entropy(strong, y, mask)


def align_distribution(p: Tensor, wanted: Tensor, have: Tensor) -> Tensor:
    """Rows of ``p_c wanted_c / have_c``, scaled to sum 1: p (n, C), wanted, have (C,).

    Berthelot et al., ICLR 2020 (ReMixMatch), https://arxiv.org/abs/1911.09785
    """
    q = p * wanted / have.clamp_min(1e-6)
    return q / q.sum(-1, keepdim=True).clamp_min(_TINY)


def adamatch(strong: Tensor, weak: Tensor, source_weak: Tensor, threshold: float | Tensor = 0.9) -> Tensor:
    """AdaMatch's target term: scores (m, C), (m, C) of the target, (n, C) of the source.

        q = stop(normalise(p_t * mean(p_s) / mean(p_t))),  c = threshold * mean_i max p_s,i
        value = 1/m sum_j 1[max q_j >= c] H(q_j, softmax(strong_j))

    with p_s, p_t the softmax of the weak scores. Berthelot et al., ICLR 2022, https://arxiv.org/abs/2106.04732
    """
    ps, pt = functional.softmax(source_weak.detach(), -1), functional.softmax(weak.detach(), -1)
    q = align_distribution(pt, ps.mean(0), pt.mean(0))
    mask = (q.amax(-1) >= threshold * ps.amax(-1).mean()).to(q.dtype)
    return -(mask * (q * functional.log_softmax(strong, -1)).sum(-1)).mean()


def sharpen(p: Tensor, temperature: float | Tensor) -> Tensor:
    """Rows proportional to ``p_c^(1/temperature)``, of sum 1: p (n, C). Below 1 the temperature sharpens."""
    return functional.softmax(torch.log(p.clamp_min(_TINY)) / temperature, -1)


def consistency(student: Tensor, teacher: Tensor, w: Tensor | None = None) -> Tensor:
    """``1/n sum_i w_i 1/C sum_c (p_ic - q_ic)^2`` of softmax probabilities p, q: scores (n, C), (n, C), w (n,) or ones.

    The teacher gets no gradient. Tarvainen and Valpola, NeurIPS 2017, https://arxiv.org/abs/1703.01780
    """
    gap = (functional.softmax(student, -1) - functional.softmax(teacher.detach(), -1)).square().mean(-1)
    return gap.mean() if w is None else (w * gap).mean()


def class_balance(p: Tensor, eps: float = 1e-6) -> Tensor:
    """Binary cross-entropy between the mean prediction and the uniform one, summed over classes: p (n, C).

        m = 1/n sum_i p_i,   value = -sum_c [1/C log(m_c + eps) + (1 - 1/C) log(1 - m_c + eps)]

    French et al., ICLR 2018, https://arxiv.org/abs/1706.05208
    """
    mean = p.mean(0)
    even = 1.0 / p.shape[-1]
    return -(even * torch.log(mean + eps) + (1.0 - even) * torch.log(1.0 - mean + eps)).sum()


def balanced_square(p: Tensor) -> Tensor:
    """Sharpened predictions with every class of equal weight, ``p_ic^2 / (1/n sum_j p_jc^2)``: p (n, C) -> (n, C).

    Liang et al., CVPR 2021 (ATDOC), https://arxiv.org/abs/2007.04171
    """
    sq = p.square()
    return sq / sq.mean(0).clamp_min(_TINY)


def neighbour_mean(f: Tensor, rows: Tensor, bank_f: Tensor, bank_p: Tensor, k: int, scaled: bool = True) -> Tensor:
    """Mean of the bank's predictions over the ``k`` most similar samples, itself left out; ``scaled`` to sum 1.

        q_i = 1/k sum_{j in N_k(i)} bank_p_j,   N_k by cosine similarity of f_i and bank_f_j, j != rows_i

    Args:
        f: features (n, d). rows: their rows in the bank (n,). bank_f: unit features (N, d). bank_p: (N, C).
        k: cut to N - 1 where the bank is smaller.
    """
    size = bank_f.shape[0]
    sim = functional.normalize(f, dim=-1) @ bank_f.T
    own = rows[:, None] == torch.arange(size, device=rows.device)
    near = sim.masked_fill(own, -torch.inf).topk(min(k, size - 1), dim=1).indices
    q = bank_p[near].mean(1)
    return q / q.sum(-1, keepdim=True).clamp_min(_TINY) if scaled else q


def balanced_tsallis(scores: Tensor, alpha: float | Tensor = 1.9, temperature: float | Tensor = 2.5) -> Tensor:
    """Tsallis entropy of predictions with every class of equal weight: scores (n, C).

        p = softmax(scores / temperature),   value = 1/(C (alpha - 1)) sum_c (1 - sum_i w_i p_ic^alpha / sum_i w_i p_ic)

    with the weights w of confident rows of ``entropy_weights``. For alpha = 2 it is minimum class confusion.
    Liu et al., NeurIPS 2021 (CST), https://arxiv.org/abs/2103.03571
    """
    p = functional.softmax(scores / temperature, -1)
    w = entropy_weights(p)[:, None]
    mass = (w * p).sum(0)
    # a class that no row predicts counts as certain
    share = torch.where(mass > 0, (w * p.pow(alpha)).sum(0) / mass.clamp_min(_TINY), torch.ones_like(mass))
    return (1.0 - share).mean() / (alpha - 1.0)


def ridge_transfer(ft: Tensor, wt: Tensor, fs: Tensor, ridge: float | Tensor) -> Tensor:
    """Predictions on the source of a ridge regression fitted on the target: (n, C).

        F_s (F_t^T F_t + r I)^-1 F_t^T W_t = F_s F_t^T (F_t F_t^T + r I)^-1 W_t,   r = ridge tr(F_t F_t^T) / m

    ft (m, d), wt (m, C) target labels, fs (n, d). Features get a constant column for the intercept. Differentiable in
    all features. Liu et al., NeurIPS 2021 (CST), https://arxiv.org/abs/2103.03571
    """
    ft, fs = (torch.cat([f, torch.ones_like(f[:, :1])], 1) for f in (ft, fs))
    k = ft @ ft.T
    eye = torch.eye(k.shape[0], dtype=k.dtype, device=k.device)
    return fs @ ft.T @ torch.linalg.solve(k + ridge * k.diagonal().mean() * eye, wt)


def cosine_ridge_transfer(ft: Tensor, wt: Tensor, fs: Tensor, ridge: float | Tensor = 0.001) -> Tensor:
    """``ridge_transfer`` of unit rows, without intercept and with ridge as it is: ft (m, d), wt (m, C), fs (n, d).

        Z_s Z_t^T (Z_t Z_t^T + ridge I)^-1 W_t,   Z the rows of F over their norms

    The form of the program of Liu et al., NeurIPS 2021 (CST), for labels less 1/C.
    """
    zt, zs = functional.normalize(ft, dim=-1), functional.normalize(fs, dim=-1)
    k = zt @ zt.T
    eye = torch.eye(k.shape[0], dtype=k.dtype, device=k.device)
    return zs @ zt.T @ torch.linalg.solve(k + ridge * eye, wt)


def flexible_thresholds(latest: Tensor, n_classes: int, warm_up: bool = True) -> Tensor:
    """Share of the threshold that each class has to reach, by how many samples it has been learned on: (C,).

        B_c / (2 - B_c),   B_c = n_c / max(max_k n_k, n_none)

    latest (n,): confident classes, -1 for none; n_c counts class c, n_none the -1 (0 without ``warm_up``).
    Zhang et al., NeurIPS 2021 (FlexMatch), https://arxiv.org/abs/2110.08263
    """
    counts = one_hot(latest, n_classes).sum(0)
    none = (latest < 0).sum() * int(warm_up)
    learned = counts / torch.maximum(counts.amax(), none).clamp_min(1.0)
    return learned / (2.0 - learned)


def centroid_labels(f: Tensor, p: Tensor, threshold: int = 0) -> Tensor:
    """Labels of the nearest class centroid by cosine, (n,): f (n, d), p (n, C) class probabilities.

    Centroids are means of the unit features (with a constant entry) weighted by p, then once more by the labels they
    gave. In both rounds only classes with more than ``threshold`` rows under the labels before (argmax p at first) have
    a centroid; where no class has so many, the largest have. Liang et al., ICML 2020 (SHOT),
    https://arxiv.org/abs/2002.08546
    """
    return nearest_centroid(*label_centroids(f, p, threshold))


def label_centroids(f: Tensor, p: Tensor, threshold: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """What the last round of ``centroid_labels`` compares: unit features (n, d + 1), centroids (C, d + 1), and which
    classes have one (C,)."""
    unit = functional.normalize(torch.cat([f, torch.ones_like(f[:, :1])], 1), dim=-1)
    centres, taken = class_means(unit, p)[0], _frequent(p.argmax(-1), p.shape[1], threshold)
    labels = nearest_centroid(unit, centres, taken)
    return unit, class_means(unit, one_hot(labels, p.shape[1], f.dtype))[0], _frequent(labels, p.shape[1], threshold)


def nearest_centroid(unit: Tensor, centres: Tensor, taken: Tensor) -> Tensor:
    """Labels (n,) of the most similar centroid by cosine, of classes that have one: (n, d), (C, d), (C,)."""
    sim = unit @ functional.normalize(centres, dim=-1).T
    return sim.masked_fill(~taken, -torch.inf).argmax(-1)


def _frequent(labels: Tensor, n_classes: int, threshold: int) -> Tensor:
    """Classes (C,) with more than ``threshold`` rows, or where no class has so many the largest."""
    count = one_hot(labels, n_classes).sum(0)
    return count > (count.amax() - 1.0).clamp_max(threshold)
