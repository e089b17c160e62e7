"""M3SDA with a classifier for each source: matched moments, and classifiers that vote. Peng et al., ICCV 2019.

    min_{F,C}  CE(C_i(f_s), y_s) + trade_off * sum_{k<=K} [ 1/N sum_i |E f_i^k - E f_t^k|
                                                           + 2/(N (N-1)) sum_{i<j} |E f_i^k - E f_j^k| ]

f = F(x) (b, width), powers taken per feature, f_i the batch's rows of source i of N, Euclidean norms over features. A
source sample is classified by the head C_i of its source; predictions are the mean of softmax(C_i(f_t)). A batch has as
many rows of each source. Squared errors and means for values.

Evidence: tests/test_multi_source.py (test_m3sda_heads_of_their_own, test_m3sda_of_one_source_is_moment_matching), the
parity fixtures.
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.multi_source._by_source import BySource, mean_of_heads, own_heads, own_scores, sources_of
from dazoo.nets.net import Net
from dazoo.ops.sources import moment_distance


@register
class M3SDAHeads(BySource):
    """Moment matching with a classifier per source."""

    paper = Paper(
        title="Moment Matching for Multi-Source Domain Adaptation",
        authors="Xingchao Peng, Qinxun Bai, Xide Xia, Zijun Huang, Kate Saenko, Bo Wang",
        year=2019, url="https://arxiv.org/abs/1812.01754", venue="ICCV",
        deviations="classifiers vote evenly, where the paper also weighs them by accuracies that need target labels; "
        "the weight is ours, that of m3sda",
    )  # fmt: skip
    targets = frozenset({"classes", "values"})

    trade_off: float = hp(0.1, 0.005, 1.0, log=True, help="weight of the moment distance")
    moments: int = hp(2, 1, 4, help="highest order K")

    def setup(self, net: Net) -> None:
        net.add_module("own_head", own_heads(net))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        w = sources_of(net, b.ds, fs)
        return {
            "cls": net.criterion(own_scores(net.own_head, fs, w), b.ys),
            "moments": self.trade_off * moment_distance(fs, ft, w, self.moments),
        }

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        return Prediction(mean_of_heads(net, net.own_head, features), features)
