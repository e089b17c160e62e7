"""The one way a check fails, and how two fitted models are compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dazoo.core.portable import Portable
from dazoo.core.types import Predictor


class ContractFailure(AssertionError):
    """A promise that a method does not keep: what was asked of it, what came out, and what usually causes it."""


def require(kept: bool, message: str) -> None:
    """Raise ``ContractFailure`` with ``message`` unless ``kept``."""
    if not kept:
        raise ContractFailure(message)


def named_tensors(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors of a fitted model with the path of fields that leads to each, in a fixed order."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Portable) and dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            if field.init:
                yield from named_tensors(getattr(value, field.name), f"{path}.{field.name}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            yield from named_tensors(inner, f"{path}[{i}]")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from named_tensors(inner, str(key) if path == "state" else f"{path}.{key}".lstrip("."))


def difference(a: Predictor, b: Predictor) -> str:
    """Where two fitted models differ most, in words; empty where they are equal bit for bit."""
    first, second = dict(named_tensors(a)), dict(named_tensors(b))
    if first.keys() != second.keys():
        odd = sorted(first.keys() ^ second.keys())
        return f"only one of the two models has {', '.join(map(repr, odd[:3]))}"
    return tensor_difference(first, second)


def tensor_difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> str:
    """The part whose values differ most and by how much; empty where all are equal bit for bit."""
    worst, size, count = "", -1.0, 0
    for key, one in first.items():
        other = second[key]
        if one.shape != other.shape:
            return f"{key!r} has the shape {tuple(one.shape)} in one model and {tuple(other.shape)} in the other"
        if not torch.equal(one, other):
            count += 1
            gap = float((one.to(torch.float64) - other.to(torch.float64)).abs().max())
            gap = float("inf") if gap != gap else gap
            if gap > size:
                worst, size = key, gap
    if not worst:
        return ""
    more = f", {count} of {len(first)} tensors differ" if count > 1 else ""
    return f"{worst!r} differs by {size:.2g}{more}"
