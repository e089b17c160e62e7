"""Spectral clusters of a graph over both domains, standardised. Ng, Jordan, Weiss, NIPS 2001.

    L = D^(-1/2) W D^(-1/2),   W_ij = (1(j among the k nearest of i) + 1(i among the k nearest of j)) / 2
    u_i = rows of the K leading eigenvectors of L, then k-means on u_i

over all samples z = (x - mean) / sd of both domains, W (n, n), D its row sums. Clusters are what hangs together, of
any shape; a domain that hangs together more than its classes becomes a cluster of its own. New samples get the
cluster of the nearest one.

Evidence: tests/test_unlabelled.py::test_spectral_clusters_follow_what_hangs_together,
test_no_source_label_reaches_a_method, test_clusters_of_moved_domains_are_found_again.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned
from dazoo.methods.unlabelled._clusters import STARTS, Clusters, each_standardised, need, state
from dazoo.ops.classwise import one_hot
from dazoo.shallow.steps import Head, NearestScores


@register
class SpectralClusters(Clusters):
    """Spectral clusters of a graph over both domains."""

    paper = Paper(
        title="On Spectral Clustering: Analysis and an Algorithm",
        authors="Andrew Y. Ng, Michael I. Jordan, Yair Weiss", year=2001,
        url="https://papers.nips.cc/paper/2092-on-spectral-clustering-analysis-and-an-algorithm", venue="NIPS",
        deviations="nearest neighbours instead of a Gaussian kernel, which needs a width; rows are scaled by degree, "
        "not to norm 1, as scikit-learn does",
    )  # fmt: skip
    growth = 2.0

    neighbours: int = hp(10, 5, 30, log=True, help="nearest neighbours of a sample in the graph")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        return each_standardised(seen)

    def clusters(self, z: Tensor, k: int, ctx: Context) -> Head:
        from sklearn.cluster import SpectralClustering

        need(z, k)
        made = SpectralClustering(
            k,
            affinity="nearest_neighbors",
            n_neighbors=min(self.neighbours, len(z) - 1),
            n_init=STARTS,
            random_state=state(ctx.gen),
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Graph is not fully connected")
            labels = torch.from_numpy(made.fit_predict(z.cpu().numpy())).long().to(z.device)
        return NearestScores(z, one_hot(labels, k).to(z))
