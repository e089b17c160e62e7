"""LDM: linear discrepancy minimisation. Mansour, Mohri and Rostamizadeh, COLT 2009.

For linear hypotheses of norm at most 1 and squared loss the discrepancy of the weighted source and the target is the
spectral norm of the difference of their second moments, and the weights minimise it:

    min_w  || T - sum_i w_i x_i x_i' ||_2     subject to  w >= 0, sum w = 1,       T = (1/n_t) sum_j x_j x_j'   (d, d)

with x standardised over both domains and a constant 1 appended, so that means count. The norm is smoothed,
mu log sum_k exp(l_k / mu) + exp(-l_k / mu) over the eigenvalues l_k, and minimised by accelerated projected gradients
while mu falls; the gap to the dual bound  max_S <T, S> - max_i x_i'S x_i,  |S|_* <= 1,  tells how near the optimum is.
An iteration costs O(d^3 + n d^2); beyond 64 features their leading 64 principal components over both domains stand in
for them.

Evidence: tests/test_reweighting_means.py::test_ldm_equals_cutting_planes (scipy.optimize.linprog),
test_ldm_gap_certifies_the_discrepancy.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Reweighting, pair
from dazoo.ops.linalg.blas import product
from dazoo.ops.linalg.spectral import principal_components
from dazoo.shallow.steps import Standardise

GAP = 1e-3
STAGES = (0.1, 0.03, 0.01, 0.003, 0.001)
ITERATIONS = 300
COMPONENTS = 64
MANY = 5_000  # source samples above which steps that cost less, and agree but for rounding, are worth their lines
PATIENCE = 20
NEGLIGIBLE = 1e-9  # share of the largest below which weights and directions do not matter


@register
class LDM(Reweighting):
    """Linear discrepancy minimisation."""

    paper = Paper(
        title="Domain Adaptation: Learning Bounds and Algorithms",
        authors="Yishay Mansour, Mehryar Mohri, Afshin Rostamizadeh", year=2009, url="https://arxiv.org/abs/0902.3430",
        venue="COLT",
        deviations="first-order method with a certified gap instead of semi-definite programming; standardised "
        "features with a constant; at most 64 principal components",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})

    def weights(self, seen: Seen, ctx: Context) -> Tensor:
        """The weights of least discrepancy."""
        w, gap = ctx.memo("ldm", lambda: minimise(*lifted(*pair(seen))))
        if gap > GAP:
            ctx.warn(f"ldm: the discrepancy is within {gap:.2%} of its start, not {GAP:.1%}, of the least possible one")
        return w


def lifted(xs: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
    """Source rows (n_s, d + 1), standardised with a constant, and the target's second moment (d + 1, d + 1)."""
    both = torch.cat([xs, xt])
    if both.shape[1] > COMPONENTS:
        mean, _, directions = principal_components(both, COMPONENTS)
        xs, xt, both = ((x - mean) @ directions for x in (xs, xt, both))
    step = Standardise(both.mean(0), both.std(0, correction=0))
    zs, zt = (torch.cat([step(x), x.new_ones(len(x), 1)], 1) for x in (xs, xt))
    return zs, zt.T @ zt / len(zt)


