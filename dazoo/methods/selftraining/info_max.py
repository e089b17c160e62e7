"""Information maximisation: confident target predictions that use all classes. Shi, Sha, ICML 2012.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * [1/b sum_i H(p_i) - diversity_weight * H(1/b sum_i p_i)]
    p_i = softmax(C(F(x_t,i))) (C,),  H the Shannon entropy in nats

With diversity_weight 1 the bracket is minus the mutual information of target sample and predicted class (Krause et al.,
NIPS 2010).

Evidence: tests/test_selftraining.py (equals a transcription in loops; -log C for balanced one-hot predictions).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.entropy import diversity, entropy_of_logits


@register
class InfoMax(GradientMethod):
    """Maximum mutual information of target samples and predictions."""

    paper = Paper(
        title="Information-Theoretical Learning of Discriminative Clusters for Unsupervised Domain Adaptation",
        authors="Yuan Shi, Fei Sha", year=2012, url="https://arxiv.org/abs/1206.6438", venue="ICML",
        deviations="a network in place of the paper's linear metric with a nearest-neighbour model; no domain term",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(0.3, 0.03, 3.0, log=True, help="weight of both target entropies")
    diversity_weight: float = hp(1.0, 0.3, 3.0, log=True, help="weight of the mean prediction's entropy in them")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        scores = net.head(ft)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "ent": self.trade_off * entropy_of_logits(scores).mean(),
            "div": -self.trade_off * self.diversity_weight * diversity(scores.softmax(-1)),
        }
