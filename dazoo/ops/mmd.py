"""Maximum mean discrepancy: distances between the kernel mean embeddings of two samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.ops.kernels import FIVE_SCALES, gaussian, multi_gaussian, squared_distances

Kernel = Callable[[Tensor], Tensor]


def mmd_of_kernel(k: Tensor, n: int, unbiased: bool = False) -> Tensor:
    """Squared MMD from a kernel matrix of source rows followed by target rows.

        biased:    sum_ij k_ss / n^2 + sum_ij k_tt / m^2 - 2 sum_ij k_st / (n m)
        unbiased:  sum_{i != j} k_ss / (n (n - 1)) + sum_{i != j} k_tt / (m (m - 1)) - 2 sum_ij k_st / (n m)

    Gretton et al., JMLR 2012, https://jmlr.org/papers/v13/gretton12a.html

    Args:
        k: kernel matrix (n + m, n + m).
        n: number of source rows.
    """
    return (k * _quadratic_weights(k, n, unbiased)).sum()


def mmd(fs: Tensor, ft: Tensor, kernel: Callable[..., Tensor] | None = None, *, unbiased: bool = False) -> Tensor:
    """Squared MMD of fs (n, d) and ft (m, d) with ``kernel(x)`` giving the kernel matrix of all rows x (n + m, d).

    Default kernel: Gaussian with ``2 sigma^2`` = mean squared distance (detached). The formulas stand at
    ``mmd_of_kernel``. Gretton et al., JMLR 2012, https://jmlr.org/papers/v13/gretton12a.html
    """
    x = torch.cat([fs, ft])
    k = kernel(x) if kernel is not None else multi_gaussian(squared_distances(x), (0.5,))
    return mmd_of_kernel(k, len(fs), unbiased)


def linear_mmd(fs: Tensor, ft: Tensor) -> Tensor:
    """Squared MMD with the linear kernel, ``|mean(fs) - mean(ft)|^2``: fs (n, d), ft (m, d).

    The biased estimate. Tzeng et al., 2014 (DDC), https://arxiv.org/abs/1412.3474
    """
    return (fs.mean(0) - ft.mean(0)).square().sum()


def mk_mmd(fs: Tensor, ft: Tensor, scales: Sequence[float] = FIVE_SCALES, *, offset: bool = False) -> Tensor:
    """Unbiased multi-kernel MMD of DAN: fs (n, d), ft (m, d), n and m at least 2.

        sum_{i != j} k_ss / (n (n - 1)) + sum_{i != j} k_tt / (m (m - 1)) - 2 sum_ij k_st / (n m)

    with the kernel of ``multi_gaussian`` on all n + m rows. Can be negative, being unbiased. ``offset`` adds the
    constant ``1 / (n - 1) + 1 / (m - 1)`` by which a widely used implementation lifts it (no effect on gradients).
    Long et al., ICML 2015, https://arxiv.org/abs/1502.02791
    """
    return joint_mmd((fs,), (ft,), (lambda sq: multi_gaussian(sq, scales),), offset=offset)


def mk_mmd_linear(fs: Tensor, ft: Tensor, scales: Sequence[float] = FIVE_SCALES, *, offset: bool = False) -> Tensor:
    """Linear-time estimate of ``mk_mmd`` from n pairs per batch: fs (n, d), ft (n, d), n at least 2.

        1/n sum_i [k(s_i, s_{i+1}) + k(t_i, t_{i+1}) - k(s_i, t_{i+1}) - k(s_{i+1}, t_i)],    i + 1 cyclic

    The bandwidth still is the mean over all pairs. ``offset`` adds the constant ``2 / (n - 1)``.
    Gretton et al., NIPS 2012 (linear statistic); Long et al., ICML 2015, https://arxiv.org/abs/1502.02791
    """
    return joint_mmd((fs,), (ft,), (lambda sq: multi_gaussian(sq, scales),), linear=True, offset=offset)


def joint_mmd(
    zs: Sequence[Tensor],
    zt: Sequence[Tensor],
    kernels: Sequence[Kernel] | None = None,
    *,
    linear: bool = False,
    offset: bool = False,
) -> Tensor:
    """Joint MMD of several layers: the unbiased MMD with the product of the layers' kernels.

        k(i, j) = prod_l k_l(|z_l,i - z_l,j|^2)

    Long et al., ICML 2017 (JAN), https://arxiv.org/abs/1605.06636

    Args:
        zs: source activations of each layer, (n, d_l).
        zt: target activations of each layer, (m, d_l); m = n where ``linear``.
        kernels: per layer, squared distances to kernel values. Default: ``multi_gaussian`` for all layers but the
            last, which holds class probabilities and has one Gaussian with sigma 0.92.
        linear: the linear-time estimate of ``mk_mmd_linear`` instead of the quadratic one.
        offset: add ``1 / (n - 1) + 1 / (m - 1)``.
    """
    n, m = zs[0].shape[0], zt[0].shape[0]
    if n < 2 or m < 2:
        raise DazooError(
            f"an unbiased MMD needs at least 2 source and 2 target rows, not {n} and {m}; enlarge the batch"
        )
    if linear and n != m:
        raise DazooError(f"the linear-time MMD needs as many source as target rows, not {n} and {m}")
    if kernels is None:
        kernels = (*([multi_gaussian] * (len(zs) - 1)), lambda sq: gaussian(sq, 0.92))
    if not len(zs) == len(zt) == len(kernels):
        raise DazooError(f"joint_mmd needs one kernel per layer, not {len(kernels)} for {len(zs)} and {len(zt)} layers")
    k: Tensor | None = None
    for s, t, kernel in zip(zs, zt, kernels, strict=True):
        layer = kernel(squared_distances(torch.cat([s, t])))
        k = layer if k is None else k * layer
    assert k is not None
    value = (k * (_cyclic_weights(k, n) if linear else _quadratic_weights(k, n, True))).sum()
    return value + (1.0 / (n - 1) + 1.0 / (m - 1)) if offset else value


def _quadratic_weights(k: Tensor, n: int, unbiased: bool) -> Tensor:
    """Weights of the kernel entries in the quadratic estimate (n + m, n + m)."""
    return _weights(n, k.shape[-1] - n, unbiased, k.dtype, k.device)


@lru_cache(maxsize=16)
def _weights(n: int, m: int, unbiased: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    if n < 1 + unbiased or m < 1 + unbiased:
        need = 1 + unbiased
        raise DazooError(f"MMD needs at least {need} source and {need} target rows, not {n} and {m}")
    with torch.inference_mode(False):
        sign = torch.full((n + m,), 1.0 / n, dtype=dtype, device=device)
        sign[n:] = -1.0 / m
        weights = sign[:, None] * sign[None, :]
        if unbiased:
            weights[:n, :n] *= n / (n - 1.0)
            weights[n:, n:] *= m / (m - 1.0)
            weights.fill_diagonal_(0.0)
        return weights


def _cyclic_weights(k: Tensor, n: int) -> Tensor:
    """Weights of the kernel entries in the linear-time estimate (2n, 2n)."""
    step = torch.roll(torch.eye(n, dtype=k.dtype, device=k.device), 1, dims=1) / n
    return torch.cat([torch.cat([step, -step], 1), torch.cat([-step, step], 1)])
