"""Subspace alignment, then k-means on both domains. Fernando, Habrard, Sebban and Tuytelaars, ICCV 2013.

    z_s = (x_s - mean_s) P_s P_s' P_t,   z_t = (x_t - mean_t) P_t
    (m_1, ..., m_K) = argmin  sum_i min_k |z_i - m_k|^2      over the samples z_i of both domains

P_s and P_t (d, 20) are the leading principal components of either domain (``sa`` at its defaults).

Evidence: tests/test_unlabelled.py::test_maps_are_those_of_their_methods, test_no_source_label_reaches_a_method,
test_clusters_of_moved_domains_are_found_again.
"""

from __future__ import annotations

from dazoo.core.paper import Paper
from dazoo.methods.base import register
from dazoo.methods.unlabelled._clusters import Clusters


@register
class SAKMeans(Clusters):
    """Subspace alignment, then k-means."""

    paper = Paper(
        title="Unsupervised Visual Domain Adaptation Using Subspace Alignment",
        authors="Basura Fernando, Amaury Habrard, Marc Sebban, Tinne Tuytelaars", year=2013,
        url="https://openaccess.thecvf.com/content_iccv_2013/html/"
        "Fernando_Unsupervised_Visual_Domain_2013_ICCV_paper.html",
        venue="ICCV",
        deviations="the paper aligns for a classifier of labelled source samples; here k-means is run on both aligned "
        "domains",
    )  # fmt: skip
    aligner = "sa"
