"""What methods that climb a smooth criterion share: a deterministic subsample and a deterministic ascent."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dazoo.core.errors import NonFiniteError


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
