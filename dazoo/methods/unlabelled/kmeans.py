"""k-means on the samples of both domains as they are. Lloyd, IEEE Transactions on Information Theory 1982.

    (m_1, ..., m_K) = argmin  sum_i min_k |x_i - m_k|^2      over the samples x_i of both domains

m_k (d,) are the K centres, the best of ten starts. Where the domains lie apart, centres divide them by domain and not
by class: the row that alignment has to beat.

Evidence: tests/test_unlabelled.py::test_maps_are_those_of_their_methods, test_no_source_label_reaches_a_method,
test_clusters_of_moved_domains_are_found_again.
"""

from __future__ import annotations

from dazoo.core.paper import Paper
from dazoo.methods.base import register
from dazoo.methods.unlabelled._clusters import Clusters


@register
class KMeansPooled(Clusters):
    """k-means on the samples of both domains."""

    paper = Paper(
        title="Least Squares Quantization in PCM",
        authors="Stuart P. Lloyd", year=1982,
        url="https://doi.org/10.1109/TIT.1982.1056489", venue="IEEE Transactions on Information Theory (Journal)",
        deviations="the paper is about one set of samples; here it is that of both domains, and starts are drawn by "
        "k-means++",
    )  # fmt: skip
