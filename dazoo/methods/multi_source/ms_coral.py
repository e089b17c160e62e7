"""Deep CORAL for several sources: match the covariance of each with the target's. Peng and Saenko, 2018, and others.

    min_{F,C}  CE(C(f_s), y_s) + trade_off * 1/N sum_k ||Cov(f_k) - Cov(f_t)||_F^2 / (4 d^2)

f = F(x) (b, d), f_k the batch's rows of source k of N; a source with fewer than two rows drops out of the mean. With
one source it is ``deep_coral``; pooled, ``deep_coral`` matches the covariance of the mixture, which also holds the
differences between the sources' means. A batch has as many rows of each source.

Evidence: tests/test_multi_source.py (test_ms_coral_of_one_source_is_deep_coral), the parity fixtures.
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.multi_source._by_source import BySource, sources_of
from dazoo.nets.net import Net
from dazoo.ops.sources import coral_by_source


@register
class MSCoral(BySource):
    """Correlation alignment of each source with the target."""

    paper = Paper(
        title="Deep CORAL: Correlation Alignment for Deep Domain Adaptation",
        authors="Baochen Sun, Kate Saenko",
        year=2016, url="https://arxiv.org/abs/1607.01719", venue="ECCV Workshops",
        deviations="the mean over sources of the paper's distance, as comparisons of multi-source methods use it; "
        "aligns the features; the weight is ours",
    )  # fmt: skip
    targets = frozenset({"classes", "values"})

    trade_off: float = hp(100.0, 1.0, 1000.0, log=True, help="weight of the covariance distances")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        distance = coral_by_source(fs, ft, sources_of(net, b.ds, fs))
        return {"cls": net.criterion(net.head(fs), b.ys), "coral": self.trade_off * distance}
