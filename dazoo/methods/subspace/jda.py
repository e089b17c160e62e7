"""JDA: joint distribution adaptation. Long, Wang, Ding, Sun and Yu, ICCV 2013.

As TCA, but the means of every class are brought together too, with the current labels y^_t of the target:

    X H X' a = l (X M X' + mu I) a,      M = sum_{c=0}^C M_c / ||sum_c M_c||_F,      z = A' x / ||A' x||
    M_c = e_c e_c',   e_c = 1/n_s^c on source samples of class c, -1/n_t^c on target samples labelled c, 0 elsewhere

(c = 0 stands for all samples). Each of the ``rounds`` labels the target anew with the classifier on z; the first one
uses M_0 alone. A class that the target labels do not contain is left out of that round. Of samples that stay on
disk, a sample goes through the rounds before the last one, which has the class means of all.

Evidence: tests/test_subspace.py::test_jda_solves_its_pencil (scipy.linalg.eigh on the dense pencil),
test_surf_averages.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.blocks import Blocks
from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, source_of
from dazoo.methods.subspace._classes_on_disk import joint_factor_of, labelled_sums, predicted_sums
from dazoo.methods.subspace._pencil import Problem, joint_factor, labelled_part, mean_gap, pencil_of
from dazoo.methods.subspace._rounds import alternate, target_head
from dazoo.ops.linalg.blas import product
from dazoo.ops.linalg.linear import unit_rows
from dazoo.ops.linalg.spectral import low_rank_pencil, unit_columns


@register
class JDA(FeatureMap):
    """Joint distribution adaptation."""

    paper = Paper(
        title="Transfer Feature Learning with Joint Distribution Adaptation",
        authors="Mingsheng Long, Jianmin Wang, Guiguang Ding, Jiaguang Sun, Philip S. Yu", year=2013,
        url="https://doi.org/10.1109/ICCV.2013.274", venue="ICCV",
        deviations="unit-norm samples, eigenvectors and projected samples, and M scaled to Frobenius norm 1, as in "
        "the authors' code; the means of the domains (M_0) weigh as much as those of a class, as in the paper, in the "
        "authors' program as much as all classes",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    on_disk = "both"

    dim: int = hp(20, 5, 100, log=True, help="dimensions of the common space")
    mu: float = hp(1.0, 1e-2, 1e2, log=True, help="weight of ||A||^2")
    rounds: int = hp(10, help="number of times the target is labelled")
    kernel: str = hp("linear", choices=("linear", "rbf"), help="primal in the features, or an RBF kernel")
    unit_norm: bool = hp(True, help="scale samples to norm 1 first")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Alternate between the pencil and the labels."""
        p = pencil_of(seen, ctx, self.kernel, self.unit_norm)
        if isinstance(p.xs, Blocks) and isinstance(p.xt, Blocks):
            return p.aligned(self.on_blocks(p, p.xs, p.xt, seen, ctx))
        ys = source_of(seen).y

        def solve(labels: Tensor | None) -> Tensor:
            return self.solve(p, ys, labels, seen.n_classes)

        return p.aligned(alternate(seen, ctx, self.rounds, solve, p.project))

    def on_blocks(self, p: Problem, xs: Blocks, xt: Blocks, seen: Seen, ctx: Context) -> Tensor:
        """The vectors of samples on disk: rounds on a sample, the last one with the class means of all samples."""
        c, of_t = seen.n_classes, None
        of_s = labelled_sums(xs, source_of(seen).y, c)
        if self.rounds > 1:
            some, part = labelled_part(p, seen, ctx, self.unit_norm)
            ys = source_of(some).y
            v = alternate(some, ctx, self.rounds - 1, lambda labels: self.solve(part, ys, labels, c), part.project)
            head = target_head(some, ctx, *part.project(v))
            known = ys[:0] if seen.few is None else seen.few.y.to(ys)
            of_t = predicted_sums(xt, lambda x: head(unit_rows(product(x, v))).argmax(1), known, c)
        factor = joint_factor_of(of_s, of_t, mean_gap(p.xs, p.xt), len(xt))
        return unit_columns(low_rank_pencil(p.scatter, factor, self.mu, self.dim)[1])

    def solve(self, p: Problem, ys: Tensor, labels: Tensor | None, n_classes: int) -> Tensor:
        """Unit-norm eigenvectors (r, k) for the current labels of the target."""
        conditional = 1.0
        if labels is None:
            labels, conditional = torch.zeros(len(p.xt), dtype=torch.int64, device=ys.device), 0.0
        factor = joint_factor(p.xs, p.xt, ys, labels, n_classes, 1.0, conditional)
        return unit_columns(low_rank_pencil(p.scatter, factor, self.mu / p.times, self.dim)[1])
