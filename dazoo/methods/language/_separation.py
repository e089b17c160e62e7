"""The parts of UniMoS and the terms of its criterion."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm


class Split(nn.Module):
    """Two linear maps of features (n, d): what belongs to vision, and what to words."""

    def __init__(self, d: int):
        super().__init__()
        self.of_vision, self.of_words = nn.Linear(d, d), nn.Linear(d, d)
        for layer in (self.of_vision, self.of_words):
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.of_vision(x), self.of_words(x)


class Separation(nn.Module):
    """All that UniMoS trains: ``split``, the vision classifier, its weight in the ensemble, and the modality judge."""

    def __init__(self, d: int, n_classes: int, width: int):
        super().__init__()
        self.split = Split(d)
        self.bottleneck = nn.Sequential(nn.Linear(d, width), nn.BatchNorm1d(width))
        head = nn.Linear(width, n_classes)
        for layer in (self.bottleneck[0], head):
            nn.init.xavier_normal_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.head = weight_norm(head)
        self.weigh = nn.Sequential(nn.Linear(d, width), nn.Linear(width, 1), nn.Sigmoid())
        self.judge = nn.Sequential(nn.Linear(d, width), nn.ReLU(), nn.Dropout(), nn.Linear(width, 1))

    def vision(self, v: Tensor) -> Tensor:
        """Scores (n, K) of the vision part."""
        scores: Tensor = self.head(self.bottleneck(v))
        return scores

    def rates(self, lr: float) -> list[dict[str, Any]]:
        """Groups for an optimiser; the weight of the ensemble learns ten times as slowly."""
        fast = [p for name, p in self.named_parameters() if not name.startswith("weigh.")]
        return [{"params": fast, "first": lr}, {"params": self.weigh.parameters(), "first": 0.1 * lr}]

    @torch.no_grad()
    def redraw(self, gen: torch.Generator) -> None:
        """Half of the tensors of ``weigh`` anew, as before each epoch."""
        for parameter in self.weigh.parameters():
            if float(torch.rand((), generator=gen, device=gen.device)) < 0.5:
                nn.init.xavier_uniform_(parameter) if parameter.ndim == 2 else nn.init.zeros_(parameter)


def vision_terms(o_s: Tensor, y_s: Tensor, e_t: Tensor, labels: Tensor) -> Tensor:
    """CE(o_s, y_s) + CE(e_t, labels)."""
    return functional.cross_entropy(o_s, y_s) + functional.cross_entropy(e_t, labels)


def language_terms(a_s: Tensor, y_s: Tensor, a_t: Tensor, zero: Tensor) -> Tensor:
    """CE(a_s, y_s) + mean_j sum_c p_jc (log p_jc - log q_jc), p = softmax(a_t), q = softmax(zero)."""
    gap = functional.log_softmax(a_t, 1) - functional.log_softmax(zero, 1)
    return functional.cross_entropy(a_s, y_s) + (a_t.softmax(1) * gap).sum(1).mean()


def ensemble_information(scores: Tensor, eps: float = 1e-5) -> Tensor:
    """H(mean p) - mean H(p) of p = softmax(scores) (n, K), logs of p + eps."""
    p = scores.softmax(1)
    mean = p.mean(0)
    return (p * (p + eps).log()).sum(1).mean() - (mean * (mean + eps).log()).sum()


def discriminated(judge: nn.Module, v: Tensor, w: Tensor) -> Tensor:
    """Cross-entropy of telling vision (0) from words (1), over the rows of both (n, d)."""
    logits = judge(torch.cat([v, w]))[:, 0]
    truth = torch.cat([logits.new_zeros(len(v)), logits.new_ones(len(w))])
    return functional.binary_cross_entropy_with_logits(logits, truth)
