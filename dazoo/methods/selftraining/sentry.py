"""SENTRY: confidence grows where a committee of views agrees, and shrinks where it does not. Prabhu, Khare, Kartik,
Hoffman, ICCV 2021.

    min_{F,C}  CE(C(F(x_s)), y_s) + info_weight * 1/b sum_i sum_c p_ic log(q_c + 1e-12)
               + trade_off * 1/b [sum_{i agreed} H(p_i^+) - sum_{i not} H(p_i^-)]
    p_i = softmax(C(F(x_t,i))) (C,);  agreed: argmax of at least 2 of the 3 strong views' predictions is argmax p_i
    p_i^+ / p_i^- = prediction of the last view that agrees / disagrees with argmax p_i

q (C,) is the moving average of the batches' shares of argmax p, a constant. Batches hold the classes evenly, the source
by labels, the target by pseudo-labels, which are renewed per epoch.

Evidence: tests/test_frontier_selftraining.py (terms equal transcriptions in loops), tests/test_frontier_compose.py
(batches).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.moving import Moving
from dazoo.ops.batches import even_by_class
from dazoo.ops.classwise import one_hot
from dazoo.ops.entropy import entropy_of_logits


@register
class SENTRY(GradientMethod):
    """Selective entropy optimisation via committee consistency."""

    paper = Paper(
        title="SENTRY: Selective Entropy Optimization via Committee Consistency for Unsupervised Domain Adaptation",
        authors="Viraj Prabhu, Shivam Khare, Deeksha Kartik, Judy Hoffman", year=2021,
        url="https://arxiv.org/abs/2012.11460", venue="ICCV",
        deviations="shares of the latest predictions are a moving average instead of a queue of 256; both domains "
        "of a batch hold the same classes; the head has no cosine similarity and no temperature; training starts from "
        "the recipe's network, not from a source model",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    strong_views = 3
    neutral = None  # balanced batches are other batches than source_only's

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the selected entropies")
    info_weight: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the spread over classes")
    decay: float = hp(0.875, 0.5, 0.99, help="share of the average that stays per step; 256 samples of batches of 32")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"average": Moving(q=torch.full((n_classes,), 1.0 / n_classes))}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        return {"labels": look.target[1].argmax(-1)}

    def redraw(
        self, rows: Mapping[str, Tensor], ys: Tensor, memory: Mapping[str, Tensor], gen: Generator
    ) -> Mapping[str, Tensor]:
        return even_by_class(rows, ys, memory["labels"], gen)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xt_strong is not None and b.xt_more is not None
        fs, ft = net.features(b.xs, b.xt)
        scores = net.head(ft)
        y, c = scores.detach().argmax(-1), scores.shape[-1]
        (q,) = net.average(self.decay, ["q"], one_hot(y, c, scores.dtype).mean(0))
        views = net.head(torch.stack(net.body.each(b.xt_strong, *b.xt_more.unbind(1))))
        votes = (views.detach().argmax(-1) == y).to(scores.dtype)
        agreed = (votes.sum(0) > len(views) / 2).to(scores.dtype)
        h = entropy_of_logits(views)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "info": self.info_weight * (scores.softmax(-1) @ torch.log(q + 1e-12)).mean(),
            "select": self.trade_off * (agreed * _last(h, votes) - (1 - agreed) * _last(h, 1 - votes)).mean(),
        }


def _last(h: Tensor, taken: Tensor) -> Tensor:
    """Of every column of h (k, n) the last entry that ``taken`` (k, n) has a 1 for, where there is one: (n,)."""
    turn = torch.arange(1, len(h) + 1, device=h.device, dtype=h.dtype)[:, None]
    return h.gather(0, (taken * turn).argmax(0)[None]).squeeze(0)
