"""Random constants of a loss that depend on the iteration alone.

They are drawn by NumPy from the step number: the global generator is not touched, so a term of weight zero changes
nothing; a restarted run goes on with the same draws; and the members of a stack share them, so that they compute what
they would alone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def _rng(what: str, step: int) -> np.random.Generator:
    return np.random.default_rng([step, *what.encode()])


def unit_directions(d: int, m: int, step: int, like: Tensor) -> Tensor:
    """``m`` directions drawn uniformly from the unit sphere of R^d, as columns (d, m) like ``like``."""
    drawn = _rng("directions", step).standard_normal((d, m))
    return torch.from_numpy(drawn / np.linalg.norm(drawn, axis=0)).to(like.device, like.dtype)


def index_tuples(d: int, order: int, n: int, step: int, like: Tensor) -> Tensor:
    """``n`` tuples of ``order`` indices drawn uniformly from 0 .. d - 1, int64 (n, order), on ``like``'s device."""
    return torch.from_numpy(_rng("tuples", step).integers(0, d, (n, order))).to(like.device)


def uniform(n: int, step: int, like: Tensor, what: str = "uniform") -> Tensor:
    """``n`` numbers drawn uniformly from [0, 1), (n,). Different ``what`` give independent draws."""
    return torch.from_numpy(_rng(what, step).random(n)).to(like.device, like.dtype)


def normal(shape: tuple[int, ...], step: int, like: Tensor, what: str = "normal") -> Tensor:
    """Standard normal numbers of the given shape. Different ``what`` give independent draws."""
    return torch.from_numpy(_rng(what, step).standard_normal(shape)).to(like.device, like.dtype)
