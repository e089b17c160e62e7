"""UniMoS: unified modality separation. Li et al., CVPR 2024.

Features of a vision-language model are split by two linear maps into what belongs to words and what to vision; each
part has a classifier, and both answer together:

    v = V f(x),  w = W f(x);    a = scale * w't_c (K),    o = C(B(v)) (K),    e = l o + (1 - l) a
    min  CE(o_s, y_s) + CE(e_t, c_t) - IM(e_t)                          vision; l = mean_j G(v_t,j), a held fixed in e
         + CE(a_s, y_s) + KL(softmax a_t || q_t)                        words; q_t are the zero-shot probabilities
         + regular * [ BCE(D(v_s), 0) + BCE(D(w_s), 1) + sum_i ||v_i o w_i||^2 ]
    and, for V and W alone,  + regular * [ BCE(D(v_t), 0) + BCE(D(w_t), 1) ]
    IM(e) = H(mean_j p_j) - mean_j H(p_j),   p = softmax e

The pseudo-labels c_t are renewed after each epoch: the zero-shot ones at first, then, in turns, the classes of the
nearest centroid of B(v) and those of the ensemble l_k o + (1 - l_k) (a - debias log p^), with l_k falling from 0.8 to
``share`` over ten epochs and p^ (K,) a moving average of mean softmax(a_t), which takes off what the names prefer. That
ensemble predicts. All its parts are affine, so the fitted model is one linear map of f(x) / ||f(x)||.

Evidence: tests/test_language.py::test_unimos_losses_match_loops,
test_unimos_is_an_affine_map_that_starts_from_the_names, test_names_that_err_are_mended.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.language._separation import (
    Separation,
    discriminated,
    ensemble_information,
    language_terms,
    vision_terms,
)
from dazoo.methods.language._words import unit_pair, words_of, zero_shot_scores
from dazoo.methods.shallow import source_of
from dazoo.ops.selftraining import nearest_centroid
from dazoo.shallow.steps import LinearScores, Pipeline, UnitNorm

FIRST = 0.8
"""Share of the vision part in the ensemble at the beginning."""
BATCH, WIDTH = 32, 256
"""Samples of each domain per step, and the width of the vision classifier's features."""


