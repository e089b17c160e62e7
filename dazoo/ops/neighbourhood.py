"""Losses of adaptation by neighbours: target samples, a bank of their unit features (N, d) and predictions (N, C).

A row of a batch knows its place in the bank (``rows``) and is no neighbour of itself.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.ops.entropy import diversity


def renewed(bank: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    """A copy of the bank (N, ...) with ``new`` (b, ...) at ``rows`` (b,). No gradient."""
    return bank.detach().index_copy(0, rows, new.detach().to(bank.dtype))


def similar_rows(f: Tensor, rows: Tensor, bank_f: Tensor, k: int) -> Tensor:
    """Bank rows of the ``k`` unit features most similar to f, without the sample itself: (..., d), (...) -> (..., k).

    ``k`` is cut to N - 1 where the bank is smaller.
    """
    size = bank_f.shape[0]
    own = rows[..., None] == torch.arange(size, device=rows.device)
    sim = (functional.normalize(f.detach(), dim=-1) @ bank_f.T).masked_fill(own, -torch.inf)
    return sim.topk(max(1, min(k, size - 1)), dim=-1).indices


def attraction(p: Tensor, near: Tensor, w: Tensor | None = None) -> Tensor:
    """``-1/n sum_i sum_j w_ij <p_i, s_ij>`` of predictions p (n, C) and neighbours' s (n, k, C), w (n, k) or ones."""
    agree = (near @ p[..., None]).squeeze(-1)
    return -(agree if w is None else w * agree).sum(-1).mean()


def reciprocity(rows: Tensor, near: Tensor, bank_f: Tensor, k: int, weak: float | Tensor) -> tuple[Tensor, Tensor]:
    """Affinities (n, m) of neighbours ``near`` (n, m), and the neighbours' own ``k`` neighbours (n, m, k).

    1 where a neighbour counts the sample among its own nearest ``k``, else ``weak``.
    """
    second = similar_rows(bank_f[near], near, bank_f, k)
    mutual = (second == rows[:, None, None]).any(-1).to(bank_f.dtype)
    return mutual + weak * (1.0 - mutual), second


def nrc(
    logits: Tensor, f: Tensor, rows: Tensor, bank_f: Tensor, bank_p: Tensor, k: int, kk: int, weak: float = 0.1,
    flat: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Terms of neighbourhood reciprocity clustering: of neighbours, and of neighbours' neighbours.

        -1/n sum_i sum_{j in N_k(i)} a_ij <p_i, s_j>,    -weak/n sum_i sum_j sum_{m in N_kk(j)} <p_i, s_m>

    with a_ij of ``reciprocity`` and p = softmax(logits) (n, C); the bank holds the batch as it is now. ``flat``: all
    a_ij are ``weak``, as in the authors' script for VisDA, which overwrites them.
    Yang et al., NeurIPS 2021, https://arxiv.org/abs/2110.04202
    """
    p = functional.softmax(logits, -1)
    near = similar_rows(f, rows, bank_f, k)
    a, second = reciprocity(rows, near, bank_f, kk, weak)
    if flat:
        a = torch.full_like(a, weak)
    return attraction(p, bank_p[near], a), weak * attraction(p, bank_p[second.flatten(1)])


def aad(
    logits: Tensor, f: Tensor, rows: Tensor, bank_f: Tensor, bank_p: Tensor, k: int
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Terms of attracting and dispersing, the second without its weight.

        -1/n sum_i sum_{j in N_k(i)} <p_i, s_j>,    1/n sum_i sum_{m != i in the batch} <p_i, p_m>

    p = softmax(logits) (n, C) with gradient through both factors of the second. Yang et al., NeurIPS 2022,
    https://arxiv.org/abs/2205.04183
    """
    p = functional.softmax(logits, -1)
    total = p.sum(0)
    return attraction(p, bank_p[similar_rows(f, rows, bank_f, k)]), (total @ total - p.square().sum()) / len(p)


def local_clustering(logits: Tensor, near: Tensor, eps: float = 0.0) -> tuple[Tensor, Tensor]:
    """Terms of local structure clustering: consistency with neighbours' predictions near (n, k, C), and diversity.

        -1/n sum_i sum_j log(<p_i, s_ij> + eps),    sum_c pbar_c log(pbar_c + 1e-5)

    Yang et al., ICCV 2021 (G-SFDA), https://arxiv.org/abs/2108.01614
    """
    p = functional.softmax(logits, -1)
    agree = (near @ p[..., None]).squeeze(-1) + eps
    return -torch.log(agree).sum(-1).mean(), -diversity(p)


def voted(f: Tensor, rows: Tensor, bank_f: Tensor, bank_p: Tensor, k: int) -> Tensor:
    """Mean prediction (n, C) of the ``k`` bank rows most similar to f (n, d); ``rows`` (n,) left out, -1: nobody."""
    return bank_p[similar_rows(f, rows, bank_f, k)].mean(-2)


def contrast(f: Tensor, keys: Tensor, bank_f: Tensor, other: Tensor, temperature: float | Tensor) -> Tensor:
    """Contrast of samples with their own keys and the bank's rows of other classes.

        1/n sum_i -log[ exp(z_i . k_i / T) / (exp(z_i . k_i / T) + sum_{j: other_ij} exp(z_i . b_j / T)) ],  z = f / |f|

    Args:
        f: features (n, d). keys: unit features (n, d), without gradient. bank_f: unit features (N, d).
        other: which bank rows are of other classes (n, N).
    """
    z = functional.normalize(f, dim=-1)
    own = (z * keys.detach()).sum(-1, keepdim=True)
    rest = (z @ bank_f.T).masked_fill(~other, -torch.inf)
    logits = torch.cat([own, rest], 1) / temperature
    return (torch.logsumexp(logits, 1) - logits[:, 0]).mean()
