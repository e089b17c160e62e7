"""BETA: two networks distil a black box and teach each other from easy samples. Yang et al., ICLR 2023.

    first 1 - finetune of training, for each network k of two, o the other one:
      min_k  trade_off * 1/b sum_i KL(q_i || p_i) + info_weight * [1/b sum_i H(p_i) - H(1/b sum_i p_i)]
             + mix_weight * 1/b sum_i KL(l p_i + (1 - l) p_j || p(l x_i + (1 - l) x_j))        (as DINE)
             + easy_weight * mean_{i easy} H(t~_i, p~_i) + prior_weight * KL(uniform || mean_{i easy} p~_i)
    then  min_k  info_weight * [1/b sum_i H(p_i) - H(1/b sum_i p_i)];   the mean of both networks' scores predicts
    p_i = p(x_i) = softmax(scores of k) (C,), without gradient where it is a target;  q_i: the source model's
    probabilities, whose ``top`` largest stay while the others share the rest; after each epoch q <- ema q + (1 - ema) p
    easy_k,i: probability of the lower of two Gaussians of CE(k(x_i), y_i), y_i = argmax of the source model's answer
    i is easy where easy_k,i >= sure;   t_i = sharp(easy_o,i y_i + (1 - easy_o,i) mean of k on two views) where easy,
    else sharp(mean of both networks on two views);   p~_i: of m x_i + (1 - m) x_j,  t~_i = m t_i + (1 - m) t_j

m = max(u, 1 - u), u ~ Beta(a, a) with a the ``concentration``, l ~ Beta(0.3, 0.3); sharp(p) ~ p^(1 / temperature). What
is easy is told after the first epoch and then per epoch.

Evidence: tests/test_black_box.py (terms equal a transcription; nothing but answers is read; the two Gaussians).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.domain_norm import still_norms
from dazoo.nets.parts.models import Model, fresh
from dazoo.ops.classwise import one_hot
from dazoo.ops.entropy import info_max
from dazoo.ops.perturb import mixup
from dazoo.ops.selftraining import sharpen, step_draws
from dazoo.ops.source_free import lower_gaussian, soft_target_kl, top_smoothed


@register
class BETA(GradientMethod):
    """Black-box adaptation by easy-hard division of the target."""

    paper = Paper(
        title="Divide to Adapt: Mitigating Confirmation Bias for Domain Adaptation of Black-Box Predictors",
        authors="Jianfei Yang, Xiangyu Peng, Kai Wang, Zheng Zhu, Jiashi Feng, Lihua Xie, Yang You", year=2023,
        url="https://arxiv.org/abs/2205.14467", venue="ICLR",
        deviations="both losses share each step, where the program alternates epochs; fine-tuning shares the training, "
        "at the small rates where the recipe's schedule ends; labels are averaged per epoch (program: ten times in "
        "all); without the adversarial term between easy and hard samples, which the program's settings switch off; a "
        "pretrained backbone is the same in both networks at the start; shares of mixtures belong to the step; "
        "networks from scratch show no gain at the defaults in 150 steps on small synthetic shifts",
    )  # fmt: skip
    handles = Handles(source="black_box", n_sources={"one", "many"})
    start = "source_only"
    uses_source = False
    strong_views = True
    stackable = False

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the source model's answers")
    info_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of information maximisation")
    mix_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of mixtures of samples")
    easy_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of easy samples' labels")
    prior_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of equal classes among easy samples")
    sure: float = hp(0.8, help="least probability of an easy sample", most=1.0)
    temperature: float = hp(0.5, 0.2, 1.0, help="below 1 sharpens labels", positive=True, most=float("inf"))
    concentration: float = hp(1.0, 0.1, 2.0, log=True, help="a, of the Beta distribution of m", positive=True)
    top: int = hp(1, 1, 3, help="largest probabilities of the source model that count")
    ema: float = hp(0.6, 0.3, 0.9, help="share of the labels that stays per epoch")
    finetune: float = hp(0.3, 0.1, 0.5, help="share of training, at its end, without labels")

    def setup(self, net: Net) -> None:
        net.add_module("second", Model(net))
        fresh(net.second.body.bottleneck)
        fresh(net.second.head)

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        if not look.memory:
            teacher = look.teacher.to(next(net.parameters()))
            nobody = torch.zeros_like(teacher[:, 0]).repeat(2, 1)
            return {"targets": top_smoothed(teacher, self.top), "labels": teacher.argmax(1), "easy": nobody}
        pairs = [(net.head(net.body(x)), net.second(x)[1]) for x in look.inputs("target")]
        both = [torch.cat(scores) for scores in zip(*pairs)]
        labels = look.memory["labels"]
        easy = torch.stack([lower_gaussian(cross_entropy(s, labels, reduction="none")) for s in both])
        p = torch.stack([s.softmax(-1) for s in both]).mean(0)
        return {"targets": self.ema * look.memory["targets"] + (1.0 - self.ema) * p, "labels": labels, "easy": easy}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        nets: list[Callable[[Tensor], Tensor]] = [lambda x: net.head(net.body(x)), lambda x: net.second(x)[1]]
        scores = [one(b.xt) for one in nets]
        info = {"info": self.info_weight * torch.stack([info_max(s) for s in scores]).sum()}
        if t.fraction >= 1.0 - self.finetune:
            return info
        q, easy = b.memory["targets"][b.t_rows], b.memory["easy"][:, b.t_rows]
        order, share = self._draws(t, b.xt, 0.3, 2204)
        with still_norms(net.body), still_norms(net.second):
            mixed = [one(mixup(b.xt, share, order)) for one in nets]
            strong = [one(b.xt_strong).softmax(-1).detach() for one in nets]  # type: ignore[arg-type]
        views = [(s.detach().softmax(-1) + v) / 2.0 for s, v in zip(scores, strong)]
        wanted = [mixup(s.detach().softmax(-1), share, order) for s in scores]
        found = {
            "distil": self.trade_off * torch.stack([soft_target_kl(s, q) for s in scores]).sum(),
            "mix": self.mix_weight * torch.stack([soft_target_kl(m, w) for m, w in zip(mixed, wanted)]).sum(),
            **info,
        }
        divided = [self._divided(nets[k], b, t, easy[k], easy[1 - k], views[k], views[1 - k]) for k in (0, 1)]
        found["easy"] = self.easy_weight * (divided[0][0] + divided[1][0])
        found["prior"] = self.prior_weight * (divided[0][1] + divided[1][1])
        return found

    def _divided(
        self,
        one: Callable[[Tensor], Tensor],
        b: Batch,
        t: Progress,
        mine: Tensor,
        other: Tensor,
        p: Tensor,
        po: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Loss of easy samples, mixed with any, and divergence of their mean prediction from equal classes."""
        assert b.xt_strong is not None
        is_easy = mine >= self.sure
        y = one_hot(b.memory["labels"][b.t_rows], p.shape[-1], p.dtype)
        refined = other[:, None] * y + (1.0 - other[:, None]) * p
        labels = sharpen(torch.where(is_easy[:, None], refined, (p + po) / 2.0), self.temperature)
        x, labels, w = torch.cat([b.xt, b.xt_strong]), torch.cat([labels] * 2), torch.cat([is_easy] * 2).to(p.dtype)
        order, share = self._draws(t, x, self.concentration, 2205)
        share = max(share, 1.0 - share)
        log_p = one(mixup(x, share, order)).log_softmax(-1)
        w = w / w.sum().clamp_min(1.0)
        mean = (w[:, None] * log_p.exp()).sum(0)
        equal = torch.full_like(mean, 1.0 / len(mean))
        far = w.sum() * (equal * (equal.log() - mean.clamp_min(1e-12).log())).sum()
        return -(w * (mixup(labels, share, order) * log_p).sum(-1)).sum(), far

    def _draws(self, t: Progress, x: Tensor, a: float, label: int) -> tuple[Tensor, float]:
        """A permutation of the rows and a share."""
        draws = step_draws(t.step, label)
        share = float(draws.beta(a, a))
        return torch.as_tensor(draws.permutation(x.shape[0]), device=x.device), share

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        return Prediction((net.head(features) + net.second(x)[1]) / 2.0, features)
