"""DECISION: adapt one model per source together, as a mixture with learned weights. Ahmed et al., CVPR 2021.

    min_{F_1..F_S, a}  trade_off * [1/b sum_i H(p_i) - H(1/b sum_i p_i)] + pseudo_weight * 1/b sum_i CE(l_i, y_i)
    from the source models F_s, C_s, of which the heads C_s stay
    l_i = sum_s w_s C_s(F_s(x_i)) (C,),   p_i = softmax(l_i),   w_s = sigmoid(a_s) / sum_r sigmoid(a_r)
    y_i = argmax_c cos(sum_s w_s f_is, sum_s w_s mu_sc),   f_is = [F_s(x_i), 1] / | . |
    mu_sc: centroids of class c in model s, weighted by its predictions, then by the labels they gave

Centroids and features f are renewed per epoch. With one source it is SHOT.

Evidence: tests/test_many_sources.py (equals SHOT with one source; terms equal a transcription), the parity fixtures.
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
from dazoo.ops.selftraining import label_centroids, nearest_centroid
from dazoo.ops.source_free import mixed_scores


@register
class DECISION(MixedModels):
    """Data-free multi-source adaptation with an optimised combination."""

    paper = Paper(
        title="Unsupervised Multi-Source Domain Adaptation Without Access to Source Data",
        authors="Sk Miraj Ahmed, Dripta S. Raychaudhuri, Sujoy Paul, Samet Oymak, Amit K. Roy-Chowdhury", year=2021,
        url="https://arxiv.org/abs/2104.01845", venue="CVPR",
        deviations="weights start equal (the authors' program: at random); labels by cosine distance and only to "
        "classes that some model predicts, as in SHOT, to which it then reduces with one source (program: Euclidean "
        "distance to all); entropies are exact, without 1e-5 in their logarithms",
    )  # fmt: skip

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of information maximisation")
    pseudo_weight: float = hp(0.3, 0.03, 3.0, log=True, help="weight of the centroids' labels")

    def setup(self, net: Net) -> None:
        super().setup(net)
        net.register_parameter("mixing", nn.Parameter(torch.zeros(net.n_sources)))

    def shares(self, net: Net) -> Tensor:
        a = torch.sigmoid(net.mixing)
        return a / a.sum()

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        features, scores = self.look(net, look)
        units, centres, taken = zip(*(label_centroids(f, s.softmax(-1)) for f, s in zip(features, scores)))
        return {"units": torch.stack(units, 1), "centres": torch.stack(centres), "taken": torch.stack(taken).any(0)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        _, each = self.each(net, b.xt)
        w = self.shares(net)
        scores = mixed_scores(each, w.expand(each.shape[1], -1))
        f = torch.einsum("s,nsd->nd", w.detach(), b.memory["units"][b.t_rows])
        mu = torch.einsum("s,scd->cd", w.detach(), b.memory["centres"])
        y = nearest_centroid(f, mu, b.memory["taken"])
        return {
            "ent": self.trade_off * entropy_of_logits(scores).mean(),
            "div": -self.trade_off * diversity(scores.softmax(-1)),
            "pseudo": self.pseudo_weight * cross_entropy(scores, y),
        }
