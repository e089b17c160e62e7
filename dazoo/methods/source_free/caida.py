"""CAiDA: a mixture of source models, labels from confident anchors, consistent class relations. Dong et al., 2021.

    min_{F_1..F_S, a}  trade_off * [1/b sum_i H(p_i) - H(1/b sum_i p_i)] + pseudo_weight * 1/b sum_i CE(l_i, y_i)
                       + relation_weight * 1/(C S) sum_c sum_{s,r} [KL(q_sc || q_rc) + KL(q_rc || q_sc)] / 2
    from the source models F_s, C_s, of which the heads C_s stay
    l_i = sum_s w_s C_s(F_s(x_i)) (C,),   p_i = softmax(l_i),   w = softmax(a)
    q_sc = softmax(w_s * mean of C_s(F_s(x_i)) over the batch's samples of label c) (C,)
    y_i: nearest centroid by cosine of  g f_i + (1 - g) f_anchor(i),   f_i = [sum_s w_s F_s(x_i), 1] / | . |
    centroids: means of these sums by the labels that centroids weighted by predictions gave to f
    anchor(i): the most similar confident sample j != i; a sample is not confident where both the gap between its two
    nearest centroids and that between its two largest p are below the median

Labels are renewed per epoch.

Evidence: tests/test_many_sources.py (terms and labels equal transcriptions; one source has no relations to keep).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.methods.source_free._mixed import MixedModels
from dazoo.nets.net import Net
from dazoo.ops.entropy import diversity, entropy_of_logits
from dazoo.ops.source_free import anchored_labels, class_relations, mixed_scores


@register
class CAiDA(MixedModels):
    """Confident-anchor-induced multi-source-free adaptation."""

    paper = Paper(
        title="Confident-Anchor-Induced Multi-Source-Free Domain Adaptation",
        authors="Jiahua Dong, Zhen Fang, Anjin Liu, Gan Sun, Tongliang Liu", year=2021,
        url="https://nips.cc/Conferences/2021/ScheduleMultitrack?event=28641", venue="NeurIPS",
        deviations="weights start equal (the authors' program: at random); anchors are the nearest confident samples, "
        "which the program reaches along a chain of neighbours; g is 0.85, in the program it is drawn around that; the "
        "authors' choice of the epoch by target accuracy is not taken over",
    )  # fmt: skip

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of information maximisation")
    pseudo_weight: float = hp(0.7, 0.07, 7.0, log=True, help="weight of the anchored labels")
    relation_weight: float = hp(0.01, 0.001, 0.1, log=True, help="weight of the class relations' consistency")
    own: float = hp(0.85, 0.5, 1.0, help="g, share of a sample's own features beside its anchor's")

    def setup(self, net: Net) -> None:
        super().setup(net)
        net.register_parameter("mixing", nn.Parameter(torch.zeros(net.n_sources)))

    def shares(self, net: Net) -> Tensor:
        return net.mixing.softmax(0)

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        features, scores = self.look(net, look)
        w = self.shares(net)
        p = mixed_scores(scores, w.expand(scores.shape[1], -1)).softmax(-1)
        return {"labels": anchored_labels(torch.einsum("s,snd->nd", w, features), p, self.own)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        _, each = self.each(net, b.xt)
        w, y = self.shares(net), b.memory["labels"][b.t_rows]
        scores = mixed_scores(each, w.expand(each.shape[1], -1))
        found = {
            "ent": self.trade_off * entropy_of_logits(scores).mean(),
            "div": -self.trade_off * diversity(scores.softmax(-1)),
            "pseudo": self.pseudo_weight * cross_entropy(scores, y),
        }
        if len(each) > 1:
            found["relation"] = self.relation_weight * class_relations(w[:, None, None] * each, y)
        return found
