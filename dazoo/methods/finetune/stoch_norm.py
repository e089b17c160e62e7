"""StochNorm: fine-tuning with batch normalisation that draws between two kinds of statistics. Kou et al., NeurIPS 2020.

    min_theta  1/n_f sum_i loss(f_theta(x_i), y_i)   with, in every batch normalisation and channel c,
    z_c = gamma_c ((1 - s_c) z_c' + s_c z_c'') + beta_c,   s_c ~ Bernoulli(p),
    z' normalised by the moving statistics (from the source model), z'' by those of the batch (b, C, ...)

In evaluation the moving statistics are used as always. A network without batch normalisation is refused.

Evidence: tests/test_finetune.py (equals both kinds for p = 0 and p = 1, and their mixture between).
"""

from __future__ import annotations

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import register
from dazoo.methods.finetune.fine_tune import FineTune
from dazoo.nets.net import Net
from dazoo.nets.parts.stoch_norm import stochastic


@register
class StochNormTune(FineTune):
    """Stochastic normalisation."""

    paper = Paper(
        title="Stochastic Normalization", authors="Zhi Kou, Kaichao You, Mingsheng Long, Jianmin Wang", year=2020,
        url="https://proceedings.neurips.cc/paper/2020/hash/bc573864331a9e42e4511de6f678aa83-Abstract.html",
        venue="NeurIPS",
    )  # fmt: skip
    stackable = False
    needs_batch_norm = True

    p: float = hp(0.5, 0.1, 0.9, help="probability of the batch statistics")

    def setup(self, net: Net) -> None:
        super().setup(net)
        stochastic(net.body, self.p)
