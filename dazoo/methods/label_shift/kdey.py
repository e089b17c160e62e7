"""KDEy: kernel densities of posteriors, by maximum likelihood. Moreo, González, del Coz, Machine Learning 2025.

    q = argmax_q  sum_j log sum_c q_c f_c(p_j),     f_c(p) = (1/n_c) sum_{i: y_i = c} exp(-|p - p_i|^2 / (2 h^2))

p_j (C,) are the classifier's probabilities of target sample j, p_i those of held-out source samples, f_c the density of
class c on the simplex with bandwidth h (its constant is the same for all classes). The maximum over the simplex is
found by expectation maximisation. Unlike histograms, densities of whole vectors see how the probabilities of several
classes go together.

Evidence: tests/test_quantification.py::test_densities_are_means_of_kernels, test_exact_mixtures_give_exact_shares,
test_errors_on_label_shift_lie_in_the_stated_bands.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.label_shift._quantifier import Quantifier, source_shares
from dazoo.methods.reweighting._label_shift import held_out
from dazoo.methods.shallow import source_of
from dazoo.ops.kernels import squared_distances
from dazoo.ops.linalg.linear import rows_per_block
from dazoo.ops.shares import em_shares

ITERATIONS = 2000


@register
class KDEy(Quantifier):
    """Kernel densities of posteriors."""

    paper = Paper(
        title="Kernel Density Estimation for Multiclass Quantification",
        authors="Alejandro Moreo, Pablo González, Juan José del Coz", year=2025,
        url="https://arxiv.org/abs/2401.00490", venue="Machine Learning (Journal)",
        deviations="the variant of maximum likelihood (KDEy-ML), with the maximum by expectation maximisation; answers "
        "are corrected by the shares",
    )  # fmt: skip
    growth = 2.0

    bandwidth: float = hp(0.1, 0.02, 0.2, log=True, help="width h of the kernels on the simplex", positive=True)
    folds: int = hp(5, 2, 10, help="folds of the cross-validation that gives the source's posteriors")

    def shares(self, seen: Seen, ctx: Context, scores: Tensor) -> Tensor:
        held = torch.softmax(held_out(seen, ctx, self.folds), 1)
        density = log_densities(held, source_of(seen).y, torch.softmax(scores, 1), seen.n_classes, self.bandwidth)
        likelihood = (density - density.amax(1, keepdim=True)).exp()
        found, trace = em_shares(likelihood, source_shares(seen).to(likelihood), ITERATIONS)
        if len(trace) == ITERATIONS:
            ctx.warn(f"kdey: the shares still moved after {ITERATIONS} iterations")
        return found


def log_densities(p: Tensor, y: Tensor, at: Tensor, n_classes: int, h: float) -> Tensor:
    """``log f_c`` (m, C) at the rows of ``at`` (m, C), from ``p`` (n, C) of labels y (n,); -inf for classes without."""
    size = rows_per_block(len(p))
    parts = []
    for i in range(0, len(at), size):
        inside = -squared_distances(at[i : i + size], p) / (2 * h * h)
        found = torch.full((len(inside), n_classes), -torch.inf, dtype=p.dtype, device=p.device)
        for c in torch.unique(y).tolist():
            own = inside[:, y == c]
            found[:, c] = own.logsumexp(1) - torch.log(own.new_tensor(own.shape[1]))
        parts.append(found)
    return torch.cat(parts)
