"""PLUE: negative learning on neighbours' votes, weighted by their certainty. Litrico, Del Bue, Morerio, CVPR 2023.

    min_{F,C}  trade_off * 1/b sum_i w_i [-log(1 - softmax(C(F(strong(x_i))))_{c_i})] + contrast_weight * 1/b sum_i L_i
               - div_weight * [H(pbar) + H(pbar of strong views)]      from the source model
    q_i: mean prediction of the k bank rows most similar to F(x_i) by cosine;  y_i = argmax q_i
    c_i != y_i: any other class, drawn anew each step;   w_i = exp(-H(q_i) / log C)
    L_i = -log[ e(z_i . k_i) / (e(z_i . k_i) + sum_{j in P_i} e(z_i . k_j)) ],   e(v) = exp(v / temperature)
    z_i = F(strong(x_i)) / | . |,  k_i = F'(x_i) / | . |;   P_i: samples of other labels in the last epochs

The bank holds unit features (n_t, width), predictions (n_t, C) and keys k by the averaged network F', which follows
F after each step; it is made in a full pass per epoch.

Evidence: tests/test_source_free.py (terms equal a transcription; the labels' history).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize, softmax

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.methods.source_free._source_free import SourceFree, banks, renew_banks
from dazoo.nets.net import Net
from dazoo.nets.parts.twin import Twin
from dazoo.ops.entropy import diversity, entropy
from dazoo.ops.neighbourhood import contrast, voted
from dazoo.ops.selftraining import step_draws
from dazoo.ops.source_free import negative_learning


@register
class PLUE(SourceFree):
    """Pseudo-labels guided by uncertainty estimation."""

    paper = Paper(
        title="Guiding Pseudo-labels with Uncertainty Estimation for Source-free Unsupervised Domain Adaptation",
        authors="Mattia Litrico, Alessio Del Bue, Pietro Morerio", year=2023, url="https://arxiv.org/abs/2303.03770",
        venue="CVPR",
        deviations="keys are weak views where the paper has a second strong one, and the queue of keys is the bank of "
        "all target samples; labels enter the history once per epoch; the average's decay is 0.99 (paper 0.999), since "
        "runs are short; other classes are drawn per step, the same for every seed; strong views of vectors are noise "
        "and masked entries. One wrong class per sample and step teaches slowly (the paper: 300 epochs): in a few "
        "hundred steps contrast and diversity outweigh it, and it can end below the source model (suite "
        "digits_source_free)",
    )  # fmt: skip
    strong_views = True
    stackable = False

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of negative learning")
    contrast_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the contrast between samples")
    div_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the diversity of predictions")
    neighbours: int = hp(10, 3, 20, help="k, bank rows that vote")
    temperature: float = hp(0.07, 0.03, 0.3, log=True, help="of the contrast", positive=True)
    history: int = hp(5, 1, 10, help="epochs whose labels count as a sample's")
    decay: float = hp(0.99, 0.9, 0.999, help="share of the averaged network that stays per step")

    def setup(self, net: Net) -> None:
        net.add_module("teacher", Twin(net, still=False))

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        made = banks(*look.target)
        made["keys"] = normalize(torch.cat([net.teacher(x)[1] for x in look.inputs("target")]), dim=-1)
        rows = torch.arange(len(made["bank_f"]), device=made["bank_f"].device)
        y = voted(made["bank_f"], torch.full_like(rows, -1), made["bank_f"], made["bank_p"], self.neighbours).argmax(-1)
        before = look.memory.get("labels")
        made["labels"] = y[:, None] if before is None else torch.cat([before, y[:, None]], 1)[:, -self.history :]
        return made

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xt_strong is not None
        weak, strong = net.body(torch.cat([b.xt, b.xt_strong])).chunk(2)
        scores_w, scores_s = net.head(weak), net.head(strong)
        q = voted(weak, torch.full_like(b.t_rows, -1), b.memory["bank_f"], b.memory["bank_p"], self.neighbours)
        y, w = q.argmax(-1), torch.exp(-entropy(q) / math.log(q.shape[-1]))
        steps = torch.as_tensor(step_draws(t.step, 2023).integers(1, q.shape[-1], len(y)), device=y.device)
        labels = b.memory["labels"]
        other = (labels[b.t_rows][:, None] != labels).all(-1)
        keys = normalize(net.teacher(b.xt)[1], dim=-1)
        div = diversity(softmax(scores_w, -1)) + diversity(softmax(scores_s, -1))
        return {
            "cls": self.trade_off * negative_learning(scores_s, (y + steps) % q.shape[-1], w),
            "contrast": self.contrast_weight * contrast(strong, keys, b.memory["keys"], other, self.temperature),
            "div": -self.div_weight * div,
        }

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        renew_banks(net, b)
        net.teacher.follow(net, self.decay)
        b.memory["keys"][b.t_rows] = normalize(net.teacher(b.xt)[1], dim=-1)
