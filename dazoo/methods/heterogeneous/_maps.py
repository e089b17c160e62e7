"""What methods share that learn from labels in both spaces: labelled target samples, and principal components."""

from __future__ import annotations

from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.types import Seen
from dazoo.methods.shallow import sides
from dazoo.ops.linalg.spectral import principal_components
from dazoo.shallow.steps import Affine


def few_target(seen: Seen) -> tuple[Tensor, Tensor]:
    """Labelled target samples (n_f, d_t), float64, and their labels (n_f,)."""
    if seen.few is None or len(seen.few) == 0:
        raise DazooError("this method needs labelled target samples; say setting='heterogeneous_few'")
    _, xt = sides(seen)
    return xt[-len(seen.few) :], seen.few.y


def components_of(x: Tensor, dim: int) -> Affine:
    """The map of ``x`` (n, d) to at most ``dim`` principal components, in which a sample has norm 1 on average."""
    mean, variances, directions = principal_components(x, dim)
    total = variances.sum()
    if not bool(total > 0):
        raise DazooError("a domain does not vary at all; its samples carry nothing to adapt")
    weight = directions / total.sqrt()
    return Affine(weight, -mean @ weight)
