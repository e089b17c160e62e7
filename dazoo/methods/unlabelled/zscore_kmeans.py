"""Both domains standardised, then k-means on both. Lloyd, IEEE Transactions on Information Theory 1982.

    z_s = (x_s - mean_s) / sd_s,   z_t = (x_t - mean_t) / sd_t      feature by feature
    (m_1, ..., m_K) = argmin  sum_i min_k |z_i - m_k|^2      over the samples z_i of both domains

The least that can be matched: mean and variance of every feature by itself. m_k (d,) are the K centres.

Evidence: tests/test_unlabelled.py::test_maps_are_those_of_their_methods, test_no_source_label_reaches_a_method,
test_clusters_of_moved_domains_are_found_again.
"""

from __future__ import annotations

from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned
from dazoo.methods.unlabelled._clusters import Clusters, each_standardised


@register
class ZScoreKMeans(Clusters):
    """Both domains standardised, then k-means."""

    paper = Paper(
        title="Least Squares Quantization in PCM",
        authors="Stuart P. Lloyd", year=1982,
        url="https://doi.org/10.1109/TIT.1982.1056489", venue="IEEE Transactions on Information Theory (Journal)",
        deviations="the paper is about one set of samples; here it is that of both domains, each standardised",
    )  # fmt: skip

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        return each_standardised(seen)
