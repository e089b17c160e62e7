"""RDumb: entropy of sure and new samples, and the source's model again every so often. Press et al., NeurIPS 2023.

    min_{gamma, beta}  mean over kept of exp(e0 - H_i) H_i
    kept: H_i < e0 = margin ln K,  |cos(p_i, m)| < redundancy / sqrt(K)
    m <- 0.9 m + 0.1 (mean over kept of p_i);   after every ``every`` batches all is as before the first one

p_i = softmax(C(F(x_i))) (K,), H_i its entropy, weights without gradient; one step of Adam per batch x (b, ...) that
keeps a sample, batch normalisation by the batch's statistics. Answers are from before the step. This is EATA without
its Fisher term, hence without a look at the source, and with a reset.

Evidence: tests/test_stream_methods.py (equals EATA with Fisher weight 0 up to the reset; after it, a run that begins
there).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamState, register
from dazoo.methods.test_time._moves import MovesNorms, at_start, descend, moving
from dazoo.ops.test_time import reliable_entropy


@register
class RDumb(MovesNorms):
    """Test-time adaptation that starts anew at intervals."""

    paper = Paper(
        title="RDumb: A simple approach that questions our progress in continual test-time adaptation",
        authors="Ori Press, Steffen Schneider, Matthias Kümmerer, Matthias Bethge",
        year=2023, url="https://arxiv.org/abs/2306.05401", venue="Advances in Neural Information Processing Systems",
        deviations="Adam as in TENT, where the authors have SGD; the redundancy margin is a share of 1/sqrt(K) as in "
        "eata; on streams shorter than 1000 batches, as all suites here have, nothing is ever reset",
    )  # fmt: skip
    toy_hparams = {"margin": 1.0, "redundancy": 2.0}

    margin: float = hp(0.4, 0.1, 1.0, most=2.0, help="e0 as a share of ln K, above which samples are unsure")
    redundancy: float = hp(1.25, 0.5, 2.0, help="largest cosine with earlier answers, as a share of 1/sqrt(K)")
    every: int = hp(1000, help="batches after which all begins anew")

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        start = at_start(state)
        if t and t % self.every == 0:
            with torch.no_grad():
                for p, p0 in zip(moving(state), start):
                    p.copy_(p0)
            state.optimizer = self.optimizer(moving(state))
            state.memory.pop("mean", None)
        out, n_classes = self.answer(net, x), net.head.out_features
        mean = state.memory.get("mean", out.scores.new_zeros(n_classes))
        loss, kept, state.memory["mean"] = reliable_entropy(
            out.scores, mean, self.margin * math.log(n_classes), self.redundancy / math.sqrt(n_classes)
        )
        if bool(kept.any()):
            descend(state, loss)
        return out
