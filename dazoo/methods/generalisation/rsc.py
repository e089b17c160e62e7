"""RSC: learn without the features that say most. Huang, Wang, Xing, Huang, ECCV 2020.

    min_{F,C}  CE(C(F(x) * k), y),   k_ij = 1 where g_ij < quantile_{1 - feature_share}(g_i), or where row i is spared
    g_i = d C(F(x_i))_{y_i} / dF (d,);   spared: rows whose p_{y_i}, muted, falls by less than quantile_{1 - row_share}

k (b, d) without gradient. The head is linear, so that g_i is its row of weights of the class y_i.

Evidence: tests/test_generalisation.py (the mask equals a transcription).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.generalisation._sources import AnySources
from dazoo.nets.net import Net
from dazoo.ops.generalisation import muted


@register
class RSC(AnySources):
    """Representation self-challenging."""

    paper = Paper(
        title="Self-Challenging Improves Cross-Domain Generalization",
        authors="Zeyi Huang, Haohan Wang, Eric P. Xing, Dong Huang", year=2020,
        url="https://arxiv.org/abs/2007.02454", venue="ECCV",
        deviations="DomainBed's form: features before the head, no muting of positions in feature maps; no gain at "
        "the defaults over erm on PACS; networks that begin from scratch without normalisation before the "
        "head may not learn at all, as on digits",
    )  # fmt: skip

    stackable = False

    feature_share: float = hp(1 / 3, 0.0, 0.5, help="share of the features that a row loses")
    row_share: float = hp(1 / 3, 0.0, 0.5, help="share of the rows that lose them")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        f = net.body(b.xs)
        keep = self.kept(net, f.detach(), b.ys)
        return {"cls": net.criterion(net.head(f * keep), b.ys)}

    @torch.no_grad()
    def kept(self, net: Net, f: Tensor, y: Tensor) -> Tensor:
        """Which features (b, d) stay, of 0 and 1."""
        keep = muted(f, net.head.weight.index_select(0, y), self.feature_share)
        own = [net.head(g).softmax(-1).gather(-1, y[:, None])[:, 0] for g in (f, f * keep)]
        fall = own[0] - own[1]
        spared = fall < torch.quantile(fall, 1.0 - self.row_share)
        return torch.maximum(keep, spared.to(keep.dtype)[:, None])
