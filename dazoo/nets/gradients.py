"""Gradients of terms, with little around the backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.autograd import Variable


def gradients(
    roots: Sequence[Tensor], leaves: Sequence[Tensor], starts: Sequence[Tensor] | None = None, keep: bool = False
) -> list[Tensor | None]:
    """Gradients of the sum of ``roots`` on ``leaves``, None where there is none: ``torch.autograd.grad``.

    On a CPU straight by torch's engine: what ``torch.autograd.grad`` does around it (it looks at every tensor whether
    it is one, makes ones, copies the context for the threads of devices) takes as long as the backward pass of a small
    layer. That call is not part of torch's public interface: where ``engine_agrees`` says no, and on other devices,
    the public function is called.

    Args:
        starts: gradients of the roots, of their shapes; one each where None, for which roots must be scalars.
        keep: whether the graph is kept.
    """
    first = roots[0]
    if first.device.type != "cpu" or not engine_agrees():
        return list(torch.autograd.grad(roots, leaves, starts, allow_unused=True, retain_graph=keep))
    given = [_one(root.dtype) for root in roots] if starts is None else starts
    return list(
        Variable._execution_engine.run_backward(
            tuple(roots), tuple(given), keep, False, tuple(leaves), True, accumulate_grad=False
        )
    )


@cache
def _one(dtype: torch.dtype) -> Tensor:
    return torch.ones((), dtype=dtype)


@cache
def engine_agrees() -> bool:
    """Whether the engine takes the call that ``gradients`` makes and gives what ``torch.autograd.grad`` gives."""
    with torch.enable_grad():
        x, unused = torch.linspace(-1, 1, 5).requires_grad_(), torch.ones(2, requires_grad=True)
        roots = (x.square().sum(), (3 * x).mean())
        wanted = torch.autograd.grad(roots, (x,), retain_graph=True)[0]
        one = _one(x.dtype)
        try:
            found, none = Variable._execution_engine.run_backward(
                roots, (one, one), False, False, (x, unused), True, accumulate_grad=False
            )
        except (AttributeError, TypeError, RuntimeError):
            return False
    return none is None and torch.equal(found, wanted)
