"""kNN distance: source-only, unknown where no source sample is near. Sun, Ming, Zhu, Li, ICML 2022.

    min_{F,C}  CE(C(F(x_s)), y_s)
    unknown(x) = |z - z_(k)|,   z = F(x) / |F(x)|,   z_(k) the k-th nearest of the n_s source samples' unit features

above the middle between the centres of the best two clusters of the target's distances.

Evidence: tests/test_open_set.py (distances equal a search over all source samples; a saved model keeps them).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import normalize

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Look, register
from dazoo.methods.open_set._scored import ScoredSource
from dazoo.nets.net import Net
from dazoo.nets.parts.rows import Rows


@register
class KNNDistance(ScoredSource):
    """Source only, with the distance to the k-th nearest source sample as score of being unknown."""

    paper = Paper(
        title="Out-of-Distribution Detection with Deep Nearest Neighbors",
        authors="Yiyou Sun, Yifei Ming, Xiaojin Zhu, Yixuan Li",
        year=2022, venue="ICML", url="https://arxiv.org/abs/2204.06507",
        deviations="the paper takes k = 50 of 50,000 samples and accepts 95 % of source samples; here k is 5 and the "
        "target's distances are split in two",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial", "open", "universal"}, n_sources={"one", "many"})

    neighbours: int = hp(5, 1, 50, log=True, help="which nearest source sample the distance is to")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {**super().build(width, n_classes), "bank": Rows(width)}

    def unknown(self, net: Net, scores: Tensor, f: Tensor) -> Tensor:
        bank = net.bank.x
        if not len(bank):  # during training
            return f.new_zeros(len(f))
        k = min(self.neighbours, len(bank))
        near = (normalize(f, dim=-1) @ bank.T).topk(k, dim=1).values[:, -1]
        return (2.0 - 2.0 * near).clamp_min(0.0).sqrt()

    def finish(self, net: Net, look: Look) -> None:
        net.bank.set(normalize(look.source[0], dim=-1))
        super().finish(net, look)
