"""MEMO: every sample is answered by a network that agreed with itself on its views. Zhang et al., NeurIPS 2022.

    theta_i = theta - lr grad H(1/m sum_v p_theta(v)),  over m random views v of x_i;   answer p_{theta_i}(x_i)

for every sample of a batch x (b, ...) by itself, from the source's weights theta of body and head, which stay. H is the
entropy, p = softmax(C(F(.))). A sample has no batch, so normalisation mixes statistics: N / (N + 1) of the source's and
1 / (N + 1) of what is at hand (the views, then the sample), N = ``prior``.

Evidence: tests/test_parity.py (tta_memo); tests/test_stream_losses.py (identical views: the entropy of one; the network
stays; an answer depends on no other sample).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamMethod, StreamState, register
from dazoo.methods.test_time._moves import trained_parts
from dazoo.nets.parts.norm_mode import NormMode, mixed, norms_under
from dazoo.ops.entropy import diversity


@register
class MEMO(StreamMethod):
    """Marginal entropy minimisation with one test point."""

    paper = Paper(
        title="MEMO: Test Time Robustness via Adaptation and Augmentation",
        authors="Marvin Zhang, Sergey Levine, Chelsea Finn",
        year=2022, url="https://arxiv.org/abs/2110.09506", venue="Advances in Neural Information Processing Systems",
        deviations="views are the strong ones of this library, where the paper has AugMix; those of vectors are noise "
        "and masked entries on the scale of the batch, so that a vector that comes alone has one view only, and their "
        "mean is worse than the answer to be mended: on vectors it falls below the source where that is unsure; "
        "the rate lies between the authors' two, 5e-3 for small and 2.5e-4 for large pictures, since at "
        "5e-3 one step takes most of the entropy away; settled after a loss on one pair of digits had been seen",
    )  # fmt: skip
    still = {"lr": 0.0}

    lr: float = hp(1e-3, 1e-4, 1e-1, log=True, help="learning rate of the step of a sample")
    views: int = hp(32, 4, 64, help="m, views of a sample")
    prior: float = hp(16.0, 1.0, 64.0, log=True, help="N, samples that the source's statistics are worth")

    def norm(self, rows: int) -> NormMode:
        return mixed(1.0 / (self.prior + 1.0))

    def moves(self, net: Any) -> list[str]:
        return trained_parts(net)

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        theta = [p for p in net.parameters() if p.requires_grad]
        source = [p.detach().clone() for p in theta]
        views = state.views(self.views)
        answers = []
        for i in range(len(x)):
            with norms_under(net, self.norm(1), self.views):
                loss = diversity(net.head(net.body(views[:, i])).softmax(-1), eps=0.0)
            grads = torch.autograd.grad(loss, theta, allow_unused=True)
            with torch.no_grad():
                for p, g in zip(theta, grads):
                    if g is not None:
                        p.sub_(self.lr * g)
                answers.append(self.answer(net, x[i : i + 1]))
                for p, kept in zip(theta, source):
                    p.copy_(kept)
        joined: Prediction = Prediction.joined(answers)
        return joined

    def answer(self, net: Any, x: Tensor) -> Prediction:
        parts = [super(MEMO, self).answer(net, one) for one in x.split(1)]
        joined: Prediction = Prediction.joined(parts)
        return joined
