"""EATA: entropy of sure and new samples alone, near weights that matter to the source. Niu et al., ICML 2022.

    min_{gamma, beta}  mean over kept of exp(e0 - H_i) H_i + fisher_weight sum_j F_j (theta_j - theta0_j)^2
    kept: H_i < e0 = margin ln K,  |cos(p_i, m)| < redundancy / sqrt(K);   m <- 0.9 m + 0.1 (mean over kept of p_i)

p_i = softmax(C(F(x_i))) (K,), H_i its entropy, weights without gradient. theta are gamma and beta, theta0 the source's,
F_j the mean over source batches of the squared gradient of the cross-entropy with the network's own labels. One step of
Adam per batch x (b, ...) that keeps a sample; answers are from before the step.

Evidence: tests/test_parity.py (tta_eata); tests/test_stream_losses.py (without filters, weights and Fisher term it is
TENT; a large Fisher weight holds the weights).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamState, register
from dazoo.methods.test_time._moves import MovesNorms, at_start, descend, moving
from dazoo.ops.test_time import reliable_entropy


@register
class EATA(MovesNorms):
    """Efficient anti-forgetting test-time adaptation."""

    paper = Paper(
        title="Efficient Test-Time Model Adaptation without Forgetting",
        authors="Shuaicheng Niu, Jiaxiang Wu, Yifan Zhang, Yaofo Chen, Shijian Zheng, Peilin Zhao, Mingkui Tan",
        year=2022, url="https://arxiv.org/abs/2204.02610", venue="International Conference on Machine Learning",
        deviations="Adam as in TENT, where the authors have SGD; the redundancy margin is a share of 1/sqrt(K), the "
        "cosine between a sure answer and even shares (their 0.4 at 10, 0.1 at 100 and 0.05 at 1000 classes are 1.3, "
        "1.0 and 1.6 of it); importances come from source samples at set-up, so the source is read once",
    )  # fmt: skip
    needs_source_stats = True

    toy_hparams: ClassVar[dict[str, Any]] = {"margin": 1.0, "redundancy": 2.0}

    margin: float = hp(0.4, 0.1, 1.0, most=2.0, help="e0 as a share of ln K, above which samples are unsure")
    redundancy: float = hp(1.25, 0.5, 2.0, help="largest cosine with earlier answers, as a share of 1/sqrt(K)")
    weighted: bool = hp(True, help="whether surer samples count more")
    fisher_weight: float = hp(1.0, 0.1, 2000.0, log=True, help="weight of staying near the source's weights")
    fisher_batches: int = hp(32, help="source batches from which importances are taken")

    def source_stats(self, net: Any, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Any]:
        names = set(self.moves(net))
        theta = [p for n, p in net.named_parameters() if n in names]
        total, count = [torch.zeros_like(p) for p in theta], 0
        for x, _ in islice(batches, self.fisher_batches):
            scores = self.answer(net, x).scores
            grads = torch.autograd.grad(cross_entropy(scores, scores.argmax(-1)), theta)
            total = [f + g.square() for f, g in zip(total, grads)]
            count += 1
        return {"fisher": [f / max(count, 1) for f in total]}

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        out, n_classes = self.answer(net, x), net.head.out_features
        start = at_start(state)
        mean = state.memory.get("mean", out.scores.new_zeros(n_classes))
        loss, kept, state.memory["mean"] = reliable_entropy(
            out.scores, mean, self.margin * math.log(n_classes), self.redundancy / math.sqrt(n_classes), self.weighted
        )
        if not bool(kept.any()):
            return out
        fisher = state.source.get("fisher", [])
        for f, p, p0 in zip(fisher, moving(state), start):
            loss = loss + self.fisher_weight * (f * (p - p0).square()).sum()
        descend(state, loss)
        return out
