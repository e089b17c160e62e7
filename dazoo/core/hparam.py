"""Hyper-parameters as dataclass fields: a default, a search range and one line of meaning, beside the method."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dazoo.core.errors import DazooError, UnknownName, nearest

MOST_COUNT = 1_000_000


@dataclass(frozen=True)
class HParam:
    """What a field declares of itself: the arguments of ``hp``."""

    default: Any
    low: float | None
    high: float | None
    log: bool
    choices: tuple[Any, ...] | None
    structural: bool
    help: str
    least: float | None
    most: float | None
    positive: bool
    keyed: Any = None


def hp(
    default: Any,
    low: float | None = None,
    high: float | None = None,
    *,
    log: bool = False,
    choices: tuple[Any, ...] | None = None,
    structural: bool | None = None,
    help: str = "",
    least: float | None = None,
    most: float | None = None,
    positive: bool = False,
    keyed: Any = None,
) -> Any:
    """A dataclass field that is a hyper-parameter, e.g. ``trade_off: float = hp(1.0, 0.1, 10.0, log=True)``.

    A search draws from ``choices``, or from ``low`` to ``high``, log-uniformly where ``log``. A user may set what lies
    outside but makes sense: from ``least`` to ``most``, which ``limits`` finds where they are None; never 0 where
    ``positive``. ``structural`` fields change shapes or control flow, so that runs which differ in them cannot be
    stacked into one batched model; None means all but plain floats. ``keyed`` stands in the keys of runs where the
    value is the default: the default of before, where both gave the same results wherever that one gave any.
    """
    structural = not isinstance(default, float) if structural is None else structural
    meta = HParam(default, low, high, log, choices, structural, help, least, most, positive, keyed)
    return dataclasses.field(default=default, metadata={"hp": meta})


def space(cls: type) -> dict[str, HParam]:
    """The hyper-parameters of a method class by field name."""
    return {f.name: f.metadata["hp"] for f in dataclasses.fields(cls) if "hp" in f.metadata}


def values(obj: Any) -> dict[str, Any]:
    """The hyper-parameter values of a method instance, defaults included."""
    return {name: getattr(obj, name) for name in space(type(obj))}


def keyed(cls: type, hparams: dict[str, Any]) -> dict[str, Any]:
    """``hparams`` as they stand in the keys of runs."""
    former = {k: m.keyed for k, m in space(cls).items() if m.keyed is not None and hparams.get(k) == m.default}
    return {**hparams, **former} if former else hparams


def searchable(meta: HParam) -> bool:
    """Whether a search has something to choose."""
    return meta.choices is not None or (meta.low is not None and meta.high is not None)


def draw(meta: HParam, u: float) -> Any:
    """The value at position ``u`` in [0, 1) of the range (log-uniform where ``log``)."""
    if meta.choices is not None:
        return meta.choices[min(int(u * len(meta.choices)), len(meta.choices) - 1)]
    if meta.low is None or meta.high is None:
        return meta.default
    if meta.log:
        value = math.exp(math.log(meta.low) + u * (math.log(meta.high) - math.log(meta.low)))
    else:
        value = meta.low + u * (meta.high - meta.low)
    return round(value) if isinstance(meta.default, int) else float(value)


def limits(meta: HParam) -> tuple[float, float]:
    """The smallest and the largest number that makes sense; ``least`` and ``most`` overrule.

    No weight, size or count is negative unless its default or its range is; a count whose default and range begin
    at 1 or above is at least 1; a number whose range is linear and inside [0, 1] is a share, at most 1. No size or
    count is above ``MOST_COUNT``, or 100 times what is usual where that is more.
    """
    starts = [v for v in (meta.low, meta.default) if v is not None]
    least = -math.inf if min(starts) < 0 else 1 if isinstance(meta.default, int) and min(starts) >= 1 else 0
    share = meta.low is not None and meta.high is not None and meta.low >= 0 and meta.high <= 1 and not meta.log
    most = 1 if share and isinstance(meta.default, float) else math.inf
    if isinstance(meta.default, int):
        most = max(MOST_COUNT, 100 * max(abs(v) for v in (meta.default, meta.high) if v is not None))
    return (least if meta.least is None else meta.least, most if meta.most is None else meta.most)


def setting_at(cls: type, position: Callable[[str], float]) -> dict[str, Any]:
    """The setting of all searchable fields at ``position(field name)`` in [0, 1) of each one's range."""
    return {name: draw(meta, position(name)) for name, meta in space(cls).items() if searchable(meta)}


def sample(cls: type, seed: int) -> dict[str, Any]:
    """One random setting of all searchable fields, each from a generator seeded by ``(seed, field name)``."""

    def position(name: str) -> float:
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        return float(np.random.default_rng(int.from_bytes(digest[:8], "big")).random())

    return setting_at(cls, position)


def configure(cls: type, overrides: dict[str, Any]) -> Any:
    """An instance of ``cls`` with ``overrides`` checked: unknown names, wrong types and forbidden choices are errors.

    Raises:
        UnknownName: a name that is no hyper-parameter, with the nearest ones.
        DazooError: a value of the wrong type, not finite, not among the choices, or one that makes no sense.
    """
    known = space(cls)
    label = getattr(cls, "name", cls.__name__)
    clean = {}
    for name, value in overrides.items():
        if name not in known:
            raise UnknownName(f"{label} has no hyper-parameter {name!r}: {nearest(name, known)}")
        clean[name] = _coerce(label, name, known[name], value)
    return cls(**clean)


def _coerce(label: str, name: str, meta: HParam, value: Any) -> Any:
    found = _typed(label, name, meta, value)
    if meta.choices is None and type(meta.default) in (int, float) and type(found) in (int, float):
        least, most = limits(meta)
        if not least <= found <= most or (meta.positive and found <= 0):
            low = "above 0" if meta.positive and least <= 0 else "" if least == -math.inf else f"at least {least:g}"
            allowed = " and ".join(filter(None, (low, "" if most == math.inf else f"at most {most:g}")))
            usual = f" (searched from {meta.low:g} to {meta.high:g})" if meta.low is not None else ""
            raise DazooError(f"{label}.{name} must be {allowed}, not {value!r}{usual}: {meta.help}")
    return found


def _typed(label: str, name: str, meta: HParam, value: Any) -> Any:
    kind = type(meta.default)
    if meta.choices is not None:
        if value not in meta.choices:
            raise DazooError(f"{label}.{name} must be one of {list(meta.choices)}, not {value!r}")
        return value
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise DazooError(f"{label}.{name} must be a finite number, not {value!r}")
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is tuple and isinstance(value, (list, tuple)):
        return tuple(value)
    if meta.default is None or (isinstance(value, kind) and not (kind is int and isinstance(value, bool))):
        return value
    raise DazooError(f"{label}.{name} must be {kind.__name__}, not {type(value).__name__} ({value!r})")
