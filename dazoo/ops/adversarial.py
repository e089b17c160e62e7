"""Losses of domain discriminators. None reverses a gradient; that is ``reversal.reverse_gradient``."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.core.errors import DazooError


@lru_cache(maxsize=64)
def _domains(n_source: int, n_target: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """What the losses of equal batches share: labels (1 source, 0 target), signs (1, -1), and row weights by which
    either domain sums to one half."""
    with torch.inference_mode(False):
        labels = torch.ones(n_source + n_target, dtype=dtype, device=device)
        labels[n_source:] = 0.0
        halves = torch.full_like(labels, 0.5 / n_source)
        halves[n_source:] = 0.5 / n_target
        return labels, 2.0 * labels - 1.0, halves


def domain_bce_rows(logits: Tensor, n_source: int, *, saturate: bool = False) -> Tensor:
    """Cross-entropy of each row's domain, with source as 1: logits (n_s + n_t,) or (n_s + n_t, 1) -> (n_s + n_t,).

        -log sigmoid(z_i) for source rows,  -log(1 - sigmoid(z_i)) for target rows

    By default from logits: exact, with the gradient ``sigmoid(z) - y`` everywhere. ``saturate`` instead goes through
    the probability in the tensor's precision, as implementations do whose discriminator ends in a sigmoid: the
    logarithm is cut at -100, and the gradient vanishes as ``p (1 - p)`` falls below 1e-12.
    """
    z, (labels, signs, _) = _given(logits, n_source)
    if saturate:
        return functional.binary_cross_entropy(torch.sigmoid(z), labels, reduction="none")
    return -functional.logsigmoid(signs * z)


def _given(logits: Tensor, n_source: int) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Logits as (n_s + n_t,), and the constants of ``_domains`` for them."""
    n_target = logits.shape[0] - n_source
    if n_source < 1 or n_target < 1:
        raise DazooError(f"a domain loss needs rows of both domains, not {n_source} source and {n_target} target rows")
    return logits.reshape(logits.shape[0]), _domains(n_source, n_target, logits.dtype, logits.device)


def domain_bce(logits: Tensor, n_source: int, weights: Tensor | None = None, *, saturate: bool = False) -> Tensor:
    """Domain loss in which both domains weigh one half.

        1/2 (mean over source rows of w_i BCE(z_i, 1) + mean over target rows of w_i BCE(z_i, 0))

    Ganin et al., JMLR 2016, https://arxiv.org/abs/1505.07818

    Args:
        logits: discriminator outputs z (n_s + n_t,) or (n_s + n_t, 1), source rows first.
        n_source: number of source rows.
        weights: row weights w (n_s + n_t,).
        saturate: see ``domain_bce_rows``.
    """
    if weights is None and not saturate:
        z, (labels, _, halves) = _given(logits, n_source)
        return functional.binary_cross_entropy_with_logits(z, labels, halves, reduction="sum")
    rows = domain_bce_rows(logits, n_source, saturate=saturate)
    if weights is not None:
        rows = rows * weights
    return 0.5 * (rows[:n_source].mean() + rows[n_source:].mean())


def domain_bce_joint(logits: Tensor, n_source: int, weights: Tensor | None = None, *, saturate: bool = False) -> Tensor:
    """Domain loss as one mean over all rows, ``1/(n_s + n_t) sum_i w_i BCE(z_i, d_i)``; arguments as ``domain_bce``.

    With ``conditional_map`` and ``entropy_weights`` the loss of CDAN and CDAN+E.
    Long et al., NeurIPS 2018, https://arxiv.org/abs/1705.10667
    """
    if weights is None and not saturate:
        z, (labels, _, _) = _given(logits, n_source)
        return functional.binary_cross_entropy_with_logits(z, labels)
    rows = domain_bce_rows(logits, n_source, saturate=saturate)
    return (rows if weights is None else rows * weights).mean()


def conditional_map(p: Tensor, f: Tensor) -> Tensor:
    """Outer product of predictions and features, class-major: ``h_{c d + j} = p_c f_j``.

    p (n, C), f (n, d) -> (n, C d). CDAN passes ``p`` detached. Long et al., NeurIPS 2018,
    https://arxiv.org/abs/1705.10667
    """
    return (p[:, :, None] * f[:, None, :]).flatten(1)


def random_map(p: Tensor, f: Tensor, rp: Tensor, rf: Tensor) -> Tensor:
    """Randomised multilinear map ``(p R_p) * (f R_f) / sqrt(D)``: p (n, C), f (n, d), rp (C, D), rf (d, D) -> (n, D).

    An unbiased sketch of ``conditional_map`` for standard normal ``rp`` and ``rf``.
    Long et al., NeurIPS 2018, https://arxiv.org/abs/1705.10667
    """
    return (p @ rp) * (f @ rf) / rf.shape[1] ** 0.5


def domain_confusion(logits: Tensor) -> Tensor:
    """Cross-entropy against the uniform domain label: ``-1/(2n) sum_i [log sigmoid(z_i) + log sigmoid(-z_i)]``, z (n,).

    Tzeng et al., ICCV 2015, https://arxiv.org/abs/1510.02192
    """
    return -0.5 * (functional.logsigmoid(logits) + functional.logsigmoid(-logits)).mean()


def least_squares_domain(logits: Tensor, n_source: int) -> Tensor:
    """Least-squares domain loss, ``1/2 (mean_s (z - 1)^2 + mean_t z^2)``: logits (n_s + n_t,) or (n_s + n_t, 1).

    Mao et al., ICCV 2017, https://arxiv.org/abs/1611.04076
    """
    z = logits.reshape(logits.shape[0])
    return 0.5 * ((z[:n_source] - 1.0).square().mean() + z[n_source:].square().mean())


def critic_gap(scores: Tensor, n_source: int) -> Tensor:
    """Wasserstein critic's estimate ``mean_s g - mean_t g``: scores (n_s + n_t,) or (n_s + n_t, 1).

    Shen et al., AAAI 2018, https://arxiv.org/abs/1707.01217
    """
    g = scores.reshape(scores.shape[0])
    return g[:n_source].mean() - g[n_source:].mean()
