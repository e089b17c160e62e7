"""DAN: match kernel mean embeddings of features and scores. Long, Cao, Wang, Jordan, ICML 2015.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * sum_l MMD^2_k(h_l(x_s), h_l(x_t))

over the layers l: the features F (b, width) and, with ``layers = "both"``, the scores C(F) (b, C). k is a sum of
Gaussian kernels whose bandwidths are powers of two times the mean squared distance. ``linear`` uses the paper's
linear-time estimator over cyclic pairs.

Evidence: tests/test_parity.py (dan_mkmmd, dan_mkmmd_linear), tests/test_ops_formulas.py
(test_mk_mmd_of_unequal_samples).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.mmd import mk_mmd, mk_mmd_linear


@register
class DAN(GradientMethod):
    """Deep adaptation network."""

    paper = Paper(
        title="Learning Transferable Features with Deep Adaptation Networks",
        authors="Mingsheng Long, Yue Cao, Jianmin Wang, Michael I. Jordan",
        year=2015, url="https://arxiv.org/abs/1502.02791", venue="ICML",
        deviations="kernel weights are equal instead of learned by the quadratic programme; five bandwidths around the "
        "mean squared distance, in the paper 33 from 2^-8 to 2^8 times the median",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    targets = frozenset({"classes", "values"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the MMD terms")
    layers: str = hp("features", choices=("features", "both"), help="which layers are matched")
    linear: bool = hp(False, choices=(False, True), help="linear-time estimator instead of the quadratic one")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls = net.head(fs)
        mmd = mk_mmd_linear if self.linear else mk_mmd
        distance = mmd(fs, ft)
        if self.layers == "both":
            distance = distance + mmd(ls, net.head(ft))
        return {"cls": net.criterion(ls, b.ys), "mmd": self.trade_off * distance}
