"""Kernels and estimators of moment matching in NumPy, written out, for transcriptions in tests."""

from __future__ import annotations

import numpy as np
import torch

SCALES = (0.125, 0.25, 0.5, 1.0, 2.0)


def close(actual: torch.Tensor, expected: float, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(actual.item(), expected, rtol=rtol, atol=1e-12)


def sq_distances(z: np.ndarray) -> np.ndarray:
    return np.array([[((a - b) ** 2).sum() for b in z] for a in z])


def five_gaussians(z: np.ndarray) -> np.ndarray:
    """Sum of five Gaussian kernels of all rows, around their mean squared distance."""
    sq = sq_distances(z)
    return sum(np.exp(-sq / (2 * a * sq.mean())) for a in SCALES)


def mmd_unbiased(k: np.ndarray, n: int) -> float:
    m = len(k) - n
    ss = sum(k[i, j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    tt = sum(k[n + i, n + j] for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    st = sum(k[i, n + j] for i in range(n) for j in range(m)) / (n * m)
    return ss + tt - 2 * st


def weighted_mmd(k: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """|sum_i a_i phi(s_i) - sum_j b_j phi(t_j)|^2 from the kernel of all rows."""
    w = np.concatenate([a, -b])
    return float(sum(w[i] * w[j] * k[i, j] for i in range(len(w)) for j in range(len(w))))


def cross_entropy(st) -> float:
    p = st.probs(st.fs)
    return -np.mean([np.log(p[i, y]) for i, y in enumerate(st.ys.tolist())])


class FixedLook:
    """What ``refresh`` sees: given features, scored by a given network."""

    def __init__(self, net, fs, ft, ys):
        self.source, self.target, self.ys = (fs, net.head(fs)), (ft, net.head(ft)), ys
