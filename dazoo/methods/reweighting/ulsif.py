"""uLSIF: unconstrained least-squares importance fitting. Kanamori, Hido and Sugiyama, JMLR 2009.

The ratio r(x) = sum_l a_l exp(-||x - c_l||^2 / (2 sigma^2)), with centres c_l among the target samples, is fitted to
p_t / p_s in squared error under p_s; the solution is closed:

    H = (1/n_s) sum_i k(x_s,i) k(x_s,i)',      h = (1/n_t) sum_j k(x_t,j)         (m, m) and (m,)
    a = max(0, (H + lam I)^-1 h),      w_i = k(x_s,i)' a

sigma and lam minimise the leave-one-out score  mean_i r_(i)(x_s,i)^2 / 2 - r_(i)(x_t,i),  where r_(i) is fitted without
the i-th source and the i-th target sample; it too is closed, by one rank-one update per sample. Costs O(n m^2).

Evidence: tests/test_reweighting.py::test_ulsif_minimises_its_objective, test_ulsif_leave_one_out_equals_refitting,
test_leave_one_out_finds_the_width_of_least_error, test_known_gaussian_ratio.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.on_disk import on_disk
from dazoo.methods.reweighting._lsif import LAMBDAS, bases, solve
from dazoo.methods.reweighting._lsif_on_disk import ratio_on_disk
from dazoo.methods.shallow import Reweighting
from dazoo.ops.linalg.blas import eigh, product
from dazoo.ops.linalg.linear import second_moment

PAIRS = 5000


@register
class ULSIF(Reweighting):
    """Unconstrained least-squares importance fitting."""

    paper = Paper(
        title="A Least-squares Approach to Direct Importance Estimation",
        authors="Takafumi Kanamori, Shohei Hido, Masashi Sugiyama", year=2009,
        url="https://www.jmlr.org/papers/v10/kanamori09a.html", venue="Journal of Machine Learning Research",
        deviations="widths are tried relative to the median distance; beyond 5000 samples per domain the score is a "
        "mean over 5000 left-out pairs",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})
    on_disk = "both"

    centres: int = hp(100, 20, 200, log=True, help="number of kernels, at random target samples")

    def weights(self, seen: Seen, ctx: Context) -> Tensor:
        """The fitted ratio at the source samples, with the width and ridge of the best leave-one-out score."""
        if on_disk(seen):
            return ratio_on_disk(seen, self.centres, ctx, PAIRS, left_out_scores)
        b = bases(seen, self.centres, ctx)
        best: tuple[float, Tensor, float] | None = None
        for sigma in b.sigmas:
            ks, kt = b.bumps(sigma)
            for lam, score in zip(LAMBDAS, leave_one_out(ks, kt, LAMBDAS)):
                if best is None or score < best[0]:
                    best = (score, sigma, lam)
        assert best is not None
        ks, kt = b.bumps(best[1])
        return ks @ solve(ks.T @ ks / len(ks), kt.mean(0), best[2])


def leave_one_out(ks: Tensor, kt: Tensor, lams: tuple[float, ...]) -> list[float]:
    """The leave-one-out score of every ridge: kernels ``ks`` (n_s, m), ``kt`` (n_t, m).

    Pair i of evenly spaced rows, min(n_s, n_t, 5000) of them, is left out together. With B = H n_s / (n_s - 1) + lam I
    and u = B^-1 k_s,i the matrix without sample i is B - k k' / (n_s - 1), whose inverse is
    B^-1 + u u' / (n_s - 1 - k'u).
    """
    n_s, n_t = len(ks), len(kt)
    n = min(n_s, n_t, PAIRS)
    rows_s, rows_t = (torch.arange(n, device=ks.device) * m // n for m in (n_s, n_t))
    return left_out_scores(second_moment(ks), kt.mean(0), ks[rows_s], kt[rows_t], n_s, n_t, lams)


def left_out_scores(
    second: Tensor, h: Tensor, ks_out: Tensor, kt_out: Tensor, n_s: int, n_t: int, lams: tuple[float, ...]
) -> list[float]:
    """``leave_one_out`` from sums: ``second`` (m, m) = ks'ks and ``h`` (m,) of all samples, kernels (n, m) of the pairs
    that are left out."""
    values, vectors = eigh(second / (n_s - 1))
    s, t = product(ks_out, vectors), product(kt_out, vectors)
    h = h @ vectors
    inverses = 1 / (values.clamp(min=0)[:, None] + second.new_tensor(lams))  # (m, number of ridges)
    without = (n_t * h - t) / (n_t - 1)  # the target's mean without sample j
    along_u, along_base = product(s.square(), inverses), product(s * without, inverses)
    lifts = along_base / (n_s - 1 - along_u).clamp(min=1e-12)
    scores = []
    for inverse, lift in zip(inverses.T, lifts.T):
        # B^-1 applied to that mean, then the rank-one correction
        alpha = product(torch.addcmul(without, s, lift[:, None]).mul_(inverse), vectors.T).clamp_(min=0)
        r_s, r_t = (ks_out * alpha).sum(1), (kt_out * alpha).sum(1)
        scores.append(float((r_s.square() / 2 - r_t).mean()))
    return scores
