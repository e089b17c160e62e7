"""Steps of an optimiser with little around the arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor


class Update:
    """An optimiser's step for gradients given as a list, straight to torch's fused kernels.

    The same numbers as ``optimizer.step()``, without what that does around them at every step, which for small networks
    is more than the arithmetic. The state lies in the optimiser, where it is saved and restored. These kernels are not
    part of torch's public interface: where ``kernels_agree`` says no, where the optimiser is none of Adam, AdamW and
    SGD or has options that are not passed on here, or where ``direct`` is False, ``optimizer.step()`` is called.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, direct: bool | None = None):
        self.optimizer = optimizer
        self.direct = _usual(optimizer) and kernels_agree(type(optimizer).__name__) if direct is None else direct
        self.adam = isinstance(optimizer, torch.optim.Adam)
        self.plans: dict[tuple[int, ...], list[_Share]] = {}
        self.counted: set[int] = set()

    def __call__(self, leaves: Sequence[Tensor], grads: Sequence[Tensor | None]) -> None:
        """Move every leaf that has a gradient."""
        if not self.direct:
            for leaf, grad in zip(leaves, grads):
                leaf.grad = grad
            self.optimizer.step()
            for leaf in leaves:
                leaf.grad = None
            return
        key = tuple(id(leaf) for leaf, grad in zip(leaves, grads) if grad is not None)
        if key not in self.plans:
            self.plans[key] = self._plan([leaf for leaf, grad in zip(leaves, grads) if grad is not None])
        there = [grad for grad in grads if grad is not None]
        with torch.no_grad():
            for share in self.plans[key]:
                self._move(share, [there[i] for i in share.places])

    def forget(self) -> None:
        """To be called when the optimiser's state was replaced."""
        self.plans.clear()
        self.counted.clear()

    def _plan(self, leaves: Sequence[Tensor]) -> list[_Share]:
        place = {id(leaf): i for i, leaf in enumerate(leaves)}
        shares = []
        for group in self.optimizer.param_groups:
            params = [p for p in group["params"] if id(p) in place]
            if params:
                states = [self._state(p) for p in params]
                clock = self._clock(params, states) if self.adam else None
                names: tuple[str, ...] = ("exp_avg", "exp_avg_sq", "step")
                if not self.adam:
                    names = ("momentum_buffer",) if group["momentum"] else ()
                lists = [[state[name] for state in states] for name in names]
                shares.append(_Share(group, [place[id(p)] for p in params], params, lists, clock))
        return shares

    def _clock(self, params: Sequence[Tensor], states: Sequence[dict[str, Tensor]]) -> Tensor | None:
        """The step counts of parameters as one tensor, of which the optimiser's state holds views: one addition counts
        them all. None where another plan, as of a further phase, already holds the count of any."""
        fresh = self.counted.isdisjoint(id(p) for p in params)
        self.counted.update(id(p) for p in params)
        if not fresh:
            return None
        clock = torch.stack([state["step"] for state in states])
        for state, step in zip(states, clock.unbind()):
            state["step"] = step
        return clock

    def _state(self, p: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.optimizer.state[p]
        if not self.adam and state.get("momentum_buffer") is None:
            # the first step from zeros is the one that torch makes without a buffer
            state["momentum_buffer"] = torch.zeros_like(p, memory_format=torch.preserve_format)
        if self.adam and not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=p.device)
            state["exp_avg"] = torch.zeros_like(p, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(p, memory_format=torch.preserve_format)
        return state

    def _move(self, share: _Share, grads: list[Tensor]) -> None:
        group = share.group
        if self.adam:
            means, squares, steps = share.states
            if share.clock is None:
                torch._foreach_add_(steps, 1)
            else:
                share.clock.add_(1)
            kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
            kernel(
                share.params, grads, means, squares, [], steps, amsgrad=False, lr=group["lr"], beta1=group["betas"][0],
                beta2=group["betas"][1], weight_decay=group["weight_decay"], eps=group["eps"], maximize=False,
                grad_scale=None, found_inf=None,
            )  # fmt: skip
            return
        torch._fused_sgd_(
            share.params, grads, share.states[0] if share.states else [], weight_decay=group["weight_decay"],
            momentum=group["momentum"], lr=group["lr"], dampening=0.0, nesterov=group["nesterov"],
            is_first_step=False, maximize=False, grad_scale=None, found_inf=None,
        )  # fmt: skip


@dataclass(frozen=True)
class _Share:
    """The part of a step that one parameter group has: its parameters, their places in the list, their state, and of
    Adam the tensor in which their steps are counted together (else one by one)."""

    group: dict[str, Any]
    places: list[int]
    params: list[Tensor]
    states: list[list[Tensor]]
    clock: Tensor | None


def _usual(optimizer: torch.optim.Optimizer) -> bool:
    """Whether ``Update`` passes on all that the optimiser was told."""
    if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD):
        return False
    unusual = ("amsgrad", "maximize", "dampening", "differentiable", "capturable")
    return all(isinstance(g["lr"], float) and not any(g.get(k) for k in unusual) for g in optimizer.param_groups)


@cache
def kernels_agree(kind: str) -> bool:
    """Whether the kernels that ``Update`` calls do what ``torch.optim``'s ``kind`` does without them, tried once."""

    def after(direct: bool) -> Tensor:
        p = torch.linspace(-1, 1, 5)
        more: dict[str, Any] = {"momentum": 0.9, "nesterov": True} if kind == "SGD" else {}
        optimizer = getattr(torch.optim, kind)([p], lr=0.1, weight_decay=0.01, fused=direct, **more)
        if more:
            optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
        update = Update(optimizer, direct)
        for step in range(2):
            update([p], [torch.linspace(1, 2 + step, 5)])
        return p

    try:
        return torch.allclose(after(True), after(False))
    except (AttributeError, TypeError, RuntimeError):  # a kernel that is gone or takes other arguments
        return False
