"""Normality split: separate the target by how sure the source model is, then adapt. After ROS, ECCV 2020.

    F_0, C = the source-only model of the same seed and recipe
    h_j = H(softmax(C(F_0(x_t,j)))) / ln K (n_t,), in two clusters:   rows below the lower centre are known, rows above
          the upper one are unknown, the others neither
    min_{F,C}  CE(C(F(x_s)), y_s) + unknown_weight * E_{unknown} CE(C(F(x_t)), K + 1)
               + trade_off * E_{known} H(softmax(C(F(x_t))))                from F_0; C has a score for "unknown" now

The split is made once, before anything moves. A row is answered "unknown" where that score is the largest of the K + 1.

Evidence: tests/test_open_set.py (the split; terms equal a transcription; a term without rows is zero).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.methods.open_set._extra import extra_class, open_prediction, open_scores
from dazoo.nets.net import Net
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.source_free import two_means
from dazoo.ops.universal import entropy_share


@register
class NormalitySplit(GradientMethod):
    """Separation by normality, then adaptation with an unknown class."""

    paper = Paper(
        title="On the Effectiveness of Image Rotation for Open Set Domain Adaptation",
        authors="Silvia Bucci, Mohammad Reza Loghmani, Tatiana Tommasi",
        year=2020, venue="ECCV", url="https://arxiv.org/abs/2007.12360",
        deviations="a simpler cousin for any kind of sample: normality is the source model's certainty, where the "
        "paper (ROS) also asks how well the rotation of an image is recognised, and learns rotations in both "
        "stages; rows between the clusters' centres are left out, in the paper all rows are split at the mean",
    )  # fmt: skip
    handles = Handles(labels="open", n_sources={"one", "many"})
    start = "source_only"
    stackable = False

    trade_off: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the known rows' entropy")
    unknown_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the rows separated as unknown")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return extra_class(width)

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        if look.memory:  # the split is made once
            return look.memory
        h = entropy_share(look.target[1])
        low, high, _ = two_means(h.double())
        return {"known": (h <= low).to(h.dtype), "unknown": (h >= high).to(h.dtype) * (high > low)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        lt = open_scores(net, ft)
        known, unknown = b.memory["known"][b.t_rows], b.memory["unknown"][b.t_rows]
        rejected = cross_entropy(lt, torch.full_like(b.t_rows, lt.shape[1] - 1), reduction="none")
        return {
            "cls": net.criterion(open_scores(net, fs), b.ys),
            "unknown": self.unknown_weight * (unknown * rejected).sum() / unknown.sum().clamp_min(1.0),
            "ent": self.trade_off * (known * entropy_of_logits(lt)).sum() / known.sum().clamp_min(1.0),
        }

    def predict(self, net: Net, x: Tensor) -> Prediction:
        return open_prediction(net, x)
