"""HDy: Hellinger distance of posteriors. González-Castro, Alaiz-Rodríguez, Alegre, Information Sciences 2013.

    q = argmin_q  sum_k sum_b (sqrt(sum_c q_c H_kbc) - sqrt(T_kb))^2,     q >= 0,  sum_c q_c = 1

H_kbc is the share of class c's held-out source samples whose probability of class k lies in bin b, T_kb that of the
target's samples. The distance is taken for 10, 20, ..., 110 bins of equal width on [0, 1], as far as every class has
five samples for each bin, and q_c (C,) is the median of the answers, divided by the sum. Of two classes one probability
says all, so k is the second class alone.

Evidence: tests/test_quantification.py::test_exact_mixtures_give_exact_shares,
test_errors_on_label_shift_lie_in_the_stated_bands.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.label_shift._quantifier import Quantifier, in_classes
from dazoo.methods.reweighting._label_shift import held_out
from dazoo.methods.shallow import source_of
from dazoo.ops.shares import mixture_shares

BINS = range(10, 111, 10)
PER_BIN = 5


@register
class HDy(Quantifier):
    """Hellinger distance of posteriors."""

    paper = Paper(
        title="Class Distribution Estimation Based on the Hellinger Distance",
        authors="Víctor González-Castro, Rocío Alaiz-Rodríguez, Enrique Alegre", year=2013,
        url="https://doi.org/10.1016/j.ins.2012.05.028", venue="Information Sciences (Journal)",
        deviations="the minimum by convex optimisation instead of a search over hundredths; more than two classes by "
        "the histograms of all probabilities at once, since one class against the rest is no mixture of two when the "
        "rest shifts; not more bins than a fifth of the smallest class, since empty bins of the mixture draw shares "
        "towards the larger classes (seen on `shifts` beside the true shares); posteriors from cross-validation; "
        "answers are corrected by the shares",
    )  # fmt: skip

    folds: int = hp(5, 2, 10, help="folds of the cross-validation that gives the source's posteriors")

    def shares(self, seen: Seen, ctx: Context, scores: Tensor) -> Tensor:
        y, held = source_of(seen).y, torch.softmax(held_out(seen, ctx, self.folds), 1)
        present = torch.unique(y)
        target = torch.softmax(scores, 1)
        if seen.n_classes == 2:
            held, target = held[:, 1:], target[:, 1:]
        smallest = int(torch.bincount(y)[present].min())
        answers = []
        for bins in [b for b in BINS if PER_BIN * b <= smallest] or BINS[:1]:
            parts = torch.stack([histograms(held[y == c], bins) for c in present], 1)
            found, converged = mixture_shares(parts, histograms(target, bins))
            if not converged:
                ctx.warn("hdy: the solver stopped before it converged")
            answers.append(found)
        middle = torch.quantile(torch.stack(answers), 0.5, dim=0)
        whole = torch.zeros(seen.n_classes, dtype=torch.bool, device=y.device)
        whole[present] = True
        return in_classes(middle / middle.sum(), whole)


def histograms(probs: Tensor, bins: int) -> Tensor:
    """Shares of the rows of ``probs`` (n, k) in ``bins`` bins of [0, 1], column after column: (k bins,)."""
    place = (probs * bins).long().clamp(0, bins - 1) + bins * torch.arange(probs.shape[1], device=probs.device)
    return torch.bincount(place.flatten(), minlength=bins * probs.shape[1]).to(probs) / len(probs)