def minimise(x: Tensor, target: Tensor) -> tuple[Tensor, float]:
    """Weights (n,) and how far, as a share of the unweighted discrepancy, theirs may be from the least one."""
    w = torch.full((len(x),), 1.0 / len(x), dtype=x.dtype, device=x.device)
    start = float(torch.linalg.eigvalsh(_difference(x, target, w)).abs().max())
    if start < 1e-12:
        return w, 0.0
    best, least, bound = w, start, 0.0
    lipschitz, unused = 1.0, 0
    for stage in STAGES:
        mu = stage * start / math.log(2 * len(target))
        ahead, t = w, 1.0
        reached, quiet = math.inf, 0
        for i in range(ITERATIONS + (unused if stage == STAGES[-1] else 0)):
            value, slope, norm, dual = _smoothed(x, target, ahead, mu)
            bound = max(bound, dual)
            if norm < least:
                best, least = ahead, norm
            if least - bound <= GAP * start:
                return best, (least - bound) / start
            reached, quiet = (least - bound, 0) if least - bound < 0.99 * reached else (reached, quiet + 1)
            if len(x) > MANY and quiet >= PATIENCE and reached < stage * start / 2:  # all that mu allows
                unused += ITERATIONS - i
                break
            lipschitz /= 1.5
            while True:
                after = _simplex(ahead - slope / lipschitz)
                move = after - ahead
                limit = value + float(slope @ move) + lipschitz / 2 * float(move @ move)
                if _smoothed_value(x, target, after, mu) <= limit + 1e-12 * start or lipschitz > 1e18:
                    break
                lipschitz *= 2
            follow = (1 + math.sqrt(1 + 4 * t * t)) / 2
            if float(slope @ (after - w)) > 0:  # momentum points uphill: start it anew
                follow = 1.0
            ahead = _simplex(after + (t - 1) / follow * (after - w)) if follow > 1 else after
            w, t = after, follow
        w = best
    return best, (least - bound) / start


def _difference(x: Tensor, target: Tensor, w: Tensor) -> Tensor:
    """T - sum_i w_i x_i x_i' (d, d); of many samples from those that have weight, few near the optimum."""
    if len(x) > MANY and 2 * len(rows := torch.nonzero(w > NEGLIGIBLE * w.max())[:, 0]) < len(x):
        x, w = x[rows], w[rows]
    return target - (x * w[:, None]).T @ x


def _smoothed(x: Tensor, target: Tensor, w: Tensor, mu: float) -> tuple[float, Tensor, float, float]:
    """Smoothed norm, its gradient (n,), the norm itself, and the dual bound of the gradient's matrix."""
    values, vectors = torch.linalg.eigh(_difference(x, target, w))
    exponents = torch.cat([values, -values]) / mu
    value = mu * float(torch.logsumexp(exponents, 0))
    p = torch.softmax(exponents, 0)
    spread = p[: len(values)] - p[len(values) :]
    s = (vectors * spread) @ vectors.T
    reach = ((x @ s) * x).sum(1) if len(x) <= MANY else _reach(x, vectors, spread)
    dual = float((target * s).sum() - reach.max()) / max(float(spread.abs().sum()), 1e-300)
    return value, -reach, float(values.abs().max()), dual


def _reach(x: Tensor, vectors: Tensor, spread: Tensor) -> Tensor:
    """x_i' S x_i (n,) of S = V diag(spread) V', from the few directions that matter once mu is small."""
    some = spread.abs() > NEGLIGIBLE * spread.abs().max()
    return product(x, vectors[:, some]).square_() @ spread[some]


def _smoothed_value(x: Tensor, target: Tensor, w: Tensor, mu: float) -> float:
    values = torch.linalg.eigvalsh(_difference(x, target, w))
    return mu * float(torch.logsumexp(torch.cat([values, -values]) / mu, 0))


def _simplex(v: Tensor) -> Tensor:
    """The nearest point to ``v`` (n,) with non-negative entries of sum 1."""
    if len(v) > MANY:
        return _simplex_of_many(v)
    ordered = v.sort(descending=True).values
    excess = (ordered.cumsum(0) - 1) / torch.arange(1, len(v) + 1, dtype=v.dtype, device=v.device)
    last = int((ordered > excess).sum()) - 1
    return (v - excess[last]).clamp(min=0)


def _simplex_of_many(v: Tensor) -> Tensor:
    """``_simplex`` without a sort: until nothing changes, entries below the excess of the rest are left out (Michelot,
    1986)."""
    kept = v
    while True:
        excess = (kept.sum() - 1) / len(kept)
        above = kept[kept > excess]
        if len(above) in (0, len(kept)):
            return (v - excess).clamp(min=0)
        kept = above
