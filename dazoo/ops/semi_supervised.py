"""Losses of adaptation with a few target labels: pairwise clustering, contrast of pairs, labels by prototypes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.ops.classwise import one_hot
from dazoo.ops.kernels import squared_distances


def same_largest(f: Tensor, k: int) -> Tensor:
    """Whether two rows of f (n, d) have the same k largest entries, in any order: (n, n) of 0 and 1, no gradient.

    ``k`` is cut to d - 1, since all entries are the same for all rows. Ranking statistics: Han et al., ICLR 2020,
    https://arxiv.org/abs/2002.05714
    """
    k = min(k, f.shape[-1] - 1)
    # of equal entries, such as zeros behind a ReLU, the first counts as the largest
    top = one_hot(f.detach().sort(dim=-1, descending=True, stable=True).indices[..., :k], f.shape[-1]).sum(-2)
    return (top @ top.transpose(-1, -2) > k - 0.5).to(f.dtype)


def pairwise_clusters(p: Tensor, q: Tensor, same: Tensor, eps: float = 1e-7) -> Tensor:
    """Binary cross-entropy of pairs: ``-1/n^2 sum_ij s_ij log(p_i . q_j + eps) + (1 - s_ij) log(1 - p_i . q_j + eps)``.

    p, q (n, C) probabilities of two views, same (n, n). Li et al., CVPR 2021 (CDAC), https://arxiv.org/abs/2104.09415
    """
    agree = (p @ q.transpose(-1, -2)).clamp(0.0, 1.0)  # rounding may pass 1
    return -(same * torch.log(agree + eps) + (1.0 - same) * torch.log(1.0 - agree + eps)).mean()


def paired_contrast(a: Tensor, b: Tensor, temperature: float | Tensor, present: Tensor | None = None) -> Tensor:
    """Contrast of pairs (a_i, b_i) with all other rows of both: a, b (n, d).

        mean_i -log[ h(a_i, b_i) / (sum_r h(a_i, b_r) + sum_{r != i} h(a_i, a_r)) ],   h(u, v) = exp(cos(u, v) / T)

    over the rows ``present`` (n,) of 0 and 1, none of whose denominators holds an absent row; 0 where none is.
    Chen et al., ICML 2020 (NT-Xent), https://arxiv.org/abs/2002.05709
    """
    n = a.shape[0]
    u, v = functional.normalize(a, dim=-1), functional.normalize(b, dim=-1)
    eye = torch.eye(n, dtype=torch.bool, device=a.device)
    across, within = u @ v.T / temperature, (u @ u.T / temperature).masked_fill(eye, -torch.inf)
    rows = torch.ones_like(a[:, 0]) if present is None else present
    absent = (rows < 0.5)[None, :] & ~eye
    all_ = torch.cat([across.masked_fill(absent, -torch.inf), within.masked_fill(absent, -torch.inf)], 1)
    each = torch.logsumexp(all_, 1) - across.diagonal()
    return (rows * each).sum() / rows.sum().clamp_min(1.0)


def prototype_probabilities(z: Tensor, centres: Tensor, present: Tensor, sharpness: float | Tensor) -> Tensor:
    """Softmax of minus the distances to class centres: ``p_ic ~ exp(-sharpness |z_i - mu_c|)``, (n, C), no gradient.

    z (n, d), centres (C, d); a class that is not ``present`` (C,) gets probability 0. Yu and Lin, CVPR 2023 (SLA),
    https://arxiv.org/abs/2302.02335
    """
    distances = squared_distances(z.detach(), centres).sqrt()
    return functional.softmax((-sharpness * distances).masked_fill(present < 0.5, -torch.inf), -1)
