"""RuLSIF: relative unconstrained least-squares importance fitting. Yamada et al., NIPS 2011.

The alpha-relative ratio p_t / (alpha p_t + (1 - alpha) p_s) is at most 1 / alpha, so no sample dominates. With kernels
k(x) (m,) around target samples, as in uLSIF:

    H = alpha/n_t sum_j k(x_t,j) k(x_t,j)' + (1 - alpha)/n_s sum_i k(x_s,i) k(x_s,i)',     h = (1/n_t) sum_j k(x_t,j)
    a = max(0, (H + lam I)^-1 h),      w_i = k(x_s,i)' a

sigma and lam minimise the 5-fold cross-validation of  alpha/2 E_t r^2 + (1 - alpha)/2 E_s r^2 - E_t r.

Evidence: tests/test_reweighting.py::test_rulsif_minimises_its_objective, test_rulsif_with_alpha_zero_is_ulsif,
test_known_gaussian_ratio.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.reweighting._lsif import LAMBDAS, Bases, bases, solve, solve_all
from dazoo.methods.reweighting._ratio import folds
from dazoo.methods.shallow import Reweighting
from dazoo.ops.linalg.blas import product
from dazoo.ops.linalg.linear import second_moment

FOLDS = 5


@register
class RuLSIF(Reweighting):
    """Relative unconstrained least-squares importance fitting."""

    paper = Paper(
        title="Relative Density-Ratio Estimation for Robust Distribution Comparison",
        authors="Makoto Yamada, Taiji Suzuki, Takafumi Kanamori, Hirotaka Hachiya, Masashi Sugiyama", year=2011,
        url="https://papers.nips.cc/paper/2011/hash/d1f255a373a3cef72e03aa9d980c7eca-Abstract.html", venue="NIPS",
        deviations="widths are tried relative to the median distance",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})

    alpha: float = hp(0.5, 0.05, 0.95, help="share of the target in the denominator; 0 is uLSIF")
    centres: int = hp(100, 20, 200, log=True, help="number of kernels, at random target samples")

    def weights(self, seen: Seen, ctx: Context) -> Tensor:
        """The fitted relative ratio at the source samples."""
        b, sigma, lam = self.choose(seen, ctx)
        ks, kt = b.bumps(sigma)
        mixed = self.alpha * (kt.T @ kt) / len(kt) + (1 - self.alpha) * (ks.T @ ks) / len(ks)
        return ks @ solve(mixed, kt.mean(0), lam)

    def choose(self, seen: Seen, ctx: Context) -> tuple[Bases, Tensor, float]:
        """The kernels' centres and the cross-validated sigma and lam."""
        if not 0 <= self.alpha < 1:
            raise DazooError(f"rulsif.alpha must lie in [0, 1), not {self.alpha}")
        b = bases(seen, self.centres, ctx)
        fold_s = folds(len(b.bumps.s), FOLDS, ctx).to(b.bumps.s.device)
        fold_t = folds(len(b.bumps.t), FOLDS, ctx).to(b.bumps.t.device)
        best: tuple[float, Tensor, float] | None = None
        for sigma in b.sigmas:
            scores = cross_validate(*b.bumps(sigma), fold_s, fold_t, self.alpha)
            for lam, score in zip(LAMBDAS, scores):
                if best is None or score < best[0]:
                    best = (score, sigma, lam)
        assert best is not None
        return b, best[1], best[2]


def cross_validate(ks: Tensor, kt: Tensor, fold_s: Tensor, fold_t: Tensor, alpha: float) -> list[float]:
    """The mean held-out score of every ridge in ``LAMBDAS``; folds without samples of both domains are left out."""
    counts_s, counts_t = (torch.bincount(fold, minlength=FOLDS).tolist() for fold in (fold_s, fold_t))
    used = [f for f in range(FOLDS) if 0 < counts_s[f] < len(fold_s) and 0 < counts_t[f] < len(fold_t)]
    if not used:
        raise DazooError("rulsif needs at least two samples of each domain to cross-validate")
    # second moments of each fold once; those of a training set are the sums over all less the fold's
    parts_s, parts_t = ([k[fold == f] for f in range(FOLDS)] for k, fold in ((ks, fold_s), (kt, fold_t)))
    moments_s, moments_t = ([second_moment(part) for part in parts] for parts in (parts_s, parts_t))
    sums = [part.sum(0) for part in parts_t]
    totals = ks.new_zeros(len(LAMBDAS))
    for f in used:
        n_s, n_t = counts_s[f], counts_t[f]
        rest_s, rest_t = len(ks) - n_s, len(kt) - n_t
        rest = [g for g in range(FOLDS) if g != f]
        mixed = alpha / rest_t * torch.stack([moments_t[g] for g in rest]).sum(0)
        mixed = mixed + (1 - alpha) / rest_s * torch.stack([moments_s[g] for g in rest]).sum(0)
        a = solve_all(mixed, torch.stack([sums[g] for g in rest]).sum(0) / rest_t, LAMBDAS)
        held = alpha / n_t * moments_t[f] + (1 - alpha) / n_s * moments_s[f]
        totals += ((product(a, held) * a).sum(1) / 2 - a @ sums[f] / n_t) / len(used)
    return list(map(float, totals))
