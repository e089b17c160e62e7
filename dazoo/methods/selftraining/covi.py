"""CoVi: the mixtures of the domains where the model is least sure, and what lies on either side. Na et al., ECCV 2022.

    x(l) = l x_s + (1 - l) x_t,   z(l) = C(F(x(l))),   l* = argmax_{l in 0.1, .., 0.9} H(softmax(z(l)))  per pair
    vicinal = CE(z(l*), [l* : y_s, 1 - l* : y_t])                     y_t = argmax C(F(x_t))
    contrast = 1/2 mean_i [CE(z(u), [u : y_s, 1 - u : argmax z(v)]) + CE(z(v), [v : y_t, 1 - v : argmax z(u)])]
               u = l* + margin, v = l* - margin, over pairs with 0.1 <= v, u <= 0.9 and a sure y_t
    consensus = 1/2 [CE(z_1, y_s) + CE(z_2, y_s)],   z_1, z_2 = C(F(0.9 x_s + 0.1 x_t)) for two target samples per pair
    min_{F,C}  vicinal + contrast_weight * contrast + consensus_weight * consensus,   from DANN

with [a : y, b : y'] the soft label that gives y the share a; y_t is sure where its confidence is at least the batch's
mean less one standard deviation. x (b, ...), z (b, C).

Evidence: tests/test_frontier_mixtures.py (terms equal transcriptions in loops; l* has the largest entropy).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.domain_norm import still_norms
from dazoo.ops.draws import uniform
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.selftraining import unbiased_variance

SHARES = torch.arange(1, 10) / 10


@register
class CoVi(GradientMethod):
    """Contrastive vicinal space."""

    paper = Paper(
        title="Contrastive Vicinal Space for Unsupervised Domain Adaptation",
        authors="Jaemin Na, Dongyoon Han, Hyung Jin Chang, Wonjun Hwang", year=2022,
        url="https://arxiv.org/abs/2111.13353", venue="ECCV",
        deviations="the share of the largest entropy is found by trying all nine, which takes nine forward passes, not "
        "by a network that learns it; labels of the contrast are those of the authors' program",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    start = "dann"
    stackable = False

    contrast_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the two sides' labels for each other")
    consensus_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the source's label in two mixtures")
    margin: float = hp(0.1, 0.05, 0.3, help="distance of the two sides from the least sure mixture")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        top, yt = net.head(net.body(b.xt)).detach().softmax(-1).max(-1)
        best = least_sure(net, b.xs, b.xt)
        sides = [best, (best + self.margin), (best - self.margin)]
        order = uniform(len(b.xt), t.step, best, "consensus").argsort()
        mixed = [_mix(b.xs, b.xt, s) for s in sides]
        mixed += [_mix(b.xs, xt, torch.full_like(best, 0.9)) for xt in (b.xt, b.xt[order])]
        middle, upper, lower, *pairs = net.head(torch.cat(net.body.each(*mixed))).split(len(b.xs))
        up, low = upper.detach().argmax(-1), lower.detach().argmax(-1)
        inside = (sides[1] < 0.9 + 1e-6) & (sides[2] > 0.1 - 1e-6) & (top >= top.mean() - unbiased_variance(top).sqrt())
        taken = inside.to(best.dtype)
        contrast = _soft(upper, b.ys, low, sides[1]) + _soft(lower, yt, up, sides[2])
        return {
            "vicinal": _soft(middle, b.ys, yt, best).mean(),
            "contrast": self.contrast_weight * (taken * contrast).sum() / (2.0 * taken.sum().clamp_min(1.0)),
            "consensus": self.consensus_weight * sum(net.criterion(z, b.ys) for z in pairs) / 2.0,
        }


@torch.no_grad()
def least_sure(net: Any, xs: Tensor, xt: Tensor) -> Tensor:
    """The share of xs (b, ...) in its mixture with xt whose prediction has the largest entropy: (b,)."""
    shares = SHARES.to(xs)
    with still_norms(net.body):
        f = net.body.each(*(_mix(xs, xt, s.expand(len(xs))) for s in shares))
    h = entropy_of_logits(net.head(torch.cat(f))).reshape(len(shares), -1)
    return shares[h.argmax(0)]


def _mix(xs: Tensor, xt: Tensor, share: Tensor) -> Tensor:
    share = share.reshape(-1, *[1] * (xs.ndim - 1))
    return share * xs + (1.0 - share) * xt


def _soft(scores: Tensor, one: Tensor, two: Tensor, share: Tensor) -> Tensor:
    """Cross-entropy (b,) with labels ``one`` of weight share and ``two`` of weight 1 - share."""
    first, second = (cross_entropy(scores, y, reduction="none") for y in (one, two))
    return share * first + (1.0 - share) * second
