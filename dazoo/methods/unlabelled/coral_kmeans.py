"""CORAL, then k-means on both domains. Sun, Feng and Saenko, AAAI 2016.

    z_s = (x_s - mean_s) C_s^(-1/2) C_t^(1/2) + mean_t,   z_t = x_t
    (m_1, ..., m_K) = argmin  sum_i min_k |z_i - m_k|^2      over the samples z_i of both domains

C_s and C_t (d, d) are the covariances of both domains plus the identity (``coral`` at its defaults): means and
covariances of the domains agree before the K centres m_k are looked for.

Evidence: tests/test_unlabelled.py::test_maps_are_those_of_their_methods, test_no_source_label_reaches_a_method,
test_clusters_of_moved_domains_are_found_again.
"""

from __future__ import annotations

from dazoo.core.paper import Paper
from dazoo.methods.base import register
from dazoo.methods.unlabelled._clusters import Clusters


@register
class CORALKMeans(Clusters):
    """CORAL, then k-means."""

    paper = Paper(
        title="Return of Frustratingly Easy Domain Adaptation", authors="Baochen Sun, Jiashi Feng, Kate Saenko",
        year=2016, url="https://arxiv.org/abs/1511.05547", venue="AAAI",
        deviations="the paper aligns for a classifier of labelled source samples; here k-means is run on both aligned "
        "domains",
    )  # fmt: skip
    aligner = "coral"
