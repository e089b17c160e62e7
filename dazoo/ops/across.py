"""Formulas that compare samples of different feature spaces."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

SIMPLEX, SINKHORN = 5_000_000, 100


def gaussian_gw(x: Tensor, y: Tensor) -> Tensor:
    """Gromov-Wasserstein distance () of the Gaussians with the moments of x (n, d) and y (m, e).

        sqrt(4 (sum a - sum b)^2 + 8 sum_i (a_i - b_i)^2)

    with the eigenvalues a and b of the covariances (divided by n and m), largest first, the shorter list continued by
    zeros. Rotations and translations of either side change nothing.
    Delon, Desolneux, Salmona, 2022, https://arxiv.org/abs/2104.07970
    """
    a, b = (torch.linalg.eigvalsh(_covariance(z)).flip(0) for z in (x, y))
    k = max(len(a), len(b))
    a, b = (torch.cat([v, v.new_zeros(k - len(v))]) for v in (a, b))
    return (4 * (a.sum() - b.sum()).square() + 8 * (a - b).square().sum()).sqrt()


def co_transport(
    x: Tensor, y: Tensor, reg: float = 0.0, penalty: Tensor | None = None, rounds: int = 100
) -> tuple[Tensor, Tensor]:
    """Co-optimal transport: plans between the rows (n, m) and between the columns (d, e) of x (n, d) and y (m, e).

        min_{P,Q}  sum_ijkl (x_ij - y_kl)^2 P_ik Q_jl + sum_ik penalty_ik P_ik     (+ reg (KL(P | ab') + KL(Q | cd')))

    with uniform marginals, by ``rounds`` alternations from uniform plans, rows first, until the plan of the rows stays
    as it is; a local optimum. Exact plans are solved to the end, which POT's default of 500 simplex steps does not do.
    Redko, Vayer, Flamary, Courty, NeurIPS 2020, https://arxiv.org/abs/2002.03731
    """
    from ot.coot import co_optimal_transport

    more: dict[str, Any] = {} if penalty is None else {"M_samp": penalty.numpy(), "alpha": (1.0, 0.0)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Sinkhorn steps that the next alternation goes on with
        plans = co_optimal_transport(
            x.numpy(), y.numpy(), epsilon=reg, nits_bcd=rounds, nits_ot=SIMPLEX if reg == 0 else SINKHORN,
            method_sinkhorn="sinkhorn_log", **more,
        )  # fmt: skip
    return torch.from_numpy(plans[0]), torch.from_numpy(plans[1])


def co_transport_cost(x: Tensor, y: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """sum_ijkl (x_ij - y_kl)^2 P_ik Q_jl () of plans ``rows`` (n, m) and ``columns`` (d, e)."""
    squares = rows.sum(1) @ x.square() @ columns.sum(1) + rows.sum(0) @ y.square() @ columns.sum(0)
    return squares - 2 * ((x @ columns @ y.T) * rows).sum()


def pair_laplacians(y: Tensor) -> tuple[Tensor, Tensor]:
    """Laplacians (n, n) of the graphs of pairs of the same and of different labels y (n,); -1 belongs to no pair."""
    known = (y[:, None] >= 0) & (y[None, :] >= 0)
    same = known & (y[:, None] == y[None, :])
    same.fill_diagonal_(False)
    apart = known & (y[:, None] != y[None, :])
    return _laplacian(same.to(torch.float64)), _laplacian(apart.to(torch.float64))


def alignment_pencil(x1: Tensor, x2: Tensor, y1: Tensor, y2: Tensor, w: Tensor, mu: float) -> tuple[Tensor, Tensor]:
    """The matrices A, B (d1 + d2, d1 + d2) of manifold alignment, whose smallest A v = l B v give the maps.

        A = Z (mu L_W + L_same) Z',  B = Z L_different Z',  Z = blockdiag(X1', X2')

    with x1 (n1, d1), x2 (n2, d2), labels y1, y2 (-1: none) and the weights w (n1 + n2, n1 + n2) of a graph within the
    domains. Wang, Mahadevan, IJCAI 2011.
    """
    z = torch.block_diag(x1, x2)
    same, apart = pair_laplacians(torch.cat([y1, y2]))
    return z.T @ (mu * _laplacian(w) + same) @ z, z.T @ apart @ z


def alignment_pencil_of_moments(
    x1: Tensor, x2: Tensor, y1: Tensor, y2: Tensor, graph: Tensor, mu: float
) -> tuple[Tensor, Tensor]:
    """``alignment_pencil`` with Z L_W Z' given as ``graph`` (d1 + d2, d1 + d2), without a matrix of all pairs.

    With n_c labelled samples of class c, their sums s_c and second moments S_c in Z, N = sum_c n_c, s = sum_c s_c,

        Z L_same Z' = sum_c n_c S_c - s_c s_c',   Z L_different Z' = sum_c (N - n_c) S_c - s s' + sum_c s_c s_c'
    """
    total = x1.new_zeros(x1.shape[1] + x2.shape[1])
    same, apart = (torch.zeros_like(graph) for _ in range(2))
    labels = torch.cat([y1, y2])
    for c in labels[labels >= 0].unique():
        of1, of2 = x1[y1 == c], x2[y2 == c]
        n = len(of1) + len(of2)
        sums = torch.cat([of1.sum(0), of2.sum(0)])
        second, outer = torch.block_diag(of1.T @ of1, of2.T @ of2), torch.outer(sums, sums)
        same += n * second - outer
        apart += (int((labels >= 0).sum()) - n) * second + outer
        total += sums
    return mu * graph + same, apart - torch.outer(total, total)


def _laplacian(w: Tensor) -> Tensor:
    return torch.diag(w.sum(1)) - w


def _covariance(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred.T @ centred / len(x)
