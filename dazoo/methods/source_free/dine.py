"""DINE: distil a black-box source model into a network of one's own, then fine-tune it. Liang, Hu, Feng, He, CVPR 2022.

    first 1 - finetune of training:
      min_{F,C}  trade_off * 1/b sum_i KL(q_i || p_i) + info_weight * [1/b sum_i H(p_i) - H(1/b sum_i p_i)]
                 + mix_weight * 1/b sum_i KL(l p_i + (1 - l) p_j || softmax(C(F(l x_i + (1 - l) x_j))))
    then  min_{F,C}  info_weight * [1/b sum_i H(p_i) - H(1/b sum_i p_i)]
    p_i = softmax(C(F(x_i))) (C,), without gradient where it is a target;  j random, l ~ Beta(0.3, 0.3) per step
    q_i: the source model's probabilities, whose ``top`` largest stay while the others share the rest equally;
    after each epoch  q_i <- ema q_i + (1 - ema) p_i

The network starts as a network of this recipe does; of the source's model only its probabilities for the n_t target
samples are used.

Evidence: tests/test_black_box.py (terms equal a transcription; the averages of labels), the parity fixtures.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.domain_norm import still_norms
from dazoo.ops.entropy import info_max
from dazoo.ops.perturb import mixup
from dazoo.ops.selftraining import step_draws
from dazoo.ops.source_free import soft_target_kl, top_smoothed


@register
class DINE(GradientMethod):
    """Distillation and fine-tuning with a black-box predictor."""

    paper = Paper(
        title="DINE: Domain Adaptation From Single and Multiple Black-Box Predictors",
        authors="Jian Liang, Dapeng Hu, Jiashi Feng, Ran He", year=2022, url="https://arxiv.org/abs/2104.01539",
        venue="CVPR",
        deviations="labels are averaged per epoch (paper: ten times in all); both stages share one training, the "
        "second at the small rates where the recipe's schedule ends; fine-tuning does not stop by itself; shares of "
        "mixtures belong to the step, the same for every seed; several sources answer as one pooled model; a "
        "network from scratch shows no gain at the defaults in 150 steps on small synthetic shifts",
    )  # fmt: skip
    handles = Handles(source="black_box", n_sources={"one", "many"})
    start = "source_only"
    uses_source = False

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the source model's answers")
    info_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of information maximisation")
    mix_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of mixtures of samples")
    top: int = hp(1, 1, 3, help="largest probabilities of the source model that count")
    ema: float = hp(0.6, 0.3, 0.9, help="share of the labels that stays per epoch")
    finetune: float = hp(0.3, 0.1, 0.5, help="share of training, at its end, without labels")

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        if not look.memory:
            return {"targets": top_smoothed(look.teacher, self.top).to(next(net.parameters()))}
        _, scores = look.target
        return {"targets": self.ema * look.memory["targets"] + (1.0 - self.ema) * scores.softmax(-1)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        scores = net.head(net.body(b.xt))
        info = {"info": self.info_weight * info_max(scores)}
        if t.fraction >= 1.0 - self.finetune:
            return info
        draws = step_draws(t.step, 2104)
        share = float(draws.beta(0.3, 0.3))
        order = torch.as_tensor(draws.permutation(b.xt.shape[0]), device=b.xt.device)
        with still_norms(net.body):
            mixed = net.head(net.body(mixup(b.xt, share, order)))
        wanted = mixup(scores.detach().softmax(-1), share, order)
        return {
            "distil": self.trade_off * soft_target_kl(scores, b.memory["targets"][b.t_rows]),
            "mix": self.mix_weight * soft_target_kl(mixed, wanted),
            **info,
        }
