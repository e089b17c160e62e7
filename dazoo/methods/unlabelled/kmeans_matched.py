"""k-means on each domain, then the best matching of centres. Kuhn, Naval Research Logistics Quarterly 1955.

    m_k = centres of k-means on z_s,   n_k = centres of k-means on z_t,      z = (x - mean) / sd  in each domain
    pi  = argmin_pi  sum_k |m_k - n_pi(k)|^2      over permutations pi of the K clusters

Cluster k of the source and cluster pi(k) of the target get the same name. Clusters of a domain depend on nothing in
the other, so they are as good as that domain allows; whether the same name means the same class is left to the
matching of centres (K, d).

Evidence: tests/test_unlabelled.py::test_cluster_centres_both_domains_are_matched_at_least_cost,
test_no_source_label_reaches_a_method, test_clusters_of_moved_domains_are_found_again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import pair
from dazoo.methods.unlabelled._clusters import Clustered, Clusters, centre_scores, cluster_centres, each_standardised
from dazoo.ops.linalg.linear import distances_between
from dazoo.shallow.steps import run_steps


@register
class KMeansMatched(Clusters):
    """k-means on each domain, then the best matching of centres."""

    paper = Paper(
        title="The Hungarian Method for the Assignment Problem",
        authors="Harold W. Kuhn", year=1955,
        url="https://doi.org/10.1002/nav.3800020109", venue="Naval Research Logistics Quarterly (Journal)",
        deviations="the paper is about assignments alone; here centres of clusters are assigned to one another",
    )  # fmt: skip

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Cluster each domain, then match."""
        aligned = each_standardised(seen)
        source = cluster_centres(aligned.zs, seen.n_classes, ctx.gen, ctx.warn)
        target = cluster_centres(run_steps(aligned.target_steps, pair(seen)[1]), seen.n_classes, ctx.gen, ctx.warn)
        heads = centre_scores(target[matching(source, target)]), centre_scores(source)
        return Clustered(aligned.target_steps, aligned.source_steps, heads[0], source_head=heads[1])


def matching(source: Tensor, target: Tensor) -> Tensor:
    """Rows (k,) of ``target`` (k, d) that belong to those of ``source`` (k, d), at the least squared distances."""
    from scipy.optimize import linear_sum_assignment

    _, columns = linear_sum_assignment(distances_between(source, target).cpu().numpy())
    return torch.from_numpy(columns).to(source.device)
