"""BSS: fine-tuning that shrinks the weakest directions of the features. Chen, Wang, Fu, Long, Wang, NeurIPS 2019.

    min_{F,C}  1/n_f sum_i loss(C(F(x_i)), y_i) + trade_off * sum_{i <= k} sigma_{-i}^2

sigma_{-i} is the i-th smallest singular value of the batch's features (b, width) that is not zero.

Evidence: tests/test_finetune.py (equals numpy's decomposition, repeated samples or not; weight 0 is fine_tune),
tests/test_parity.py (bss_k1 for the plain form).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.finetune.fine_tune import FineTune
from dazoo.nets.net import Net
from dazoo.ops.transfer import smallest_singular


@register
class BSS(FineTune):
    """Batch spectral shrinkage."""

    paper = Paper(
        title="Catastrophic Forgetting Meets Negative Transfer: Batch Spectral Shrinkage for Safe Transfer Learning",
        authors="Xinyang Chen, Sinan Wang, Bo Fu, Mingsheng Long, Jianmin Wang",
        year=2019, url="https://papers.nips.cc/paper/8466", venue="NeurIPS",
        deviations="zeros are passed over, since batches repeat samples where labels are few",
    )  # fmt: skip

    trade_off: float = hp(0.001, 0.0001, 0.1, log=True, help="weight of the smallest singular values")
    k: int = hp(1, 1, 4, help="how many of them")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.yf is not None
        f = net.body(b.xf)
        return {
            "cls": net.criterion(net.head(f), b.yf),
            "spectrum": self.trade_off * smallest_singular(f, self.k),
        }
