"""Perturbed inputs and the consistency of predictions under them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.linalg.linear import unit_rows


def kl_of_logits(logits_p: Tensor, logits_q: Tensor) -> Tensor:
    """Mean over rows of ``kl_rows``: (n, C), (n, C)."""
    return kl_rows(logits_p, logits_q).mean()


def kl_rows(logits_p: Tensor, logits_q: Tensor) -> Tensor:
    """``KL(p | q) = sum_c p_c (log p_c - log q_c)`` of softmax probabilities: (n, C), (n, C) -> (n,)."""
    log_p, log_q = functional.log_softmax(logits_p, dim=-1), functional.log_softmax(logits_q, dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def vat_direction(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    start: Tensor,
    xi: float = 1e-2,
    steps: int = 1,
    answer: Tensor | None = None,
) -> Tensor:
    """Direction in which the predictions of ``f`` change most, by power iteration: (n, ...) of norm 1 per sample.

        d <- grad_d KL(softmax f(x) | softmax f(x + xi d)) / | . |

    No gradient flows through it. Miyato et al., TPAMI 2019, https://arxiv.org/abs/1704.03976

    Args:
        f: samples (n, ...) to logits (n, C). Buffers that it updates are updated once more per step.
        x: samples (n, ...).
        start: standard normal noise of x's shape, drawn by the caller.
        xi: length of the probing step. The divergence is quadratic in it, so in float32 it must not be tiny.
        steps: power iterations.
        answer: f(x), where it is known.
    """
    x = x.detach()
    base = _answer(f, x, answer)
    d = unit_rows(start)

    def divergence(direction: Tensor) -> Tensor:
        return kl_of_logits(base, f(x + xi * direction))

    for _ in range(steps):
        d = unit_rows(_gradient(divergence, d).detach())
    return d


def vat(
    f: Callable[[Tensor], Tensor], x: Tensor, start: Tensor, radius: float | Tensor, xi: float = 1e-2, steps: int = 1
) -> Tensor:
    """Mean over rows of ``vat_each``, the virtual adversarial loss."""
    return vat_each(f, x, start, radius, xi, steps).mean()


def vat_each(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    start: Tensor,
    radius: float | Tensor,
    xi: float = 1e-2,
    steps: int = 1,
    answer: Tensor | None = None,
) -> Tensor:
    """Per row ``KL(stop(softmax f(x)) | softmax f(x + radius d))`` with d of ``vat_direction``: (n,).

    ``radius`` is a number or one for every row (n, 1, ...); ``answer`` is f(x), where it is known.

    Miyato et al., TPAMI 2019, https://arxiv.org/abs/1704.03976; Shu et al., ICLR 2018 (VADA),
    https://arxiv.org/abs/1802.08735
    """
    x = x.detach()
    base = _answer(f, x, answer)
    return kl_rows(base, f(x + radius * vat_direction(f, x, start, xi, steps, base)))


def _answer(f: Callable[[Tensor], Tensor], x: Tensor, answer: Tensor | None) -> Tensor:
    """f(x) without gradient."""
    with torch.no_grad():
        return (f(x) if answer is None else answer).detach()


def entropy_direction(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Direction in which the mean entropy of the predictions rises fastest: (n, ...) of norm 1 per sample.

        d_i = g_i / |g_i|,   g_i = d H(softmax f(x_i)) / d x_i

    Zeros where an answer is so certain that single precision sees no slope. No gradient flows through it. ``f`` takes
    samples (n, ...) to logits (n, C). Kim and Kim, ECCV 2020 (APE), https://arxiv.org/abs/2007.09375
    """
    return unit_rows(_gradient(lambda z: entropy_of_logits(f(z)).sum(), x.detach()).detach())


def mixup(x: Tensor, lam: Tensor | float, order: Tensor) -> Tensor:
    """Convex combinations of samples, ``lam x_i + (1 - lam) x_order(i)``: x (n, ...), order (n,), lam 0-d or (n,).

    Apply it with the same ``lam`` and ``order`` to one-hot labels. Zhang et al., ICLR 2018,
    https://arxiv.org/abs/1710.09412
    """
    if isinstance(lam, Tensor) and lam.dim() == 1:
        lam = lam.reshape(-1, *([1] * (x.dim() - 1)))
    return lam * x + (1.0 - lam) * x[order]


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over rows of ``-sum_c target_c log softmax(logits)_c``: logits (n, C), target (n, C)."""
    return -(target * functional.log_softmax(logits, dim=-1)).sum(-1).mean()


def _gradient(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Gradient of a scalar function, inside a ``torch.func`` transform as well as outside of one."""
    if torch._C._functorch.peek_interpreter_stack() is not None:
        inside: Tensor = torch.func.grad(f)(x)
        return inside
    with torch.enable_grad():
        probe = x.detach().requires_grad_()
        return torch.autograd.grad(f(probe), probe)[0]
