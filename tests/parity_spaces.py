"""The recorded formulas that compare samples of different feature spaces."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from dazoo.ops.across import alignment_pencil, co_transport, co_transport_cost, gaussian_gw
from dazoo.ops.linalg.spectral import generalised_eigenvectors


def _coot(X: Tensor, Y: Tensor) -> Tensor:
    return co_transport_cost(X, Y, *co_transport(X, Y))


def _dama(X1: Tensor, X2: Tensor, y1: Tensor, y2: Tensor, W: Tensor, mu: Tensor, k: Tensor) -> Tensor:
    pencil = alignment_pencil(X1, X2, y1, y2, W, float(mu))
    return generalised_eigenvectors(*pencil, int(k), largest=False)[0].sum()


SPACES: dict[str, Callable[..., Tensor]] = {
    "het_coot_value": _coot,
    "het_gaussian_gw": lambda X, Y: gaussian_gw(X, Y),
    "het_dama_eigenvalues": _dama,
}
