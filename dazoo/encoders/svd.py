"""Sparse matrices as their leading directions: counts of words, one-hot codes, clicks.

Of a matrix X (n, d) of the rows of both domains, x V with the ``dims`` leading right singular vectors V (d, dims), by a
randomised decomposition that never makes X dense and does not centre it. Matrices with no more columns than ``dims``
are made dense as they are.

Source: Halko, Martinsson & Tropp, "Finding structure with randomness", SIAM Review 2011; computed by scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.hparam import hp
from dazoo.encoders.base import Encoder, Fitted, register


@dataclass(frozen=True)
class FittedSvd(Fitted):
    """``directions`` (d, dims); none keep the columns themselves."""

    directions: Tensor | None

    def __call__(self, x: Any) -> Tensor:
        rows = x.values
        made = rows.toarray() if self.directions is None else rows @ self.directions.double().numpy()
        return torch.from_numpy(np.ascontiguousarray(made)).float()


@register
class Svd(Encoder):
    """Leading directions of a sparse matrix (truncated singular value decomposition)."""

    takes = ("sparse",)
    default_for = ("sparse",)

    dims: int = hp(100, 20, 400, least=1, most=4096, help="leading directions kept")

    def fit(self, source: Any, target: Any) -> FittedSvd:
        from sklearn.decomposition import TruncatedSVD

        rows = (source.join([target]) if len(target) else source).values
        if not rows.nnz:
            raise DazooError("the sparse matrix holds nothing but zeros; give features that occur")
        if min(rows.shape) <= self.dims + 1:
            return FittedSvd(None if rows.shape[1] <= self.dims + 1 else _exact(rows))
        svd = TruncatedSVD(self.dims, random_state=0).fit(rows.astype(np.float64))
        return FittedSvd(torch.from_numpy(np.ascontiguousarray(svd.components_.T)).float())


def _exact(rows: Any) -> Tensor:
    """All right singular vectors (d, r) of a matrix with few rows, from its Gram matrix (n, n)."""
    gram = (rows @ rows.T).toarray().astype(np.float64)
    size, vectors = np.linalg.eigh(gram)
    kept = size > max(float(size[-1]), 0.0) * 1e-12
    return torch.from_numpy(np.ascontiguousarray((rows.T @ vectors[:, kept]) / np.sqrt(size[kept]))).float()
