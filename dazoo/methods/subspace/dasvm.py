"""DASVM: a support vector machine that moves from source to target. Bruzzone and Marconcini, TPAMI 2010.

For each class against the rest, ``rounds`` times:

    1. fit  f(x) = w'x + b,  min ||w||^2 / 2 + C sum_i c_i max(0, 1 - y_i f(x_i))   on what is left of the source
       (c_i = 1) and the semi-labelled target samples (c_i growing linearly with the round);
    2. target labels that f contradicts are taken back;
    3. of the unlabelled target samples on each side, those with the largest |f| inside the margin |f| < 1 (outside it
       where none is inside) are semi-labelled sign f;
    4. the source samples of each class farthest from the boundary (largest y f) are removed,

in each case one out of the rounds that are left, so that the last fit rests on target samples alone. Scores are f per
class.

Evidence: tests/test_subspace_walks.py::test_dasvm_without_rounds_is_the_svm, test_dasvm_follows_a_turning_boundary.
"""

from __future__ import annotations

import numpy as np
import torch

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.shallow import labelled, pair
from dazoo.ops.linalg.blas import product
from dazoo.ops.linalg.linear import second_moment
from dazoo.shallow.classifiers import Warn, fit_svc
from dazoo.shallow.steps import LinearScores, Pipeline, run_steps

MOST_INNER = 5_000  # samples of whose inner products a matrix is kept


@register
class DASVM(ShallowMethod):
    """A support vector machine that moves from source to target."""

    paper = Paper(
        title="Domain Adaptation Problems: A DASVM Classification Technique and a Circular Validation Strategy",
        authors="Lorenzo Bruzzone, Mattia Marconcini", year=2010, url="https://doi.org/10.1109/TPAMI.2009.57",
        venue="IEEE Transactions on Pattern Analysis and Machine Intelligence (Journal)",
        deviations="linear kernel; a fixed number of rounds instead of the paper's stopping thresholds; a round that "
        "would leave one side empty ends the walk for that class; no gain at the defaults where the source's model is "
        "wrong about half of the target, whose labels it then learns",
    )  # fmt: skip
    growth = 1.5
    handles = Handles(marked={"none", "few"})

    C: float = hp(1.0, 1e-3, 1e2, log=True, help="cost of the source's errors", positive=True)
    C_target: float = hp(
        1.0, 1e-2, 10.0, log=True, help="cost of the target's errors in the last round, in units of C", positive=True
    )
    rounds: int = hp(10, 1, 30, help="rounds in which the source is exchanged for the target", least=0)

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """One walk per class."""
        xs, _ = pair(seen)
        z, y = labelled(seen, xs, lambda x: run_steps((), x))
        free = seen.target.x.flatten(1).to(z)
        both, labels = torch.cat([z, free]).cpu(), y.cpu().numpy()
        # all boundaries of all walks take their inner products from one matrix
        inner = len(both) <= MOST_INNER
        points = second_moment(both.T).numpy() if inner else both.numpy()
        present = np.unique(labels)
        if len(present) == 2:
            a, b = self.walk(points, inner, np.where(labels == present[1], 1.0, -1.0), ctx.warn)
            pairs = [(-a, -b), (a, b)]
        else:
            pairs = [self.walk(points, inner, np.where(labels == c, 1.0, -1.0), ctx.warn) for c in present]
        weight = torch.from_numpy(np.stack([a for a, _ in pairs], axis=1))
        weight = (product(both.T, weight) if inner else weight).to(z)
        bias = torch.tensor([b for _, b in pairs], dtype=z.dtype, device=z.device)
        classes = torch.from_numpy(present).to(y)
        return Pipeline((), None, LinearScores(weight, bias, classes, seen.n_classes, "decision"))

    def walk(self, points: np.ndarray, inner: bool, ys: np.ndarray, warn: Warn) -> tuple[np.ndarray, float]:
        """The last boundary (a, b) for labels +1/-1 of the first n_s of all samples: f = ``points`` a + b, where the
        rows of ``points`` are samples, or where ``inner``, their inner products with all samples."""
        n_s = len(ys)
        kept, yt = np.ones(n_s, dtype=bool), np.zeros(len(points) - n_s)
        a, b = self.boundary(points, inner, np.arange(n_s), ys, None, warn)
        for i in range(self.rounds):
            scores, left = points @ a + b, self.rounds - i
            fs, f = scores[:n_s], scores[n_s:]
            yt[np.sign(f) != yt] = 0.0
            for side in (1.0, -1.0):
                open_rows = np.flatnonzero((yt == 0) & (side * f > 0))
                inside = open_rows[side * f[open_rows] < 1]
                outside = open_rows[side * f[open_rows] >= 1]
                order = [inside[np.argsort(-side * f[inside], kind="stable")],
                         outside[np.argsort(side * f[outside], kind="stable")]]  # fmt: skip
                yt[np.concatenate(order)[: -(-len(open_rows) // left)]] = side
                rows = np.flatnonzero(kept & (ys == side))
                far = np.argsort(-side * fs[rows], kind="stable")
                kept[rows[far[: -(-len(rows) // left)]]] = False
            chosen = yt != 0
            labels = np.concatenate([ys[kept], yt[chosen]])
            if not ((labels > 0).any() and (labels < 0).any()):
                break
            cost = np.concatenate([np.ones(kept.sum()), np.full(chosen.sum(), self.C_target * (i + 1) / self.rounds)])
            rows = np.concatenate([np.flatnonzero(kept), n_s + np.flatnonzero(chosen)])
            a, b = self.boundary(points, inner, rows, labels, cost, warn)
        return a, b

    def boundary(
        self, points: np.ndarray, inner: bool, rows: np.ndarray, y: np.ndarray, cost: np.ndarray | None, warn: Warn
    ) -> tuple[np.ndarray, float]:
        """(a, b) of one fit on ``rows`` of all samples."""
        some = points[np.ix_(rows, rows)] if inner else points[rows]
        model = fit_svc(some, y, cost, warn, kernel="precomputed" if inner else "linear", C=self.C)
        if not inner:
            return model.coef_[0], float(model.intercept_[0])
        a = np.zeros(len(points))
        a[rows[model.support_]] = model.dual_coef_[0]
        return a, float(model.intercept_[0])
