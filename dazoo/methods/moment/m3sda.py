"""M3SDA: match moments of every source with the target and with each other. Peng et al., ICCV 2019.

    min_{F,C}  CE(C(f_s), y_s) + trade_off * sum_{k<=K} [ 1/N sum_i |E f_i^k - E f_t^k|
                                                         + 2/(N (N-1)) sum_{i<j} |E f_i^k - E f_j^k| ]

f = F(x) (b, width), powers taken per feature, f_i the batch's rows of source i of N, Euclidean norms over features. A
source that a batch lacks drops out of both means.

``m3sda_heads`` and ``m3sda_beta`` are the paper's forms with classifiers of each source.

Evidence: tests/test_moment_structure.py (test_m3sda_matches_all_pairs, test_m3sda_drops_absent_sources),
tests/test_multi_source.py (test_m3sda_of_one_source_is_moment_matching), the parity fixtures.
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.classwise import one_hot
from dazoo.ops.sources import moment_distance


@register
class M3SDA(GradientMethod):
    """Moment matching for multi-source domain adaptation."""

    paper = Paper(
        title="Moment Matching for Multi-Source Domain Adaptation",
        authors="Xingchao Peng, Qinxun Bai, Xide Xia, Zijun Huang, Kate Saenko, Bo Wang",
        year=2019, url="https://arxiv.org/abs/1812.01754", venue="ICCV",
        deviations="one classifier for all sources (m3sda_heads has one for each, m3sda_beta two); the weight is ours, "
        "that of the other class-wise and moment methods here; the authors' digits program computes another distance",
    )  # fmt: skip
    handles = Handles(n_sources="many")
    targets = frozenset({"classes", "values"})

    trade_off: float = hp(0.1, 0.005, 1.0, log=True, help="weight of the moment distance")
    moments: int = hp(2, 1, 4, help="highest order K")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        distance = moment_distance(fs, ft, one_hot(b.ds, net.n_sources, fs.dtype), self.moments)
        return {"cls": net.criterion(net.head(fs), b.ys), "moments": self.trade_off * distance}
