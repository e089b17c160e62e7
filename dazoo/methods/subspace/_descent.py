"""What methods that climb a smooth criterion share: a deterministic subsample, a deterministic ascent, mean kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dazoo.core.errors import NonFiniteError
from dazoo.ops.linalg.blas import product
from dazoo.ops.linalg.linear import gram


def thinned(n: int, limit: int, device: torch.device) -> Tensor:
    """At most ``limit`` evenly spaced rows of n."""
    return torch.arange(0, n, max(1, -(-n // limit)), device=device)


def ascend(
    criterion: Callable[[Tensor], Tensor],
    start: Tensor,
    steps: int,
    retract: Callable[[Tensor], Tensor] | None = None,
    lr: float = 0.05,
) -> Tensor:
    """The best of the points that Adam visits from ``start``, its step ``lr`` times the mean size of the entries.

    With ``retract``, which brings a point back to orthonormal columns, gradients lose their part normal to that set:
    g - x (x'g + g'x) / 2.
    """
    x = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([x], lr=lr * float(start.abs().mean().clamp(min=1e-12)))
    best, best_value = start.clone(), -torch.inf
    for i in range(steps + 1):
        value = criterion(x)
        if not bool(torch.isfinite(value)):
            raise NonFiniteError("the criterion is not finite; check the features' scale")
        if float(value.detach()) > best_value:
            best, best_value = x.detach().clone(), float(value.detach())
        if i == steps:
            break
        optimiser.zero_grad()
        (-value).backward()
        if retract is not None and x.grad is not None:
            across = x.detach().T @ x.grad
            x.grad -= x.detach() @ (across + across.T) / 2
        optimiser.step()
        if retract is not None:
            with torch.no_grad():
                x.copy_(retract(x))
    return best


def projected(rows: Tensor, w: Tensor) -> Tensor:
    """``rows`` (n, d) times ``w`` (d, k), with a gradient for ``w`` alone, both by BLAS."""
    found: Tensor = _Projected.apply(rows, w)  # type: ignore[no-untyped-call]
    return found


class _Projected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, w: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(rows)
        return product(rows, w.detach())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:  # type: ignore[override]
        return None, product(ctx.saved_tensors[0].T, grad)


def mean_kernel(x: Tensor, y: Tensor, gamma: Tensor | float) -> Tensor:
    """mean_ij exp(-gamma ||x_i - y_j||^2) of ``x`` (n, d) and ``y`` (m, d), which may be ``x``, with its gradient

    dx_i = -2 gamma / (n m) (x_i sum_j k_ij - sum_j k_ij y_j),  in closed form; a ``gamma`` has none.
    """
    found: Tensor = _MeanKernel.apply(x, None if y is x else y, gamma)  # type: ignore[no-untyped-call]
    return found


class _MeanKernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor | None, gamma: Tensor | float) -> Tensor:  # type: ignore[override]
        with torch.no_grad():
            own = x.detach()
            k = gram("rbf", own, own if y is None else y.detach(), gamma)
        ctx.save_for_backward(x, y, k)
        ctx.gamma = gamma
        return k.mean()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # type: ignore[override]
        x, y, k = ctx.saved_tensors
        scale = -2.0 * ctx.gamma * grad / k.numel()
        own, other = x.detach(), (x if y is None else y).detach()
        to_x = to_y = None
        if ctx.needs_input_grad[0]:
            to_x = scale * (own * k.sum(1)[:, None] - product(k, other)) * (2.0 if y is None else 1.0)
        if y is not None and ctx.needs_input_grad[1]:
            to_y = scale * (other * k.sum(0)[:, None] - product(k.T, own))
        return to_x, to_y, None
