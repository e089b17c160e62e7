"""ICON: one classifier that fits the source's labels and the target's clusters alike. Yue, Sun, Zhang, NeurIPS 2023.

    min_{F,C,K}  CE(C(f_s), y_s) + cluster_weight * [B(K(f_t), R) + B(K(f_s), Y)] + trade_off * B(C(stop f_t), R)
                 + invariance_weight * 1/2 [B(C(f_t), R) - B(C(f_s), Y)]^2 + pseudo_weight * FixMatch(C; threshold)
    B(g, S) = mean_ij -log(<p_i, p_j'> if S_ij = 1 else 1 - <p_i, p_j'>),   p = softmax(g(f)), p' of strong views
    R_ij = 1 if the ``top`` largest entries of f_t,i and f_t,j are the same ones;   Y_ij = 1 if y_s,i = y_s,j

f = F(x) (b, width), scores (b, C), K a linear head for clusters, which reads stop(f). Without the invariance a
classifier can take from the source what does not hold in the target: both domains' pairs must be equally easy.

Evidence: tests/test_frontier_mixtures.py (pair losses equal loops; ranks; who is moved by what).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.selftraining import fixmatch


@register
class ICON(GradientMethod):
    """Invariant consistency learning."""

    paper = Paper(
        title="Make the U in UDA Matter: Invariant Consistency Learning for Unsupervised Domain Adaptation",
        authors="Zhongqi Yue, Hanwang Zhang, Qianru Sun", year=2023, url="https://arxiv.org/abs/2309.12742",
        venue="NeurIPS",
        deviations="all terms act from the begin, with the threshold of the authors' program; neither its Tsallis "
        "entropy, nor sharpness-aware minimisation, nor UMAP before the ranks; the invariance's weight is ours (there "
        "it differs by data set)",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    strong_views = True
    toy_hparams: ClassVar[dict[str, Any]] = {"threshold": 0.3}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the target's clusters for the classifier")
    cluster_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the clusters' own head")
    invariance_weight: float = hp(0.1, 0.01, 1.0, log=True, help="weight of equal pair losses in both domains")
    pseudo_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the pseudo-labelled strong views")
    threshold: float = hp(0.97, 0.5, 0.99, help="least confidence of a pseudo-label")
    top: int = hp(5, 2, 10, help="largest entries of a feature by which pairs are found")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"clusters": nn.Linear(width, n_classes)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xs_strong is not None and b.xt_strong is not None
        fs, rest = net.features(b.xs, torch.cat([b.xs_strong, b.xt, b.xt_strong]))
        fu, ft, fv = rest.split([len(b.xs), len(b.xt), len(b.xt)])
        ls, lt, lv = net.head(fs), net.head(ft), net.head(fv)
        ranks, labels = same_top(ft.detach(), self.top), (b.ys[:, None] == b.ys[None]).to(fs.dtype)
        ks, ku, kt, kv = (net.clusters(f.detach()) for f in (fs, fu, ft, fv))
        pairs_t, pairs_s = pair_loss(lt, lv, ranks), pair_loss(ls, net.head(fu), labels)
        return {
            "cls": net.criterion(ls, b.ys),
            "cluster": self.cluster_weight * (pair_loss(kt, kv, ranks) + pair_loss(ks, ku, labels)),
            "pairs": self.trade_off * pair_loss(net.head(ft.detach()), net.head(fv.detach()), ranks),
            "invariance": self.invariance_weight * 0.5 * (pairs_t - pairs_s).square(),
            "pseudo": self.pseudo_weight * fixmatch(lv, lt, self.threshold),
        }


def same_top(f: Tensor, top: int) -> Tensor:
    """Whether rows of f (n, d) have their ``top`` largest entries at the same places: (n, n) of 0 and 1."""
    places = f.topk(min(top, f.shape[-1]), dim=-1).indices.sort(-1).values
    return (places[:, None] == places[None]).all(-1).to(f.dtype)


def pair_loss(weak: Tensor, strong: Tensor, same: Tensor) -> Tensor:
    """Mean over pairs of ``-log P_ij`` where ``same`` (n, n) is 1, else of ``-log(1 - P_ij)``; P = p q' of the softmax
    of scores (n, C)."""
    likely = weak.softmax(-1) @ strong.softmax(-1).T
    return -torch.log(torch.where(same > 0, likely, 1.0 - likely).clamp_min(0.0) + 1e-7).mean()
