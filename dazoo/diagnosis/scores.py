"""Transferability scores: how well features or predictions of a pre-trained model suit a labelled target set.

Higher is better for all of them. They are numbers for ranking models, so they take tensors (or arrays), compute in
float64 without gradients and return a Python float. Classes are the distinct labels that occur.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from dazoo.core.errors import DazooError

Array = Any


def h_score(features: Tensor | Array, labels: Tensor | Array, rcond: float = 1e-15) -> float:
    """H-score, ``trace(cov(f)^+ cov(E[f | y]))``: features (n, d), labels (n,).

    Covariances over n - 1. ``rcond`` cuts the singular values of the pseudo-inverse relative to the largest. Where
    features are linearly dependent (n <= d) the score rests on that cut; use ``regularized_h_score`` there.
    Bao et al., ICIP 2019, https://arxiv.org/abs/2212.10082
    """
    f, y = _pair(features, labels)
    g, _ = _class_means(f, y)
    return float(np.trace(np.linalg.pinv(_cov(f), rcond=rcond) @ _cov(g)))


def regularized_h_score(features: Tensor | Array, labels: Tensor | Array) -> float:
    """H-score with shrunk covariance, ``(1 - a) trace(S^-1 cov(E[f | y]))``: features (n, d), labels (n,).

    S and its shrinkage a are Ledoit and Wolf's. Ibrahim et al., 2021 (ECML PKDD 2022), https://arxiv.org/abs/2110.06893
    """
    from sklearn.covariance import LedoitWolf

    f, y = _pair(features, labels)
    f = f - f.mean(0, keepdims=True)
    shrunk = LedoitWolf(store_precision=False).fit(f)
    g, _ = _class_means(f, y)
    inverse = np.linalg.pinv(shrunk.covariance_, rcond=1e-15)
    return float(np.trace(inverse @ ((1.0 - shrunk.shrinkage_) * _cov(g))))


def logme(features: Tensor | Array, targets: Tensor | Array, *, regression: bool = False) -> float:
    """Log maximum evidence per sample of a Bayesian linear model, averaged over one-vs-rest targets.

        max over alpha, beta of 1/n log p(y | F, alpha, beta),   w ~ N(0, I / alpha),  y ~ N(F w, I / beta)

    by MacKay's fixed point, at most 11 rounds, ended by a change of alpha / beta below 1 %.
    You et al., ICML 2021, https://arxiv.org/abs/2102.11005

    Args:
        features: F (n, d).
        targets: labels (n,), or with ``regression`` values (n,) or (n, k).
    """
    if regression:
        f = _array(features)
        values = _array(targets).reshape(len(f), -1)
    else:
        f, y = _pair(features, targets)
        values = (y[:, None] == np.unique(y)[None, :]).astype(np.float64)
    _, sigma, vt = np.linalg.svd(f, full_matrices=False)
    # the squared spectrum of F, with the zeros of F^T F that an economical decomposition leaves out
    spectrum = np.zeros(f.shape[1])
    spectrum[: len(sigma)] = sigma**2
    return float(np.mean([_evidence(f, vt, spectrum, values[:, j]) for j in range(values.shape[1])]))


def _evidence(f: np.ndarray, vt: np.ndarray, s: np.ndarray, y: np.ndarray) -> float:
    """Maximum log evidence per sample of one target y (n,)."""
    n, d = f.shape
    r = len(vt)
    projected = vt @ (f.T @ y)
    alpha, beta, ratio = 1.0, 1.0, 1.0
    tiny = np.finfo(np.float64).tiny
    weights2 = residual2 = 0.0
    for _ in range(11):
        gamma = float((s / (s + ratio)).sum())
        w = vt.T @ (beta * projected / (alpha + beta * s[:r]))
        weights2 = max(float(w @ w), tiny)
        residual2 = max(float(((y - f @ w) ** 2).sum()), tiny)
        alpha, beta = gamma / weights2, (n - gamma) / residual2
        new = alpha / beta
        if abs(new - ratio) / ratio < 0.01:
            break
        ratio = new
    evidence = (
        d / 2.0 * np.log(alpha)
        + n / 2.0 * np.log(beta)
        - 0.5 * np.log(alpha + beta * s).sum()
        - beta / 2.0 * residual2
        - alpha / 2.0 * weights2
        - n / 2.0 * np.log(2.0 * np.pi)
    )
    return float(evidence / n)


def transrate(features: Tensor | Array, labels: Tensor | Array, eps: float = 1e-4) -> float:
    """Coding rate of all features minus the mean coding rate of the classes, in nats: features (n, d), labels (n,).

        R(Z) - 1/C sum_c R(Z_c),    R(Z) = 1/2 log det(I + Z^T Z / (n eps)),  Z centred over all rows

    Huang et al., ICML 2022, https://arxiv.org/abs/2106.09362
    """
    f, y = _pair(features, labels)
    z = f - f.mean(0, keepdims=True)
    classes = np.unique(y)
    return _coding_rate(z, eps) - sum(_coding_rate(z[y == c], eps) for c in classes) / len(classes)


def _coding_rate(z: np.ndarray, eps: float) -> float:
    n, d = z.shape
    # det(I + Z^T Z) = det(I + Z Z^T); the smaller of the two
    gram = z.T @ z if d <= n else z @ z.T
    return float(0.5 * np.linalg.slogdet(np.eye(len(gram)) + gram / (n * eps))[1])


def leep(predictions: Tensor | Array, labels: Tensor | Array) -> float:
    """Log expected empirical prediction, ``1/n sum_i log sum_z P(y_i | z) p_i(z)``, in nats.

    predictions (n, Z): source-class probabilities of the target samples; labels (n,). ``P(y | z)`` is the empirical
    conditional of label and source class. Nguyen et al., ICML 2020, https://arxiv.org/abs/2002.12462
    """
    p, y = _pair(predictions, labels)
    classes, index = np.unique(y, return_inverse=True)
    joint = np.zeros((len(classes), p.shape[1]))
    np.add.at(joint, index, p / len(p))
    mass = joint.sum(0, keepdims=True)
    conditional = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
    return float(np.log((p * conditional[index]).sum(1)).mean())


def nce(source_labels: Tensor | Array, labels: Tensor | Array) -> float:
    """Negative conditional entropy ``-H(Y | Z) = sum_yz P(y, z) log(P(y, z) / P(z))`` in nats, both (n,).

    Z are the source labels that a model gives the target samples. Tran et al., ICCV 2019,
    https://arxiv.org/abs/1908.08142
    """
    z, y = _array(source_labels).reshape(-1), _array(labels).reshape(-1)
    if len(z) != len(y) or not len(y):
        raise DazooError(f"nce needs equally many source and target labels, not {len(z)} and {len(y)}")
    (_, zi), (_, yi) = np.unique(z, return_inverse=True), np.unique(y, return_inverse=True)
    joint = np.zeros((yi.max() + 1, zi.max() + 1))
    np.add.at(joint, (yi, zi), 1.0 / len(y))
    conditional = joint / joint.sum(0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(conditional[seen])).sum())


def _array(x: Tensor | Array) -> np.ndarray:
    """Any tensor or array as float64."""
    x = x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)
    return np.asarray(x, dtype=np.float64)


def _pair(features: Tensor | Array, labels: Tensor | Array) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, d) and labels (n,), checked."""
    f, y = _array(features), _array(labels).reshape(-1)
    if f.ndim != 2 or len(f) != len(y):
        raise DazooError(f"a score needs rows (n, d) and labels (n,), not shapes {f.shape} and {y.shape}")
    if len(f) < 2:
        raise DazooError(f"a score needs at least 2 samples, not {len(f)}")
    if not np.isfinite(f).all():
        raise DazooError("the features of a score must be finite")
    return f, y


def _cov(f: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.cov(f, rowvar=False))


def _class_means(f: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every row replaced by its class mean (n, d), and the classes."""
    classes, index = np.unique(y, return_inverse=True)
    means = np.stack([f[y == c].mean(0) for c in classes])
    return means[index], classes
