"""Linear Monge map, then k-means on both domains. Flamary, Lounici and Ferrari, 2019.

    z_s = (x_s - mean_s) A + mean_t,   A = C_s^(-1/2) (C_s^(1/2) C_t C_s^(1/2))^(1/2) C_s^(-1/2),      z_t = x_t
    (m_1, ..., m_K) = argmin  sum_i min_k |z_i - m_k|^2      over the samples z_i of both domains

A (d, d) transports the Gaussian of the source to that of the target with least squared distance (``ot_linear`` at its
defaults). It moves no sample further than matching the moments takes, so clusters keep their neighbours better than
under other maps with the same moments.

Evidence: tests/test_unlabelled.py::test_maps_are_those_of_their_methods, test_no_source_label_reaches_a_method,
test_clusters_of_moved_domains_are_found_again.
"""

from __future__ import annotations

from dazoo.core.paper import Paper
from dazoo.methods.base import register
from dazoo.methods.unlabelled._clusters import Clusters


@register
class OTKMeans(Clusters):
    """Linear Monge map, then k-means."""

    paper = Paper(
        title="Concentration bounds for linear Monge mapping estimation and optimal transport domain adaptation",
        authors="Rémi Flamary, Karim Lounici, André Ferrari", year=2019, url="https://arxiv.org/abs/1905.10155",
        venue="arXiv",
        deviations="the paper aligns for a classifier of labelled source samples; here k-means is run on both aligned "
        "domains",
    )  # fmt: skip
    aligner = "ot_linear"
