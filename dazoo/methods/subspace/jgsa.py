"""JGSA: joint geometrical and statistical alignment. Zhang, Li and Ogunbona, CVPR 2017.

Two coupled maps A (source) and B (target), both (d, k): far target samples and class centres, close classes, close
domain and class means, close subspaces.

    max_{A,B} tr( W' diag(beta S_b, mu S_t) W ) / tr( W' [ M_s + lam I + beta S_w    M_st - lam I       ] W )
                                                       [ M_ts - lam I               M_t + (lam + mu) I ]
    W = [A; B] (2d, k),   z_s = A' x_s,   z_t = B' x_t

S_w, S_b are the within and between class scatter of the source, S_t the scatter of the target, and the M blocks are
X M X' of JDA with the current target labels. W holds the leading generalised eigenvectors. As only the M blocks (rank
C + 1) change between rounds and the numerator has rank n_t + C at most, one factorisation serves all rounds (Woodbury).

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
from dazoo.ops.linalg.spectral import leading_eigenvectors, span
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
        basis = ctx.memo(("span", self.unit_norm), lambda: span(torch.cat([xs, xt])))
        bs, bt = (xs, xt) if basis is None else (xs @ basis, xt @ basis)
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
            return bs @ w[:half], bt @ w[half:]

        w = alternate(seen, ctx, self.rounds, solve, project, first=label_target(seen, ctx, xs, xt))
        a, b = (part if basis is None else basis @ part for part in w.chunk(2))
        return Aligned(xs @ a, (*before, Affine(b)), (*before, Affine(a)))


@dataclass(frozen=True)
class Coupled:
    """The fixed part of the pencil: numerator F F', denominator B_0 without the M blocks.

    Attributes:
        lower: Cholesky factor of B_0 (2d, 2d).
        factor: F (2d, r).
        solved: B_0^-1 F (2d, r).
        gram: F' B_0^-1 F (r, r).
    """

    lower: Tensor
    factor: Tensor
    solved: Tensor
    gram: Tensor

    @staticmethod
    def build(xs: Tensor, xt: Tensor, ys: Tensor, n_classes: int, beta: float, lam: float, mu: float) -> Coupled:
        """From coordinates (n, d) and the source's labels."""
        d = xs.shape[1]
        shares = one_hot(ys, n_classes).to(xs)
        counts = shares.sum(0)
        centres = (shares.T @ xs) / counts.clamp(min=1)[:, None]
        within = xs - centres[ys]
        between = (centres - xs.mean(0)) * counts.sqrt()[:, None]
        spread = xt - xt.mean(0)
        if len(xt) > d:  # any root of the scatter will do, and the Cholesky-like one is smaller
            values, vectors = torch.linalg.eigh(spread.T @ spread)
            spread = (vectors * values.clamp(min=0).sqrt()).T
        eye = torch.eye(d, dtype=xs.dtype, device=xs.device)
        top = torch.cat([lam * eye + beta * within.T @ within, -lam * eye], dim=1)
        bottom = torch.cat([-lam * eye, (lam + mu) * eye], dim=1)
        factor = torch.block_diag(beta**0.5 * between.T, mu**0.5 * spread.T)
        lower = torch.linalg.cholesky(torch.cat([top, bottom]))
        solved = torch.cholesky_solve(factor, lower)
        return Coupled(lower, factor, solved, factor.T @ solved)

    def solve(self, e: Tensor, k: int) -> Tensor:
        """The k leading vectors W (2d, k) of F F' w = l (B_0 + e e') w, orthonormal in the right side."""
        inner = torch.cholesky_solve(e, self.lower)
        core = torch.eye(e.shape[1], dtype=e.dtype, device=e.device) + e.T @ inner
        across = self.factor.T @ inner
        values, y = leading_eigenvectors(self.gram - across @ torch.linalg.solve(core, across.T), k)
        w = self.solved @ y - inner @ torch.linalg.solve(core, across.T @ y)
        return w / values.clamp(min=1e-12 * float(values[0].clamp(min=1e-300))).sqrt()
