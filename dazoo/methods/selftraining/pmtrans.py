"""PMTrans: an intermediate domain of pictures that are part source, part target. Zhu, Bai, Wang, CVPR 2023.

    x_ik = l_ik x_s,ik + (1 - l_ik) x_t,ik in cell k,   l_ik ~ Beta(a, a),   l_i = mean_k l_ik
    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * p * mean_i {l_i CE(C(f_i), y_s,i) + (1 - l_i) CE(C(f_i), y_t,i)}
               + feature_weight * p * mean_i {l_i CE(s(f_i, f_s), same_i) + (1 - l_i) CE(s(f_i, f_t), i)}
    f = F(x) (b, width),  s(f_i, f_s)_j = cos(f_i, f_s,j) / temperature (b,),  same_i: even over j with y_s,j = y_s,i
    y_t = argmax C(f_t)

p is the fraction of training. Cells are a 4 x 4 grid of pictures and 16 stretches of series; a vector is one cell, and
its mixture that of mixup.

Evidence: tests/test_frontier_mixtures.py (terms equal transcriptions in loops; every cell has one share; formulas
compared with the authors' program).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate, log_softmax, normalize

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.selftraining import step_draws

CELLS = 16


@register
class PMTrans(GradientMethod):
    """Patch-wise mixtures of the domains."""

    paper = Paper(
        title="Patch-Mix Transformer for Unsupervised Domain Adaptation: A Game Perspective",
        authors="Jinjing Zhu, Haotian Bai, Lin Wang", year=2023, url="https://arxiv.org/abs/2303.13434", venue="CVPR",
        deviations="PatchMix and its losses on any network: shares are those of the cells, not weighted by a "
        "transformer's attention; the Beta distribution and the weights of the terms are given, not learned; "
        "labels are those of the head, not of a memory's neighbours; rising weights, the temperature of the "
        "similarities, and that samples of one class share one similarity evenly are ours",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    revision = 1  # every cell has a share of its own; vectors are one cell

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the mixtures' labels")
    feature_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the mixtures' likeness to what they are of")
    concentration: float = hp(1.0, 0.2, 5.0, log=True, structural=True, help="of the shares' Beta", positive=True)
    temperature: float = hp(0.1, 0.05, 1.0, log=True, help="of the similarities", positive=True)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, yt = net.head(fs), net.head(ft).detach().argmax(-1)
        cells, share = cell_shares(b.xs, self.concentration, t.step)
        f = net.body(b.xt + cells * (b.xs - b.xt))
        z = net.head(f)
        labels = share * cross_entropy(z, b.ys, reduction="none")
        labels = labels + (1.0 - share) * cross_entropy(z, yt, reduction="none")
        same = (b.ys[:, None] == b.ys[None]).to(f.dtype)
        to_source = -(same / same.sum(1, keepdim=True) * self._likeness(f, fs)).sum(1)
        to_target = -self._likeness(f, ft).diagonal()
        return {
            "cls": net.criterion(ls, b.ys),
            "label": self.trade_off * t.fraction * labels.mean(),
            "feature": self.feature_weight * t.fraction * (share * to_source + (1.0 - share) * to_target).mean(),
        }

    def _likeness(self, f: Tensor, other: Tensor) -> Tensor:
        """Log-probabilities (b, b) of each row's partner by cosine similarity."""
        return log_softmax(normalize(f, dim=-1) @ normalize(other, dim=-1).T / self.temperature, -1)


def cell_shares(x: Tensor, concentration: float, step: int) -> tuple[Tensor, Tensor]:
    """Shares ~ Beta of the cells of x (b, ...), spread over what is in them, and the mean share of each row (b,)."""
    grid = {2: (), 3: (CELLS,)}.get(x.ndim, (round(CELLS**0.5),) * 2)
    drawn = step_draws(step, 2303).beta(concentration, concentration, (len(x), 1, *grid))
    share = torch.from_numpy(drawn).to(x)
    cells = interpolate(share, size=x.shape[2:], mode="nearest") if grid else share
    return cells, cells.flatten(1).mean(1)
