"""Half precision where it pays: inside the parts of a network, and nowhere else.

Autocast around a whole loss would also take kernel distances, covariances and plans to 8 or 11 bits, which round small
differences between domains to nothing. So each part of a network runs under autocast and hands on float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def parts_in(net: nn.Module, device: str, dtype: torch.dtype) -> Iterator[None]:
    """Inside the block the parts of ``net`` compute in ``dtype``; what they return is float32, as is all else."""
    parts = list(_parts(net))
    try:
        for part in parts:
            part.forward = _cast(part.forward, device, dtype)  # type: ignore[method-assign]
        yield
    finally:
        for part in parts:
            part.__dict__.pop("forward", None)


def _parts(net: nn.Module) -> Iterator[nn.Module]:
    """Parts that can be called: the children, and the items of those that only hold others."""
    for child in net.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _parts(child)
        elif not isinstance(child, nn.ParameterList | nn.ParameterDict):
            yield child


def _cast(forward: Callable[..., Any], device: str, dtype: torch.dtype) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(device, dtype):
            return _lifted(forward(*args, **kwargs))

    return call


def _lifted(out: Any) -> Any:
    if isinstance(out, Tensor):
        return out.float() if out.is_floating_point() and out.dtype.itemsize < 4 else out
    if isinstance(out, tuple | list):
        return type(out)(_lifted(o) for o in out)
    return out
