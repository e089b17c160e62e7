"""How several methods share one network: each sees its own parts under its own names, and common work is done once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dazoo.core.errors import DazooError


class Once:
    """Keeps the results of calls on the same tensors during one evaluation of the losses."""

    def __init__(self) -> None:
        # inputs are kept beside the results, so that no other tensor can take over their identity
        self._kept: dict[Any, tuple[tuple[Tensor, ...], Any]] = {}

    def __call__(self, what: str, call: Callable[..., Any], *x: Tensor) -> Any:
        key = (what, torch.is_grad_enabled(), *map(id, x))
        if key not in self._kept:
            self._kept[key] = (x, call(*x))
        return self._kept[key][1]

    def each(self, what: str, module: Any, batches: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """As a call of ``module`` for each batch; those that were not seen yet go through ``Body.each`` together."""
        keys = [(what, torch.is_grad_enabled(), id(x)) for x in batches]
        new = {key: x for key, x in zip(keys, batches) if key not in self._kept}
        if new:
            self._kept.update({key: ((x,), f) for (key, x), f in zip(new.items(), module.each(*new.values()))})
        return tuple(self._kept[key][1] for key in keys)


class SharedPart:
    """A module whose calls go through ``Once``; everything else is the module's."""

    def __init__(self, name: str, module: nn.Module, once: Once):
        self._name, self._module, self._once = name, module, once

    def __call__(self, x: Tensor) -> Tensor:
        out: Tensor = self._once(self._name, self._module, x)
        return out

    def each(self, *batches: Tensor) -> tuple[Tensor, ...]:
        return self._once.each(self._name, self._module, batches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class LeadHead(nn.Module):
    """The head as the leading method reads it, by its ``scores``; it is copied and moved with the parts these take."""

    def __init__(self, net: Any, lead: Any):
        super().__init__()
        with torch.device("meta"):
            own = lead.build(2, 2)
        for name in ("head", *own):
            self.add_module(name, getattr(net, name))
        self.lead = lead

    def forward(self, features: Tensor) -> Tensor:
        scores: Tensor = self.lead.scores(self, features)
        return scores

    @property
    def weight(self) -> Tensor:
        raise DazooError(f"a term reads the head's weights, but {self.lead.name!r} does not predict by these alone")


class View:
    """A network as one method sees it: the shared body and head, and the parts that start with ``prefix`` without it.

    Args:
        net: the whole network.
        prefix: what the method's own parts start with; empty for the leading method.
        others: the prefixes of all methods that have one; parts of other methods are out of sight.
        once: shares calls of body, head and features; None outside of the losses.
        lead: the leading method where it has ``scores`` of its own and this is the view of another one.
    """

    def __init__(self, net: Any, prefix: str, others: tuple[str, ...], once: Once | None, lead: Any = None):
        self.__dict__.update(_net=net, _prefix=prefix, _others=others, _once=once, _lead=lead)

    def __getattr__(self, name: str) -> Any:
        if name == "head" and self._lead is not None:
            head = LeadHead(self._net, self._lead)
            return head if self._once is None else SharedPart("lead head", head, self._once)
        if name in ("body", "head"):
            module = getattr(self._net, name)
            return module if self._once is None else SharedPart(name, module, self._once)
        if name in self._net._modules or self._prefix + name in self._net._modules:
            own = self._prefix + name
            hidden = own not in self._net._modules or (not self._prefix and own.startswith(self._others))
            if hidden:
                raise AttributeError(name)
            return getattr(self._net, own)
        return getattr(self._net, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._net, name if name in ("body", "head") else self._prefix + name, value)

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Add a part of this method."""
        self._net.add_module(self._prefix + name, module)

    def get_submodule(self, path: str) -> nn.Module:
        """A module by its dotted path in this method's names."""
        head = path.split(".")[0]
        found: nn.Module = self._net.get_submodule(path if head in ("body", "head", "") else self._prefix + path)
        return found

    def features(self, xs: Tensor, xt: Tensor, held: Any = None) -> tuple[Tensor, Tensor]:
        """As ``Net.features``, shared by the methods that are put together; not by phases."""
        if self._once is None or self._net.joint:
            both: tuple[Tensor, Tensor] = (
                self._net.features(xs, xt) if self._once is None else self._once("features", self._net.features, xs, xt)
            )
            return both
        fs, ft = self.body.each(xs, xt)
        return fs, ft


def shared(net: Any) -> Any:
    """``net`` with calls of body, head and features done once per input; a view that shares already is returned."""
    if isinstance(net, View) and net.__dict__["_once"] is not None:
        return net
    return View(net, "", (), Once())
