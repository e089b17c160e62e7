"""LEAD: features split into what the source knows and what it does not. Qu et al., CVPR 2024.

    F_0, C = the source-only model of the same seed and recipe; C, with weights W (K, width), stays fixed
    min_F  trade_off * E w_i CE(p_i, y_i) + neighbour_weight * E CE(p_i, q_i) + split_weight * E w_i CE(r_i, unknown_i)
    f = F(x_t) / |F(x_t)|,   k = |B^T f|,   u = |f - B B^T f|,   r = softmax([k, u]),   B: basis of the rows of W

q_i is the mean of p over the ``neighbours`` most similar samples of a bank (n_t, .). Per epoch:
    s_ic = sqrt((1 - exp(-max(0, cos(f_i, v_c)))) exp(max(0, cos(f_i, W_c)) - 1)),    c_i = argmax_c s_ic
    row i is unknown where u_i >= b_i = u_c + s_ic max(0, m - u_c), c = c_i;   y_i is c_i, or 1/K of all where unknown
    w_i = 1 - (1 + (u_i - b_i)^2 / a)^(-(1 + a) / 2),  a = 1e-4,  and 1 beyond u_c or m
v_c and u_c are the means of f and u over the n_t / M rows that C finds likeliest of class c; m is the larger mean of
two Gaussians fitted to all u. M is found as in ``glc``; F moves at a tenth of the recipe's rate. A row is
answered "unknown" where H(p) / ln K > ``threshold``.

Evidence: tests/test_universal_clusters.py (labels and weights equal a transcription in loops), tests/test_universal.py
(the head keeps its bits).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.methods.universal._clusters import likeliest, soft_labels, target_classes, two_gaussians
from dazoo.nets.net import Net
from dazoo.ops.selftraining import neighbour_mean
from dazoo.ops.universal import entropy_share, soft_pseudo_loss

TAIL = 1e-4


@register
class LEAD(GradientMethod):
    """Learning decomposition."""

    paper = Paper(
        title="LEAD: Learning Decomposition for Source-free Universal Domain Adaptation",
        authors="Sanqing Qu, Tianpei Zou, Lianghua He, Florian Röhrbein, Alois Knoll, Guang Chen, Changjun Jiang",
        year=2024, venue="CVPR", url="https://arxiv.org/abs/2403.03421",
        deviations="the source model is source_only's, without label smoothing or weight normalisation unless the "
        "recipe has them; silhouettes are of the backbone's unit features, which the source's classes did not "
        "shape, and taken once, in the authors' program of the t-SNE of the bottleneck's; weights beyond the bounds "
        "are 1, which the program writes into a copy; cross-entropies are exact, without 1e-5 in their logarithms",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial", "open", "universal"}, source="model", n_sources={"one", "many"})
    start = "source_only"
    uses_source = False
    stackable = False

    trade_off: float = hp(0.3, 0.03, 3.0, log=True, help="weight of the labels")
    neighbour_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the neighbours' predictions")
    split_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the split into known and unknown directions")
    neighbours: int = hp(4, 2, 10, help="bank samples whose predictions are averaged")
    threshold: float = hp(0.55, most=1.0, help="share of the largest entropy above which a row is unknown")

    def part_lr(self) -> dict[str, float]:
        return {"head": 0.0, "body": 0.1}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        features, scores = look.target
        f, p, w = normalize(features, dim=-1), scores.softmax(1), net.head.weight.detach()
        number = target_classes(net, look, p.shape[1], (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0))
        basis = known_basis(w)
        labels, weights = decomposed_labels(f, p, w, basis, int(number))
        return {
            "number": number, "labels": soft_labels(labels, p), "unknown": labels == p.shape[1], "weights": weights,
            "basis": basis, "bank_f": f, "bank_p": p,
        }  # fmt: skip

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        features, memory, rows = net.body(b.xt), b.memory, b.t_rows
        scores, w = net.head(features), b.memory["weights"][rows][:, None]
        near = neighbour_mean(features.detach(), rows, memory["bank_f"], memory["bank_p"], self.neighbours)
        sides = torch.stack(parts(normalize(features, dim=-1), memory["basis"]), 1)
        wrong = -log_softmax(sides, 1).gather(1, memory["unknown"][rows].long()[:, None])
        return {
            "pseudo": self.trade_off * soft_pseudo_loss(scores, w * memory["labels"][rows]),
            "near": self.neighbour_weight * soft_pseudo_loss(scores, near),
            "split": self.split_weight * (w * wrong).mean(),
        }

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        features = net.body(b.xt)
        b.memory["bank_f"][b.t_rows] = normalize(features, dim=-1)
        b.memory["bank_p"][b.t_rows] = net.head(features).softmax(1)

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        scores = net.head(features)
        return Prediction(scores, features, unknown=entropy_share(scores), threshold=self.threshold)


def known_basis(w: Tensor) -> Tensor:
    """Orthonormal directions (d, r) that the rows of w (K, d) span, at most d - 1 so that something is unknown."""
    return torch.linalg.svd(w.T, full_matrices=False).U[:, : max(1, w.shape[1] - 1)]


def parts(f: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Lengths (n,) of f (n, d) inside and outside the span of basis (d, r)."""
    inside = f @ basis
    return torch.linalg.vector_norm(inside, dim=1), torch.linalg.vector_norm(f - inside @ basis.T, dim=1)


def decomposed_labels(f: Tensor, p: Tensor, w: Tensor, basis: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Classes (n,), K for "unknown", and weights (n,) of unit features f (n, d) with probabilities p (n, K)."""
    u, top = parts(f, basis)[1], likeliest(p, number)
    to_target = (f @ normalize(f[top].mean(0), dim=-1).T).clamp_min(0.0)
    to_source = (f @ normalize(w, dim=-1).T).clamp_min(0.0)
    score = ((1.0 - torch.exp(-to_target)) * torch.exp(to_source - 1.0)).sqrt()
    best, label = score.max(1)
    prior, high = u[top].mean(0)[label], two_gaussians(u)
    bound = prior + best * (high - prior).clamp_min(0.0)
    weight = 1.0 - (1.0 + (u - bound).square() / TAIL).pow(-(TAIL + 1.0) / 2.0)
    weight = torch.where((u >= high) | (u < prior), torch.ones_like(weight), weight)
    return torch.where(u >= bound, p.shape[1], label), weight