@register
class UniMoS(ShallowMethod):
    """Parts of features that belong to words and to vision, each with a classifier."""

    paper = Paper(
        title="Split to Merge: Unifying Separated Modalities for Unsupervised Domain Adaptation",
        authors="Xinyao Li, Yuke Li, Zhekai Du, Fengling Li, Ke Lu, Jingjing Li", year=2024,
        url="https://arxiv.org/abs/2403.06946", venue="CVPR",
        deviations="V and W start as the identity, so that words begin with the zero-shot answers (the authors' random "
        "start takes thousands of steps to get there); no mixed precision; everything else as in their program. Few "
        "samples mean few steps: with 6 steps an epoch 20 epochs ended below zero_shot and 50 above. Without features "
        "of class names the means of the source's classes stand in for them: no gain at the defaults is claimed",
    )  # fmt: skip
    reads_names = True
    toy_hparams: ClassVar[dict[str, Any]] = {"epochs": 3}

    scale: float = hp(100.0, 1.0, 100.0, log=True, help="inverse temperature of the cosines", positive=True)
    regular: float = hp(0.01, 1e-3, 1.0, log=True, help="weight of the separation of the parts")
    debias: float = hp(0.5, 0.0, 1.0, help="share of the log class preference that is taken off the words' scores")
    share: float = hp(0.3, 0.0, 0.8, help="share of the vision part in the ensemble at the end")
    lr: float = hp(3e-3, 3e-4, 3e-2, log=True, help="learning rate")
    epochs: int = hp(50, help="passes over the smaller domain")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Train the parts; they collapse into one linear map."""
        words = words_of(seen, ctx, self.name)
        (xs, xt), ys, k = unit_pair(seen), source_of(seen).y, seen.n_classes
        parts = Separation(xs.shape[1], k, WIDTH).to(xs)
        slow = torch.optim.SGD(parts.rates(self.lr), lr=self.lr, momentum=0.9)
        again = torch.optim.SGD(parts.split.parameters(), lr=self.lr, momentum=0.9)
        zero = zero_shot_scores(xt, words, self.scale)
        labels, prefers = zero.argmax(1), words.new_full((k,), 1 / k)
        size = min(BATCH, len(xs), len(xt))
        step, last = 0, FIRST
        for epoch in range(self.epochs):
            parts.train()
            parts.redraw(ctx.gen)
            for rows_s, rows_t in zip(batches(len(xs), size, ctx.gen), batches(len(xt), size, ctx.gen)):
                for group in (*slow.param_groups, *again.param_groups):
                    group["lr"] = group.get("first", self.lr) * (1 + 1e-3 * step) ** -0.75
                x = torch.cat([xs[rows_s], xt[rows_t]])
                v, w = parts.split(x)
                o, a = parts.vision(v), zero_shot_scores(w, words, self.scale)
                (o_s, o_t), (a_s, a_t) = o.split(size), a.split(size)
                share = parts.weigh(v[size:]).mean()
                e = share * o_t + (1 - share) * a_t.detach()
                prefers = 0.99 * prefers + 0.01 * a_t.detach().softmax(1).mean(0)
                loss = vision_terms(o_s, ys[rows_s], e, labels[rows_t]) - ensemble_information(e)
                loss = loss + language_terms(a_s, ys[rows_s], a_t, zero[rows_t])
                apart = discriminated(parts.judge, v[:size], w[:size]) + (v * w).square().sum()
                other = self.regular * discriminated(parts.judge, v[size:], w[size:])
                extra = torch.autograd.grad(other, list(parts.split.parameters()), retain_graph=True)
                slow.zero_grad()
                (loss + self.regular * apart).backward()
                slow.step()
                for parameter, gradient in zip(parts.split.parameters(), extra):
                    parameter.grad = gradient
                again.step()
                step += 1
            parts.eval()
            last = FIRST - (FIRST - self.share) * min(epoch, 10) / 10
            if epoch > 0:
                labels = self.pseudo(parts, xt, words, prefers, last, clustered=epoch % 2 == 1)
        d = xs.shape[1]
        with torch.no_grad():
            bias = self.ensemble(parts, xs.new_zeros(1, d), words, prefers, last)[0]
            weight = self.ensemble(parts, torch.eye(d).to(xs), words, prefers, last) - bias
        head = LinearScores(weight, bias, torch.arange(k, device=xs.device), k, "logits")
        return Pipeline((UnitNorm(),), None, head)

    def ensemble(self, parts: Separation, x: Tensor, words: Tensor, prefers: Tensor, share: float) -> Tensor:
        """Scores (n, K) of both parts together."""
        v, w = parts.split(x)
        a = zero_shot_scores(w, words, self.scale) - self.debias * prefers.clamp(min=1e-12).log()
        scores: Tensor = share * parts.vision(v) + (1 - share) * a
        return scores

    @torch.no_grad()
    def pseudo(
        self, parts: Separation, xt: Tensor, words: Tensor, prefers: Tensor, share: float, clustered: bool
    ) -> Tensor:
        """Pseudo-labels (n_t,): of the ensemble, or of the nearest centroid by its probabilities."""
        probs = self.ensemble(parts, xt, words, prefers, share).softmax(1)
        return soft_centroid_labels(parts.bottleneck(parts.split(xt)[0]), probs) if clustered else probs.argmax(1)


def soft_centroid_labels(features: Tensor, probs: Tensor) -> Tensor:
    """Classes (n,) of the centroid of largest cosine, c_k = sum_i p_ik f_i / sum_i p_ik over unit-norm f (n, d)."""
    f = functional.normalize(features, dim=1)
    return nearest_centroid(f, probs.T @ f / (probs.sum(0)[:, None] + 1e-8), probs.sum(0) > 0)


def batches(n: int, size: int, gen: torch.Generator) -> list[Tensor]:
    """Rows of an epoch in batches of ``size``; what is left over is left out."""
    rows = torch.randperm(n, generator=gen, device=gen.device)
    return list(rows[: n // size * size].split(size))
