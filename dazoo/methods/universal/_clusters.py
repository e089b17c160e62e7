"""Clusters of target features, and the labels they give, as several methods need them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from dazoo.methods.base import Look
from dazoo.nets.net import Net
from dazoo.ops.classwise import class_means, one_hot

MOST = 2000
"""Silhouettes and numbers of clusters are found on so many rows, evenly spread, where there are more."""


def kmeans(f: Tensor, k: int, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Centres (k', d) and the row's cluster (n,) of f (n, d), the same for the same f; k' = min(k, rows that differ).

    ``start`` (k, d) replaces the search for first centres.
    """
    from sklearn.cluster import KMeans

    x = f.detach().to("cpu", torch.float64).numpy()
    k = min(k, len(np.unique(x, axis=0)))
    init: Any = "k-means++" if start is None or len(start) != k else start.detach().to("cpu", torch.float64).numpy()
    found = KMeans(k, init=init, n_init=1, max_iter=100 if start is None else 10, random_state=0).fit(x)
    centres = torch.from_numpy(found.cluster_centers_).to(f)
    return centres, torch.from_numpy(found.labels_.astype(np.int64)).to(f.device)


def spread_rows(f: Tensor, most: int = MOST) -> Tensor:
    """At most ``most`` rows of f, evenly spread."""
    return f if len(f) <= most else f[torch.linspace(0, len(f) - 1, most).round().long()]


def target_classes(net: Net, look: Look, n_classes: int, multiples: tuple[float, ...]) -> Tensor:
    """Estimated number of the target's classes (), found at the first refresh and remembered in ``number``.

    Counted are clusters of what the backbone gives: the bottleneck is trained to tell the source's classes apart and
    has about as many clusters, whatever else the target holds.
    """
    if "number" in look.memory:
        return look.memory["number"]
    raw = torch.cat([net.body.backbone(x * net.body.scale) for x in look.inputs("target")])
    return torch.tensor(best_number(normalize(raw.flatten(1), dim=-1), n_classes, multiples))


def best_number(f: Tensor, n_classes: int, multiples: tuple[float, ...]) -> int:
    """The number of clusters, a multiple of ``n_classes``, whose clustering of f has the largest mean silhouette."""
    from sklearn.metrics import silhouette_score

    rows = spread_rows(f)
    x = rows.detach().to("cpu", torch.float64).numpy()
    best, score = max(2, n_classes), -np.inf
    for k in sorted({max(2, int(m * n_classes)) for m in multiples}):
        _, cluster = kmeans(rows, k)
        if 1 < len(cluster.unique()) < len(x) and (found := silhouette_score(x, cluster.cpu().numpy())) > score:
            best, score = k, float(found)
    return best


def likeliest(p: Tensor, number: int) -> Tensor:
    """The rows (n / number, K) that p (n, K) finds likeliest of every class; at least one."""
    return p.topk(max(1, len(p) // number), dim=0).indices


def one_vs_all_labels(f: Tensor, p: Tensor, number: int, rho: float) -> Tensor:
    """Classes (n,) of unit features f (n, d) with probabilities p (n, K), K for "unknown"; see ``glc``."""
    top = likeliest(p, number)
    prototypes = normalize(f[top].mean(0), dim=-1)
    factor = p.gather(0, top).mean(0) * (1.0 - rho) + rho
    similar = f @ prototypes.T
    label = similar.argmax(1)
    own = (similar * factor).gather(1, label[:, None]).squeeze(1)
    common, _ = kmeans(f, number)
    for c in range(p.shape[1]):
        others = torch.ones(len(f), dtype=torch.bool, device=f.device)
        others[top[:, c]] = False
        if not others.any():
            continue
        centres = normalize(kmeans(f[others], number, common)[0], dim=-1)
        rejected = (label == c) & (own < (f @ centres.T).amax(1))
        label = torch.where(rejected, p.shape[1], label)
    return label


def soft_labels(label: Tensor, p: Tensor) -> Tensor:
    """One-hot rows (n, K) of classes (n,) below K, and 1/K of each class for K, "unknown"; shape and type of p."""
    k = p.shape[1]
    return torch.where((label < k)[:, None], one_hot(label, k, p.dtype), torch.full_like(p, 1.0 / k))


def two_gaussians(x: Tensor) -> float:
    """The larger mean of a mixture of two Gaussians fitted to x (n,); the largest x where all are nearly equal."""
    from sklearn.mixture import GaussianMixture

    values = x.detach().to("cpu", torch.float64).numpy()[:, None]
    if np.ptp(values) < 1e-6:
        return float(values.max())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that stops at its last round still has two means
        return float(GaussianMixture(2, random_state=0).fit(values).means_.max())


def consensus_clusters(fs: Tensor, ys: Tensor, ft: Tensor, n_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Clusters of the target that agree best with the source's classes: unit features fs (n, d), ft (m, d), ys (n,).

    Tried are multiples of ``n_classes`` up to 3. A cluster and a class that are each other's nearest centre are a pair;
    its score is the mean of the share of the cluster's samples nearest to that class and of the class's samples nearest
    to that cluster. The number of clusters with the largest mean score wins; pairs of three samples or fewer are none.

    Returns:
        Unit centres (k, d), the cluster of every target row (m,), and the class of every cluster (k,), -1 for none.
    """
    classes = normalize(class_means(fs, one_hot(ys, n_classes, fs.dtype))[0], dim=-1)
    best: tuple[float, Tensor, Tensor, Tensor] | None = None
    for number in sorted({max(2, int(m * n_classes)) for m in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)}):
        centres, code = kmeans(ft, number)
        centres = normalize(centres, dim=-1)
        similar = classes @ centres.T
        to_cluster, to_class = similar.argmax(1), similar.argmax(0)
        mutual = [(c, int(k)) for c, k in enumerate(to_cluster) if int(to_class[k]) == c]
        found = torch.full((len(centres),), -1, dtype=torch.int64, device=ft.device)
        scores = []
        for c, k in mutual:
            back = (ft[code == k] @ classes.T).argmax(1) == c
            forth = (fs[ys == c] @ centres.T).argmax(1) == k
            scores.append((float(back.float().mean()) + float(forth.float().mean())) / 2)
            if int((code == k).sum()) > 3:
                found[k] = c
        score = float(np.nanmean(scores)) if scores else 0.0
        if best is None or score > best[0]:
            best = score, centres, code, found
    assert best is not None
    return best[1:]
