"""KLIEP: Kullback-Leibler importance estimation procedure. Sugiyama et al., AISM 2008.

The ratio r(x) = sum_l a_l k(x, c_l), k(x, c) = exp(-||x - c||^2 / (2 sigma^2)), with centres c_l among the target
samples, brings r p_s as near to p_t as possible:

    max_a  sum_j log r(x_t,j)     subject to  a >= 0,   (1/n_s) sum_i r(x_s,i) = 1;      w_i = r(x_s,i)

sigma maximises the 5-fold cross-validated mean log r of target samples. Only a is optimised, so it costs O(n m^2).

Evidence: tests/test_reweighting_means.py::test_kliep_constraint_and_kkt, test_kliep_equals_a_generic_solver;
tests/test_reweighting.py::test_known_gaussian_ratio.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.reweighting._lsif import bases
from dazoo.methods.reweighting._ratio import folds
from dazoo.methods.shallow import Reweighting

FOLDS = 5
TINY = 1e-12
GAP = 1e-8
CV_GAP = 1e-5  # of the models that are only compared with one another


@register
class KLIEP(Reweighting):
    """Kullback-Leibler importance estimation procedure."""

    paper = Paper(
        title="Direct importance estimation for covariate shift adaptation",
        authors="Masashi Sugiyama, Taiji Suzuki, Shinichi Nakajima, Hisashi Kashima, Paul von Bünau, Motoaki Kawanabe",
        year=2008, url="https://doi.org/10.1007/s10463-008-0197-x",
        venue="Annals of the Institute of Statistical Mathematics (Journal)",
        deviations="the convex problem is solved by Newton steps on a log barrier to a duality gap of 1e-8 instead of "
        "projected gradients; widths are tried relative to the median distance",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})

    centres: int = hp(100, 20, 200, log=True, help="number of kernels, at random target samples")

    def weights(self, seen: Seen, ctx: Context) -> Tensor:
        """The fitted ratio at the source samples, with the width of the best cross-validated likelihood."""
        b = bases(seen, self.centres, ctx)
        fold = folds(len(b.bumps.t), FOLDS, ctx).to(b.bumps.t.device)
        best: tuple[float, Tensor] | None = None
        for sigma in b.sigmas:
            ks, kt = b.bumps(sigma)
            score = held_out_likelihood(kt, ks.mean(0), fold)
            if score > -torch.inf and (best is None or score > best[0]):
                best = (score, sigma)
        if best is None:
            raise DazooError("kliep: no kernel width covers both domains; source and target do not overlap")
        ks, kt = b.bumps(best[1])
        a, gap = fit_kliep(kt, ks.mean(0))
        if gap > GAP:
            ctx.warn(f"kliep: the solver stopped before it converged (duality gap {gap:.1e})")
        return ks @ a


def held_out_likelihood(kt: Tensor, mass: Tensor, fold: Tensor) -> float:
    """Mean held-out log r; -inf where some held-out sample has ratio 0 or no centre has source mass."""
    scores = []
    for f in range(FOLDS):
        out = fold == f
        if not bool(out.any()) or bool(out.all()):
            continue
        if not bool((mass > TINY).any()):
            return -torch.inf
        ratio = kt[out] @ fit_kliep(kt[~out], mass, tolerance=CV_GAP)[0]
        scores.append(ratio.log().mean())
    return float(torch.stack(scores).mean()) if scores else -torch.inf


def fit_kliep(kt: Tensor, mass: Tensor, iterations: int = 60, tolerance: float = GAP / 10) -> tuple[Tensor, float]:
    """Coefficients a (m,) for kernels ``kt`` (n_t, m) and source means of the kernels ``mass`` (m,), and a bound on
    how far the mean log-likelihood is from its maximum.

    With b_l = a_l mass_l the constraint is sum b = 1, and max mean log(R b), R = kt / mass, over the simplex has the
    same solution as min sum b - mean log(R b) over b >= 0. Centres with source mass below 1e-12 or without target mass
    are left out. At b, sum b = 1, the maximum is at most  max_l mean_j R_jl / (R b)_j - 1  away.
    """
    if kt.device.type == "cpu":
        a, gap = _fit(kt.numpy(), mass.numpy(), iterations, tolerance)
        return torch.from_numpy(a), gap
    a, gap = _fit(kt.cpu().numpy(), mass.cpu().numpy(), iterations, tolerance)
    return torch.from_numpy(a).to(kt), gap


def _fit(kt: np.ndarray, mass: np.ndarray, iterations: int, tolerance: float) -> tuple[np.ndarray, float]:
    from scipy.linalg.lapack import dposv

    use = (mass > TINY) & (kt.sum(axis=0) > 0)
    reach = kt[:, use].sum(axis=1) > 0
    a = np.zeros_like(mass)
    if not use.any() or not reach.any():
        return a, np.inf
    r = (kt[:, use] / mass[use])[reach]
    n, m = r.shape
    b, z = np.full(m, 1.0 / m), np.ones(m)
    value = r @ b
    for _ in range(iterations):
        inverse = 1 / value
        pull = inverse @ r / n
        if float(pull.max() * b.sum() - 1) < tolerance:
            break
        mu = 0.1 * float((b * z).mean())
        scaled = r * inverse[:, None]
        hessian = scaled.T @ scaled / n
        hessian.flat[:: m + 1] += z / b
        right = pull - 1 + mu / b
        _, step, failed = dposv(hessian, right)
        if failed:
            break
        dual = mu / b - z - z * step / b
        size = min(1.0, 0.99 * _room(b, step), 0.99 * _room(z, dual))
        move, start = r @ step, _barrier(value, b, mu)
        while size > 1e-10 and _barrier(value + size * move, b + size * step, mu) > start - 1e-4 * size * (
            right @ step
        ):
            size /= 2
        b, z = b + size * step, z + size * dual
        value = r @ b
    b = b / b.sum()
    gap = max(float((1 / (r @ b) @ r).max() / n - 1), 0.0)
    a[use] = b / mass[use]
    return a, gap


def _barrier(value: np.ndarray, b: np.ndarray, mu: float) -> float:
    return float(b.sum() - np.log(value).mean() - mu * np.log(b).sum())


def _room(value: np.ndarray, move: np.ndarray) -> float:
    return float(1.0 / max((-move / value).max(), 1e-300))
