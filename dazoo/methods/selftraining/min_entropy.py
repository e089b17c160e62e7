"""Entropy minimisation: confident predictions on the target. Grandvalet, Bengio, NIPS 2004.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * 1/b sum_i H(p_i)
    p_i = softmax(C(F(x_t,i))) (C,),  H(p) = -sum_c p_c log p_c in nats

Evidence: tests/test_selftraining.py (equals a transcription in loops), tests/test_ops_limits.py.
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.entropy import entropy_of_logits


@register
class MinEntropy(GradientMethod):
    """Entropy regularisation with unlabelled target samples."""

    paper = Paper(
        title="Semi-supervised Learning by Entropy Minimization", authors="Yves Grandvalet, Yoshua Bengio", year=2004,
        url="https://papers.nips.cc/paper/2740-semi-supervised-learning-by-entropy-minimization", venue="NIPS",
        deviations="the unlabelled samples are the target's; the weight is constant, not annealed; nothing "
        "asks for diversity, so on large shifts it can end below source_only, with few classes predicted",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the target entropy")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "ent": self.trade_off * entropy_of_logits(net.head(ft)).mean(),
        }
