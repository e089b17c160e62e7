"""DCTN: a classifier and a discriminator per source; the more a target sample looks like a source, the more it votes.

    min_{F,C}  CE(C_k(f_s), y_s) + r(t) * pseudo_weight * mean over sure j of 1/N sum_k CE(C_k(f_t,j), y^_j)
               - trade_off * r(t) * 1/N sum_k min_{D_k} [-mean log D_k(f_k) - mean log(1 - D_k(f_t))] / 2

f = F(x) (b, width); each source sample is classified by the head C_k of its source k of N. A target sample's
probabilities are the vote of the sources,

    q_j = sum_k S_kj softmax(C_k(f_j)) / sum_k S_kj,   S_kj = -log(1 - D_k(f_j)) + a_k
    a_k = mean of -log D_k over all samples of source k

y^_j = argmax q_j where its probability is above the threshold. a is renewed per epoch. A batch has as many rows of each
source. Xu, Chen, Zuo, Yan, Lin, CVPR 2018.

Evidence: tests/test_multi_source.py (test_dctn_terms, test_dctn_votes_by_scores), the parity fixtures.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.methods.multi_source._by_source import (
    BySource,
    discriminators,
    games,
    mean_by_source,
    own_heads,
    own_scores,
    sources_of,
)
from dazoo.nets.net import Net
from dazoo.ops.selftraining import confident, hard_cross_entropy
from dazoo.ops.sources import perplexity_vote


@register
class DCTN(BySource):
    """Deep cocktail network."""

    paper = Paper(
        title="Deep Cocktail Network: Multi-Source Unsupervised Domain Adaptation with Category Shift",
        authors="Ruijia Xu, Ziliang Chen, Wangmeng Zuo, Junjie Yan, Liang Lin",
        year=2018, url="https://arxiv.org/abs/1803.00830", venue="CVPR",
        deviations="one step instead of alternating ones: features reverse the discriminators' gradient (a confusion "
        "loss in the paper), all sources at once (in the paper only the hardest of each batch); pseudo-labels come "
        "with the ramp; all sources have the same classes",
    )  # fmt: skip
    toy_hparams = {"threshold": 0.3}
    term_needs = {"threshold": 0.0}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    pseudo_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the pseudo-labels, reached by the ramp")
    threshold: float = hp(0.9, 0.5, 0.99, help="probability from which a pseudo-label counts")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminators' hidden layers")

    def setup(self, net: Net) -> None:
        net.add_module("discs", discriminators(net, self.disc_width))
        net.add_module("own_head", own_heads(net))
        net.register_buffer("concentration", torch.zeros(net.n_sources))

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        return {**super().refresh(net, look), "concentration": self._concentration(net, look)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        w = sources_of(net, b.ds, fs)
        h = games(net, fs, ft, w, self.trade_off * t.ramp)
        y, sure = confident(self._vote(net, ft.detach(), b.memory["concentration"]).detach(), self.threshold)
        pseudo = [hard_cross_entropy(head(ft), y, sure) for head in net.own_head]
        return {
            "cls": net.criterion(own_scores(net.own_head, fs, w), b.ys),
            "dom": 0.5 * h.mean(),
            "pseudo": self.pseudo_weight * t.ramp * torch.stack(pseudo).mean(),
        }

    def finish(self, net: Net, look: Look) -> None:
        net.concentration.copy_(self._concentration(net, look))

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        q = self._vote(net, features, net.concentration)
        return Prediction(q.clamp_min(1e-30).log(), features)

    def _vote(self, net: Net, f: Tensor, a: Tensor) -> Tensor:
        z = torch.stack([disc(f).squeeze(-1) for disc in net.discs])
        return perplexity_vote(z, a, torch.stack([head(f).softmax(-1) for head in net.own_head]))

    def _concentration(self, net: Net, look: Look) -> Tensor:
        """a (N,) over all source samples."""
        f, w = look.source[0], sources_of(net, look.domain, look.source[0])
        lost = [mean_by_source(functional.softplus(-disc(f).squeeze(-1)), w)[0][k] for k, disc in enumerate(net.discs)]
        return torch.stack(lost)
