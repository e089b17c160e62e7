"""Features of a batch that the phases of an iteration share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class _Statistics:
    """What a pass does to the running statistics of a batch normalisation: ``r <- stays r + moved``."""

    norm: _BatchNorm
    passes: int
    stays: float
    moved: Pair

    def again(self) -> None:
        assert self.norm.running_mean is not None and self.norm.running_var is not None
        for kept, moved in zip((self.norm.running_mean, self.norm.running_var), self.moved):
            kept.data.mul_(self.stays).add_(moved)  # .data: graphs do not look at running statistics
        if self.norm.num_batches_tracked is not None:
            self.norm.num_batches_tracked.add_(self.passes)


def held_features(net: Any, held: dict[str, Any], xs: Tensor, xt: Tensor) -> Pair:
    """``net.features(xs, xt)``, taken from ``held`` where the last call was for the same batches; running statistics
    move as in a pass of its own. Not held: what is random (dropout), members of a stack, and what is not on a CPU."""
    mode = (net.training, torch.is_grad_enabled())
    if "features" in held:
        inputs, before, features, statistics = held["features"]
        if inputs[0] is xs and inputs[1] is xt and before == mode:
            for s in statistics:
                s.again()
            found: Pair = features
            return found
    if xs.device.type != "cpu" or torch._C._functorch.peek_interpreter_stack() is not None:
        plain: Pair = net.features(xs, xt)
        return plain
    norms = [m for m in net.body.modules() if isinstance(m, _BatchNorm) and m.training and m.running_mean is not None]
    random = torch.get_rng_state()
    features, statistics = _watched(lambda: net.features(xs, xt), norms)
    if torch.equal(random, torch.get_rng_state()) and statistics is not None:
        held["features"] = ((xs, xt), mode, features, statistics)
    return features


def _watched(call: Callable[[], Pair], norms: list[_BatchNorm]) -> tuple[Pair, list[_Statistics] | None]:
    """The result of a call, and what it did to running statistics; None for those that are plain means."""

    def read(m: _BatchNorm) -> tuple[Tensor, Tensor, int]:
        assert m.running_mean is not None and m.running_var is not None and m.num_batches_tracked is not None
        return m.running_mean.clone(), m.running_var.clone(), int(m.num_batches_tracked)

    before = [read(m) for m in norms]
    result = call()
    if any(m.momentum is None for m in norms):
        return result, None
    found = []
    for m, (mean, var, count) in zip(norms, before):
        new_mean, new_var, new_count = read(m)
        stays = (1.0 - float(m.momentum or 0.0)) ** (new_count - count)
        found.append(_Statistics(m, new_count - count, stays, (new_mean - stays * mean, new_var - stays * var)))
    return result, found
