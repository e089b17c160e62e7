"""SHOT: adapt the source model's body to the target, without the source. Liang, Hu, Feng, ICML 2020.

    F_0, C = argmin source loss (the source-only model of the same seed and recipe); C stays fixed
    min_F  trade_off * [1/b sum_i H(p_i) - H(1/b sum_i p_i)] + pseudo_weight * 1/b sum_i CE(C(F(x_t,i)), y_i)   from F_0
    p_i = softmax(C(F(x_t,i))) (C,);   y = nearest class centroid of all target features (n_t, width + 1) by cosine,
    centroids weighted by predictions at first, then by the labels they gave, once; renewed per epoch. Only classes with
    more than ``threshold`` samples under the labels before (predictions at first) have a centroid

Source-free: after F_0 and C no source sample is read. With both weights 0 the source model stays as it is.

Evidence: tests/test_selftraining_labels.py (labels equal a transcription in loops; the head keeps its bits; losses
never read the source).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.methods.source_free._source_free import SourceFree
from dazoo.nets.net import Net
from dazoo.ops.entropy import diversity, entropy_of_logits
from dazoo.ops.selftraining import centroid_labels


@register
class SHOT(SourceFree):
    """Source hypothesis transfer."""

    paper = Paper(
        title="Do We Really Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised Domain "
        "Adaptation",
        authors="Jian Liang, Dapeng Hu, Jiashi Feng", year=2020, url="https://arxiv.org/abs/2002.08546", venue="ICML",
        deviations="label smoothing, a weight-normalised head and a bottleneck without ReLU are the recipe's (smooth, "
        "head, activation) and off by default; labels are renewed per epoch and classes that nobody predicts have no "
        "centroid, as in the authors' program, where the paper gives every class one; entropies are exact, without "
        "1e-5 in their logarithms",
    )  # fmt: skip

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of information maximisation")
    pseudo_weight: float = hp(0.3, 0.03, 3.0, log=True, help="weight of the centroids' labels")

    threshold: int = hp(0, help="a class needs more samples than this to have a centroid (authors: 10 if partial)")

    def part_lr(self) -> dict[str, float]:
        return {"head": 0.0}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        features, scores = look.target
        return {"labels": centroid_labels(features, scores.softmax(-1), self.threshold)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        scores = net.head(net.body(b.xt))
        return {
            "ent": self.trade_off * entropy_of_logits(scores).mean(),
            "div": -self.trade_off * diversity(scores.softmax(-1)),
            "pseudo": self.pseudo_weight * cross_entropy(scores, b.memory["labels"][b.t_rows]),
        }
