"""AdaContrast: labels voted by neighbours, and contrast between samples of different labels. Chen et al., CVPR 2022.

    min_{F,C}  trade_off * 1/b sum_i CE(C(F(strong(x_i))), y_i) + contrast_weight * 1/b sum_i L_i - div_weight * H(pbar)
    from the source model;  y_i = argmax of the mean prediction of the k bank rows most similar to F(x_i) by cosine
    L_i = -log[ e(z_i . k_i) / (e(z_i . k_i) + sum_{j: y_j != y_i} e(z_i . k_j)) ],   e(v) = exp(v / temperature)
    z_i = F(strong(x_i)) / | . |,   k_j the bank's unit features, k_i = F'(x_i) / | . |
    pbar = 1/b sum_i softmax(C(F(strong(x_i)))) (C,);   F', C' <- d (F', C') + (1 - d) (F, C) after each step

The bank holds unit features (n_t, width), predictions and labels of all n_t target samples by the averaged network
F', C'; it is made in a full pass per epoch and renewed after each step.

Evidence: tests/test_source_free.py (terms equal a transcription; the average follows).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.methods.source_free._source_free import SourceFree, banks
from dazoo.nets.net import Net
from dazoo.nets.parts.twin import Twin
from dazoo.ops.entropy import diversity
from dazoo.ops.neighbourhood import contrast, voted


@register
class AdaContrast(SourceFree):
    """Contrastive test-time adaptation with refined labels, offline."""

    paper = Paper(
        title="Contrastive Test-Time Adaptation", authors="Dian Chen, Dequan Wang, Trevor Darrell, Sayna Ebrahimi",
        year=2022, url="https://arxiv.org/abs/2204.10377", venue="CVPR",
        deviations="keys are weak views where the paper has a second strong one; the queue of keys is the bank of all "
        "target samples; the average's decay is 0.99 (paper 0.999), since runs are short; strong views of vectors are "
        "noise and masked entries",
    )  # fmt: skip
    strong_views = True
    stackable = False

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the voted labels")
    contrast_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the contrast between samples")
    div_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the diversity of predictions")
    neighbours: int = hp(10, 3, 20, help="k, bank rows that vote")
    temperature: float = hp(0.07, 0.03, 0.3, log=True, help="of the contrast", positive=True)
    decay: float = hp(0.99, 0.9, 0.999, help="d, share of the averaged network that stays per step")

    def setup(self, net: Net) -> None:
        net.add_module("teacher", Twin(net, still=False))

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        passes = [net.teacher(x) for x in look.inputs("target")]
        made = banks(torch.cat([f for _, f in passes]), torch.cat([s for s, _ in passes]))
        # everybody votes in a bank where nobody is left out
        nobody = torch.full((len(made["bank_f"]),), -1, device=made["bank_f"].device)
        made["labels"] = voted(made["bank_f"], nobody, made["bank_f"], made["bank_p"], self.neighbours).argmax(-1)
        return made

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xt_strong is not None
        weak, strong = net.body(torch.cat([b.xt, b.xt_strong])).chunk(2)
        bank_f, labels = b.memory["bank_f"], b.memory["labels"]
        nobody = torch.full_like(b.t_rows, -1)
        y = voted(weak, nobody, bank_f, b.memory["bank_p"], self.neighbours).argmax(-1)
        keys = normalize(net.teacher(b.xt)[1], dim=-1)
        other = y[:, None] != labels
        scores = net.head(strong)
        return {
            "cls": self.trade_off * cross_entropy(scores, y),
            "contrast": self.contrast_weight * contrast(strong, keys, bank_f, other, self.temperature),
            "div": -self.div_weight * diversity(scores.softmax(-1)),
        }

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        net.teacher.follow(net, self.decay)
        scores, features = net.teacher(b.xt)
        new = banks(features, scores)
        nobody = torch.full_like(b.t_rows, -1)
        y = voted(features, nobody, b.memory["bank_f"], b.memory["bank_p"], self.neighbours).argmax(-1)
        for key, value in {**new, "labels": y}.items():
            b.memory[key][b.t_rows] = value
