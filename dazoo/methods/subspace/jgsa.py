"""JGSA: joint geometrical and statistical alignment. Zhang, Li and Ogunbona, CVPR 2017.

Two coupled maps A (source) and B (target), both (d, k): far target samples and class centres, close classes, close
domain and class means, close subspaces.

    max_{A,B} tr( W' diag(beta S_b, mu S_t) W ) / tr( W' [ M_s + lam I + beta S_w    M_st - lam I       ] W )
                                                       [ M_ts - lam I               M_t + (lam + mu) I ]
    W = [A; B] (2d, k),   z_s = A' x_s,   z_t = B' x_t

S_w, S_b are the within and between class scatter of the source, S_t the scatter of the target, and the M blocks are
X M X' of JDA with the current target labels. W holds the leading generalised eigenvectors. As only the M blocks (rank
C + 1) change between rounds and the numerator has rank n_t + C at most, one factorisation serves all rounds (Woodbury),
and it is one of (d, d): without the M blocks the right side's lower blocks are multiples of I, so that

    B_0^-1 [u; v] = [x; v / nu + t x],   x = S^-1 (u + t v),   S = beta S_w + t mu I,   nu = lam + mu,   t = lam / nu.

Evidence: tests/test_subspace_pencils.py::test_jgsa_solves_its_pencil (scipy.linalg.eigh on the dense pencil),
test_more_surf_averages.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, pair, source_of
from dazoo.methods.subspace._pencil import joint_indicators
from dazoo.methods.subspace._rounds import alternate, label_target
from dazoo.ops.classwise import one_hot
from dazoo.ops.linalg.blas import cholesky, product, solve_lower
from dazoo.ops.linalg.linear import second_moment
from dazoo.ops.linalg.spectral import leading_eigenvectors, root_of, span
from dazoo.shallow.steps import Affine, Step, UnitNorm, run_steps


@register
class JGSA(FeatureMap):
    """Joint geometrical and statistical alignment."""

    paper = Paper(
        title="Joint Geometrical and Statistical Alignment for Visual Domain Adaptation",
        authors="Jing Zhang, Wanqing Li, Philip Ogunbona", year=2017, url="https://arxiv.org/abs/1705.05498",
        venue="CVPR",
        deviations="the target is first labelled by the classifier on the raw samples; samples are scaled to unit "
        "norm, so that lam and mu do not depend on the features' scale; the authors' program weighs M_0, the means of "
        "the domains, by the number of classes",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})

    dim: int = hp(30, 4, 100, log=True, help="dimensions of the common space")
    beta: float = hp(0.1, 1e-3, 10.0, log=True, help="weight of the source's class scatter")
    lam: float = hp(1.0, 1e-2, 1e2, log=True, help="weight of ||A - B||^2")
    mu: float = hp(1.0, 1e-2, 1e2, log=True, help="weight of the target's scatter and of ||B||^2")
    rounds: int = hp(10, help="number of times the target is labelled")
    unit_norm: bool = hp(True, help="scale samples to norm 1 first")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Alternate between the pencil and the labels."""
        before: tuple[Step, ...] = (UnitNorm(),) if self.unit_norm else ()
        xs, xt = (run_steps(before, x) for x in pair(seen))
        fewer = 2 * (len(xs) + len(xt)) <= xs.shape[1]
        basis = ctx.memo(("span", self.unit_norm), lambda: span(torch.cat([xs, xt]))) if fewer else None
        bs, bt = (xs, xt) if basis is None else (product(xs, basis), product(xt, basis))
        ys = source_of(seen).y
        pencil = ctx.memo(
            ("jgsa", self.beta, self.lam, self.mu, self.unit_norm),
            lambda: Coupled.build(bs, bt, ys, seen.n_classes, self.beta, self.lam, self.mu),
        )

        def solve(labels: Tensor | None) -> Tensor:
            assert labels is not None
            es, et = joint_indicators(ys, labels, seen.n_classes)
            return pencil.solve(torch.cat([bs.T @ es, -bt.T @ et]), self.dim)

        def project(w: Tensor) -> tuple[Tensor, Tensor]:
            half = len(w) // 2
            return product(bs, w[:half]), product(bt, w[half:])

        w = alternate(seen, ctx, self.rounds, solve, project, first=label_target(seen, ctx, xs, xt))
        a, b = (part if basis is None else basis @ part for part in w.chunk(2))
        return Aligned(xs @ a, (*before, Affine(b)), (*before, Affine(a)))


@dataclass(frozen=True)
class Coupled:
    """The fixed part of the pencil: numerator F F', F = diag(``of_source``, ``of_target``), denominator B_0.

    Attributes:
        lower: Cholesky factor L of S (d, d).
        of_source, of_target: the blocks of F (d, C) and (d, r).
        left: L^-1 [of_source, t of_target] (d, C + r).
        gram: F' B_0^-1 F (C + r, C + r).
        nu, t: lam + mu and lam / nu.
    """

    lower: Tensor
    of_source: Tensor
    of_target: Tensor
    left: Tensor
    gram: Tensor
    nu: float
    t: float

    @staticmethod
    def build(xs: Tensor, xt: Tensor, ys: Tensor, n_classes: int, beta: float, lam: float, mu: float) -> Coupled:
        """From coordinates (n, d) and the source's labels."""
        shares = one_hot(ys, n_classes).to(xs)
        counts = shares.sum(0)
        centres = product(shares.T, xs) / counts.clamp(min=1)[:, None]
        spread = xt - xt.mean(0)
        # any root of the scatter will do
        root = root_of(second_moment(spread)) if len(xt) > xt.shape[1] else spread.T
        of_source = beta**0.5 * ((centres - xs.mean(0)) * counts.sqrt()[:, None]).T
        of_target = mu**0.5 * root
        nu, t = lam + mu, lam / (lam + mu)
        schur = beta * second_moment(xs - centres[ys])
        schur.diagonal().add_(t * mu)
        lower = cholesky(schur)
        left = solve_lower(lower, torch.cat([of_source, t * of_target], dim=1))
        gram = second_moment(left)
        gram[n_classes:, n_classes:] += second_moment(of_target) / nu
        return Coupled(lower, of_source, of_target, left, gram, nu, t)

    def solve(self, e: Tensor, k: int) -> Tensor:
        """The k leading vectors W (2d, k) of F F' w = l (B_0 + e e') w, orthonormal in the right side."""
        u, v = e.chunk(2)
        half = solve_lower(self.lower, u + self.t * v)
        core = torch.eye(e.shape[1], dtype=e.dtype, device=e.device) + half.T @ half + v.T @ v / self.nu
        across = product(self.left.T, half)
        across[self.of_source.shape[1] :] += product(self.of_target.T, v) / self.nu
        shift = torch.linalg.solve(core, across.T)
        values, y = leading_eigenvectors(self.gram - product(across, shift), k)
        # B_0^-1 (F y - e core^-1 across' y)
        c = self.of_source.shape[1]
        rest = torch.cat([product(self.of_source, y[:c]), product(self.of_target, y[c:])]) - product(e, shift @ y)
        u, v = rest.chunk(2)
        x = solve_lower(self.lower, solve_lower(self.lower, u + self.t * v), transposed=True)
        w = torch.cat([x, v / self.nu + self.t * x])
        return w / values.clamp(min=1e-12 * float(values[0].clamp(min=1e-300))).sqrt()
