"""SHOT: adapt the source model's body to the target, without the source. Liang, Hu, Feng, ICML 2020.

    F_0, C = argmin source loss (the source-only model of the same seed and recipe); C stays fixed
    min_F  trade_off * [mean_{i in K} H(p_i) - d H(1/b sum_i p_i)] + pseudo_weight * mean_{i in K} CE(l_i, y_i)
    from F_0;   l_i = C(F(x_t,i)),  p_i = softmax(l_i) (C,)
    y = nearest class centroid of all target features (n_t, width + 1) by cosine, centroids weighted by predictions at
    first, then by the labels they gave, once; renewed per epoch. Only classes with more than ``threshold`` samples
    under the labels before (predictions at first) have a centroid

K is the batch and d = 1. Partial targets: d = 0, and a class needs more than 10 samples, or a fifth of n_t / C where
that is less. Open targets: K are the samples whose entropy H(p) / ln C is in the lower of its two clusters by 2-means
over all target samples; centroids are those of such samples; a sample is unknown above the mean of the two centres.

Source-free: after F_0 and C no source sample is read. With both weights 0 the source model stays as it is.

Evidence: tests/test_selftraining_labels.py (labels equal a transcription in loops; the head keeps its bits; losses
never read the source), tests/test_source_free.py (partial and open targets), the parity fixtures.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.methods.source_free._source_free import SourceFree
from dazoo.nets.net import Net
from dazoo.ops.entropy import diversity, entropy, entropy_of_logits
from dazoo.ops.selftraining import centroid_labels
from dazoo.ops.source_free import unknown_split


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
        "1e-5 in their logarithms; the program's 10 samples per class of partial targets are fewer on small ones; open "
        "targets: the two clusters of entropies are the best ones, and new samples are told by their threshold",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial", "open"}, source="model", n_sources={"one", "many"})
    later = ("cut",)
    told_partial = True

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of information maximisation")
    pseudo_weight: float = hp(0.3, 0.03, 3.0, log=True, help="weight of the centroids' labels")

    threshold: int = hp(0, help="a class needs more samples than this to have a centroid (partial: see the page)")

    def part_lr(self) -> dict[str, float]:
        return {"head": 0.0}

    def setup(self, net: Net) -> None:
        net.register_buffer("cut", torch.tensor(math.inf))  # no sample is unknown

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        features, scores = look.target
        p = scores.softmax(-1)
        if look.setting.labels == "partial":
            least = max(self.threshold, min(10, len(p) // (5 * p.shape[1])))
            return {"labels": centroid_labels(features, p, least), "diverse": torch.zeros_like(p[0, 0])}
        if not look.setting.has_unknown:
            return {"labels": centroid_labels(features, p, self.threshold)}
        known = ~unknown_split(p)[2]
        labels = torch.zeros(len(p), dtype=torch.int64, device=p.device)
        labels[known] = centroid_labels(features[known], p[known], self.threshold)
        return {"labels": labels, "known": known.to(p.dtype)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        scores, known = net.head(net.body(b.xt)), b.memory.get("known")
        ent, pseudo = entropy_of_logits(scores), cross_entropy(scores, b.memory["labels"][b.t_rows], reduction="none")
        if known is not None:  # weights whose mean is one
            share = known[b.t_rows]
            share = share / share.mean().clamp_min(1.0 / len(share))
            ent, pseudo = share * ent, share * pseudo
        return {
            "ent": self.trade_off * ent.mean(),
            "div": -self.trade_off * b.memory.get("diverse", 1.0) * diversity(scores.softmax(-1)),
            "pseudo": self.pseudo_weight * pseudo.mean(),
        }

    def finish(self, net: Net, look: Look) -> None:
        if look.setting.has_unknown:
            net.cut.fill_(unknown_split(look.target[1].softmax(-1))[1])

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        scores = net.head(features)
        if not torch.isfinite(net.cut):
            return Prediction(scores, features)
        unknown = entropy(scores.softmax(-1)) / math.log(scores.shape[-1])
        return Prediction(scores, features, unknown=unknown, threshold=float(net.cut))
