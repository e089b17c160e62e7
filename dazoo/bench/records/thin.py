"""Curves as they are drawn: at most ``POINTS`` points each, in single precision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

POINTS = 40
BITS = 24


def spread(length: int, most: int = POINTS) -> list[int]:
    """At most ``most`` positions of ``length``, evenly spread, the first and the last among them."""
    found: list[int] = np.unique(np.linspace(0, length - 1, min(most, length)).round().astype(int)).tolist()
    return found


def thinned(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its curves thinned to what is drawn; curves that are none stay as they are.

    A loss term that was zero whenever it was logged, and no other, is so afterwards.
    """
    curves = record.get("curves")
    if not isinstance(curves, dict) or not all(_is_curve(c) for c in curves.values()):
        return dict(record)
    return dict(record) | {"curves": {name: _thin(curve) for name, curve in curves.items()}}


def _is_curve(curve: Any) -> bool:
    return isinstance(curve, list) and all(
        isinstance(at, (list, tuple)) and len(at) == 2 and (at[1] is None or type(at[1]) in (int, float))
        for at in curve
    )


def _thin(curve: Sequence[Sequence[Any]]) -> list[list[Any]]:
    keep = spread(len(curve)) if curve else []
    first = next((i for i, at in enumerate(curve) if at[1]), None)
    if first is not None and not any(curve[i][1] for i in keep):
        keep[min(range(len(keep)), key=lambda j: abs(keep[j] - first))] = first
    return [[curve[i][0], _single(curve[i][1])] for i in keep]


def _single(value: Any) -> Any:
    """A number with the 24 bits of single precision and the range of double precision."""
    if type(value) is not float or not math.isfinite(value):
        return value
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 2**BITS) / 2**BITS, exponent)
