"""Random constants of a loss that depend on the iteration alone.

They are drawn by NumPy from the step number: the global generator is not touched, so a term of weight zero changes
nothing; a restarted run goes on with the same draws; and the members of a stack share them, so that they compute what
they would alone.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def _rng(what: str, step: int) -> np.random.Generator:
    return np.random.default_rng([step, *what.encode()])


def _drawn(what: str, step: int, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array of the generator's ``kind``, which nobody writes to."""
    return (_small if math.prod(shape) <= 1 << 16 else _small.__wrapped__)(what, step, kind, shape)


@lru_cache(maxsize=8)
def _small(what: str, step: int, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Kept, since the phases of an iteration ask for the same."""
    drawn: np.ndarray = getattr(_rng(what, step), kind)(shape)
    return drawn


def _as(drawn: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(drawn).to(like.device, like.dtype, copy=True)


def unit_directions(d: int, m: int, step: int, like: Tensor) -> Tensor:
    """``m`` directions drawn uniformly from the unit sphere of R^d, as columns (d, m) like ``like``."""
    drawn = _drawn("directions", step, "standard_normal", (d, m))
    return _as(drawn / np.linalg.norm(drawn, axis=0), like)


def index_tuples(d: int, order: int, n: int, step: int, like: Tensor) -> Tensor:
    """``n`` tuples of ``order`` indices drawn uniformly from 0 .. d - 1, int64 (n, order), on ``like``'s device."""
    return torch.from_numpy(_rng("tuples", step).integers(0, d, (n, order))).to(like.device)


def uniform(n: int, step: int, like: Tensor, what: str = "uniform") -> Tensor:
    """``n`` numbers drawn uniformly from [0, 1), (n,). Different ``what`` give independent draws."""
    return _as(_drawn(what, step, "random", (n,)), like)


def beta(n: int, a: float, step: int, like: Tensor, what: str = "beta") -> Tensor:
    """``n`` numbers of the Beta distribution with both parameters ``a``, (n,). Different ``what`` are independent."""
    return torch.from_numpy(_rng(what, step).beta(a, a, n)).to(like.device, like.dtype)


def order(n: int, step: int, like: Tensor, what: str = "order") -> Tensor:
    """A random order of 0 .. n - 1, int64 (n,), on ``like``'s device. Different ``what`` are independent."""
    return torch.from_numpy(_rng(what, step).permutation(n)).to(like.device)


def partners(n: int, groups: int, step: int, like: Tensor, what: str = "partners") -> Tensor:
    """For each of ``n`` rows, which are of the groups in turns, a row of another group: a cyclic shift, int64 (n,).

    With one group it is another row; where there is none other, the row itself.
    """
    shifts = np.arange(1, n) if n > 1 else np.zeros(1, dtype=np.int64)
    other = shifts[shifts % groups != 0] if groups > 1 else shifts
    shift = int(_rng(what, step).choice(other if len(other) else shifts))
    return (torch.arange(n, device=like.device) + shift) % n


def normal(shape: tuple[int, ...], step: int, like: Tensor, what: str = "normal") -> Tensor:
    """Standard normal numbers of the given shape. Different ``what`` give independent draws."""
    return _as(_drawn(what, step, "standard_normal", tuple(shape)), like)
