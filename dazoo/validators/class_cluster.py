"""Agreement of the target's clusters with the predictions.

    V = AMI(k-means(f / |f|, k = C), argmax_c s)

adjusted mutual information of the clusters of normalised target features and the predicted classes; 0 for independent
labelings, 1 for equal ones. Musgrave, Belongie, Lim: Benchmarking Validation Methods for Unsupervised Domain
Adaptation. 2022. https://arxiv.org/abs/2208.07360
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.validators.base import register_validator


@register_validator(cost="costly", labels=("closed",))
def class_cluster(target_features: Tensor, target_probs: Tensor, n_classes: int) -> float | None:
    """Adjusted mutual information of k-means clusters of target features and predicted classes."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.metrics import adjusted_mutual_info_score

    n = len(target_features)
    if n <= n_classes:
        return None
    f = torch.nn.functional.normalize(target_features, dim=1).numpy()
    kind = KMeans if n <= 20_000 else MiniBatchKMeans
    clusters = kind(n_clusters=n_classes, n_init=5, random_state=0).fit_predict(f)
    return float(adjusted_mutual_info_score(clusters, target_probs.argmax(1).numpy()))
