"""Transfer components, then k-means on both domains. Pan, Tsang, Kwok and Yang, IEEE TNN 2011.

    max_A  tr(A' K H K A)   subject to  A' (K L K + mu I) A = I,      z = k(x, X) A
    (m_1, ..., m_K) = argmin  sum_i min_k |z_i - m_k|^2      over the samples z_i of both domains

K is the kernel matrix of all n samples, H centres, tr(A' K L K A) is the distance of the domains' means in the common
space (MMD), A (n, 20) (``tca`` at its defaults).

Evidence: tests/test_unlabelled.py::test_maps_are_those_of_their_methods, test_no_source_label_reaches_a_method,
test_clusters_of_moved_domains_are_found_again.
"""

from __future__ import annotations

from dazoo.core.paper import Paper
from dazoo.methods.base import register
from dazoo.methods.unlabelled._clusters import Clusters


@register
class TCAKMeans(Clusters):
    """Transfer components, then k-means."""

    paper = Paper(
        title="Domain Adaptation via Transfer Component Analysis",
        authors="Sinno Jialin Pan, Ivor W. Tsang, James T. Kwok, Qiang Yang", year=2011,
        url="https://doi.org/10.1109/TNN.2010.2091281", venue="IEEE Transactions on Neural Networks (Journal)",
        deviations="the paper aligns for a classifier of labelled source samples; here k-means is run on both aligned "
        "domains",
    )  # fmt: skip
    aligner = "tca"
