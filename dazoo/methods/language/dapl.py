"""DAPL: domain adaptation via prompt learning. Ge et al., 2022.

Class names get a learned context v_c of their own and one u_s or u_t of the domain; a sample's class and domain are
predicted together:

    t^d_c = (t_c + v_c + u_d) / ||.||,    p(c, d | x) = softmax over (c, d) in K x {s, t} of  scale * f(x)'t^d_c
    min_{v,u}  -mean_i log p(y_i, s | x_s,i)  -  mean_j [q_j >= threshold] log p(c_j, t | x_t,j)
    c_j = argmax_c q_jc,   q_j = softmax_c(scale * f(x_t,j)'t_c)

Names t_c (K, d), samples f (n, d), all of norm 1; c_j are zero-shot pseudo-labels, q_j their probability. Target
samples are classified by argmax_c p(c, t | x).

Evidence: tests/test_language.py::test_dapl_loss_matches_loops,
test_dapl_learns_the_source_and_keeps_what_names_say_of_the_target.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.language._words import unit_pair, words_of, zero_shot_scores
from dazoo.methods.shallow import source_of
from dazoo.shallow.steps import Affine, AsScores, Pipeline, UnitNorm


@register
class DAPL(ShallowMethod):
    """Prompts with a context of the class and one of the domain."""

    paper = Paper(
        title="Domain Adaptation via Prompt Learning",
        authors="Chunjiang Ge, Rui Huang, Mixue Xie, Zihang Lai, Shiji Song, Shuang Li, Gao Huang", year=2022,
        url="https://arxiv.org/abs/2202.06687", venue="IEEE Transactions on Neural Networks and Learning Systems",
        deviations="contexts are vectors added to the features of class names, not tokens before a text encoder; Adam "
        "on all samples at once, whose step is a share of the size of the names. Pseudo-labels, their threshold and "
        "how the target is classified are those of the authors' program, which starts contexts at random, compares a "
        "sample with the classes of its own domain alone and averages over the sure ones, where the paper has all 2K "
        "pairs and all samples. Without features of class names the means of the source's classes stand in. On made-up "
        "names that err it stays at zero_shot, whose pseudo-labels it learns: no gain at the defaults",
    )  # fmt: skip
    reads_names = True
    knob_needs: ClassVar[dict[str, dict[str, Any]]] = {"threshold": {"scale": 5.0}}  # else all are sure

    scale: float = hp(100.0, 1.0, 100.0, log=True, help="inverse temperature of the cosines", positive=True)
    threshold: float = hp(0.6, 0.0, 0.95, help="least probability of a pseudo-label")
    steps: int = hp(200, help="gradient steps")
    lr: float = hp(0.02, 1e-3, 0.2, log=True, help="step of Adam over the mean size of the names' entries")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Learn the contexts."""
        words = words_of(seen, ctx, self.name)
        xs, xt = unit_pair(seen)
        ys = source_of(seen).y
        sure, guess = zero_shot_scores(xt, words, self.scale).softmax(1).max(1)
        kept = sure >= self.threshold
        context = torch.zeros_like(words).requires_grad_()
        domains = words.new_zeros(2, words.shape[1]).requires_grad_()
        step = self.lr * float(words.abs().mean().clamp(min=1e-12))
        optimiser = torch.optim.Adam([context, domains], lr=step)
        for _ in range(self.steps):
            optimiser.zero_grad()
            prompts = prompted(words, context, domains)
            loss = joint_loss(xs, ys, prompts, 0, self.scale).mean()
            if bool(kept.any()):
                loss = loss + (joint_loss(xt, guess, prompts, 1, self.scale) * kept).mean()
            loss.backward()
            optimiser.step()
        source, target = (self.scale * t.T for t in prompted(words, context, domains).detach())
        return Pipeline((UnitNorm(), Affine(target)), (UnitNorm(), Affine(source)), AsScores())


def prompted(words: Tensor, context: Tensor, domains: Tensor) -> Tensor:
    """t^d_c (2, K, d), of norm 1, from names and contexts (K, d) and those of source and target (2, d)."""
    return normalize(words + context + domains[:, None], dim=2)


def joint_loss(x: Tensor, y: Tensor, prompts: Tensor, domain: int, scale: float) -> Tensor:
    """-log p(y_i, domain | x_i) (n,) over all classes of both domains; x (n, d), y (n,), prompts (2, K, d)."""
    k = prompts.shape[1]
    logits = scale * x @ prompts.flatten(0, 1).T
    return torch.nn.functional.cross_entropy(logits, y + domain * k, reduction="none")
