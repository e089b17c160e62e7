"""Results that are computed once and shared: by all runs on the same data, or by all data of which a domain is part."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

T = TypeVar("T")


class Domains:
    """Values of single domains, shared by all pairs in which a domain appears: its moments, its decompositions.

    They are kept for as long as the tensor of samples lives, so they may not hold that tensor or a view of it. Values
    of more than ``limit`` bytes are made and handed out, and not kept.
    """

    def __init__(self, limit: int = 32 << 20) -> None:
        self.limit = limit
        self._kept: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._named: OrderedDict[Any, Any] = OrderedDict()

    def __call__(self, x: Tensor, key: Any, make: Callable[[], T], point: Any = None) -> T:
        """What depends on the samples ``x`` (n, ...), on what ``key`` names and on ``point``, and on nothing else; only
        the value at the last ``point`` is kept."""
        mine: dict[Any, Any] = self._kept.setdefault(x, {})
        now = (None if x.is_inference() else x._version, point)
        if key in mine and mine[key][0] == now:
            known: T = mine[key][1]
            return known
        value = make()
        if _bytes(value) <= self.limit:
            mine[key] = (now, value)
        return value

    def named(self, key: Any, make: Callable[[], T], most: int = 16) -> T:
        """The value of ``key``, which names all that it depends on, content included; the last ``most`` are kept."""
        if key not in self._named:
            self._named[key] = make()
        self._named.move_to_end(key)
        while len(self._named) > most:
            self._named.popitem(last=False)
        value: T = self._named[key]
        return value


def _bytes(value: Any) -> int:
    """Bytes of the tensors in ``value``: a tensor, or a tuple or dataclass of such."""
    if isinstance(value, Tensor):
        return value.nbytes
    if dataclasses.is_dataclass(value):
        return sum(_bytes(v) for v in vars(value).values())
    return sum(map(_bytes, value)) if isinstance(value, tuple) else 0


class Memo:
    """Values shared by all runs on the same data: covariances, decompositions, kernels, costs.

    Keys must name everything the value depends on beside the data itself.

    Attributes:
        domains: values of the source or the target alone, which runs on other pairs may share too.
        shared: whether other runs share this memo, so that work which pays only for several is worth while.
    """

    def __init__(self, domains: Domains | None = None) -> None:
        self._kept: dict[Any, Any] = {}
        self.domains = Domains() if domains is None else domains
        self.shared = domains is not None

    def __call__(self, key: Any, make: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = make()
        value: T = self._kept[key]
        return value
