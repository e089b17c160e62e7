"""SLA: source label adaptation, on minimax entropy. Yu-Chu Yu, Hsuan-Tien Lin, CVPR 2023.

    min_{F,W}    [(1 - mix) CE(z(x_s), y_s) + mix H(q(x_s), z(x_s)) + CE(z(x_f), y_f)] / 2
    min_F max_W  trade_off * 1/b sum_i H(softmax(z(x_t,i)))                                    as in ``mme``

    z(x) = W u(x),   u(x) = F(x) / (|F(x)| temperature),   q_k(x) ~ exp(-sharpness |u(x) - mu_k|)
    mu_k = mean of u over the target samples that are predicted as class k          (made anew every epoch)

Source labels are taken for noisy labels of an ideal target: q (C,) is what the target's own class centres would say of
a source sample, without gradient. Before the fraction ``warm_up`` of training mix is 0. H(q, z) is the cross-entropy
-sum_k q_k log softmax(z)_k.

Evidence: tests/test_semi_supervised.py (terms equal transcriptions; mme with mix 0, bit for bit).
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor
from torch.nn.functional import normalize

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.methods.semi_supervised.mme import MME
from dazoo.nets.net import Net
from dazoo.ops.classwise import class_means, one_hot
from dazoo.ops.perturb import soft_cross_entropy
from dazoo.ops.semi_supervised import prototype_probabilities


@register
class SLA(MME):
    """Source label adaptation with class centres of the target."""

    paper = Paper(
        title="Semi-Supervised Domain Adaptation with Source Label Adaptation", authors="Yu-Chu Yu, Hsuan-Tien Lin",
        year=2023, url="https://arxiv.org/abs/2302.02335", venue="CVPR",
        deviations="centres are made anew every epoch (the authors: every 500 steps of 10,000); a class that no target "
        "sample is predicted as gets no share of a label; labelled and unlabelled terms in one step of the optimiser",
    )  # fmt: skip
    toy_hparams: ClassVar[dict[str, Any]] = {"warm_up": 0.0}

    mix: float = hp(0.3, 0.05, 0.9, help="share of the target's answer in a source label")
    sharpness: float = hp(0.6, 0.1, 2.0, log=True, help="of the centres' probabilities, per distance", positive=True)
    warm_up: float = hp(0.05, 0.0, 0.5, help="fraction of training with plain source labels", structural=True)

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        features, scores = look.target
        labels = one_hot(scores.argmax(-1), scores.shape[1], features.dtype)
        centres, present = class_means(self._unit(features), labels)
        return {"centres": centres, "present": present}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None
        fs, ft = net.features(b.xs, b.xt)
        terms = {**self.labelled(net, b, fs, net.body(b.xf)), "ent": self.minimax(net, ft)}
        if t.fraction < self.warm_up:
            return terms
        q = prototype_probabilities(self._unit(fs), b.memory["centres"], b.memory["present"], self.sharpness)
        soft = 0.5 * soft_cross_entropy(self.scores(net, fs), q)
        return {**terms, "cls": (1.0 - self.mix) * terms["cls"], "adapted": self.mix * soft}

    def _unit(self, f: Tensor) -> Tensor:
        return normalize(f, dim=-1) / self.temperature
