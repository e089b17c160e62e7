"""SPL: selective pseudo-labelling with structured prediction. Wang and Breckon, AAAI 2020.

Samples x (n, d) of both domains, scaled to unit norm, are projected onto the leading principal directions and scaled to
unit norm again. Supervised locality preserving projections then find P (dim, components),

    max_P tr[(P' (X' L X + I) P)^-1 P' X' D X P],   X' D X = sum_c n_c sum_(i in c) x_i x_i',
    X' L X = sum_c n_c sum_(i in c) (x_i - m_c)(x_i - m_c)',

over the labelled samples: W_ij = 1 where y_i = y_j, so D_ii = n_(y_i), and m_c is the mean of class c. Projected
samples z = P'x are centred over both domains and scaled to unit norm. Two predictions are made for the target,

    p1(c | z) = softmax_c(-||z - s_c||),   s_c the unit-norm mean of source class c            (nearest class prototype)
    p2(c | z) = softmax_c(-||z - t_c||),   t_c the unit-norm centre of the cluster matched to c (structured prediction)

with k-means on the target samples, started at the s_c, and clusters matched to classes one to one at least total
distance. The label is that of largest p = max(p1, p2). After round k of T the share k / T of each predicted class with
the largest p joins the labelled samples; the model is the one learned after round T, from all pseudo-labels.

With fewer target samples than classes there are no clusters and p = p1. Few labelled target samples count as labelled
throughout: in P, in the s_c and among the clusters.

Evidence: tests/test_subspace_spl.py::test_the_projection_solves_the_pencil_of_the_graph (scipy.linalg.eigh on explicit
graph matrices), test_rounds_equal_a_transcription.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.shallow import pair, source_of
from dazoo.ops.classwise import one_hot
from dazoo.ops.linalg.linear import distances_between, unit_rows
from dazoo.ops.linalg.spectral import generalised_eigenvectors, principal_components
from dazoo.shallow.steps import Affine, Head, Pipeline, Step, UnitNorm, run_steps


@dataclass(frozen=True, eq=False)
class PrototypeScores(Head):
    """log max(p1, p2) of the module's docstring; ``source``, ``target`` (k, d) are the centres of ``classes`` (k,).

    Classes without a centre score 30 below the best of the others.
    """

    source: Tensor
    target: Tensor
    classes: Tensor
    n_classes: int

    def __call__(self, z: Tensor) -> Tensor:
        logs = [torch.log_softmax(-distances_between(z, c).sqrt(), dim=1) for c in (self.source, self.target)]
        best = torch.maximum(*logs)
        scores = (best.amax(1, keepdim=True) - 30).repeat(1, self.n_classes)
        scores[:, self.classes] = best
        return scores


@register
class SPL(ShallowMethod):
    """Selective pseudo-labelling with structured prediction."""

    paper = Paper(
        title="Unsupervised Domain Adaptation via Structured Prediction Based Selective Pseudo-Labeling",
        authors="Qian Wang, Toby P. Breckon", year=2020, url="https://arxiv.org/abs/1911.07982", venue="AAAI",
        deviations="none known; where the text is silent as the authors' code (principal directions are applied to "
        "samples that are not centred)",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})

    dim: int = hp(128, 4, 512, log=True, help="principal components of both domains")
    components: int = hp(128, 4, 512, log=True, help="dimensions of the projection, at most dim")
    rounds: int = hp(10, help="number of times pseudo-labels are selected")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Alternate between the projection and the selection of pseudo-labels."""
        xs, xt = pair(seen)
        n_s = len(xs)

        def reduced() -> tuple[Tensor, tuple[Step, ...]]:
            both = unit_rows(torch.cat([xs, xt]))
            steps = (UnitNorm(), Affine(principal_components(both, self.dim)[2]), UnitNorm())
            return run_steps(steps[1:], both), steps

        x, before = ctx.memo(("spl", self.dim), reduced)
        ys = source_of(seen).y
        few = ys.new_empty(0) if seen.few is None else seen.few.y.to(ys)
        classes = torch.unique(torch.cat([ys, few]))
        y = torch.cat([ys, ys.new_full((len(xt) - len(few),), -1), few])
        known = y >= 0
        rounds = max(self.rounds, 1)
        for k in range(1, rounds + 2):
            vectors = projection(x, y, classes, self.components)
            z = x @ vectors
            mean = z.mean(0)
            z = unit_rows(z - mean)
            head = prototypes(z[known], y[known], z[n_s:], classes, seen.n_classes)
            if k <= rounds:
                y[~known] = select(head(z[~known]), k / rounds)
        return Pipeline((*before, Affine(vectors, -mean), UnitNorm()), None, head)


def projection(x: Tensor, y: Tensor, classes: Tensor, k: int) -> Tensor:
    """P (d, k) for samples ``x`` (n, d) with labels ``y`` (n,), of which -1 is none."""
    d = x.shape[1]
    total, within = x.new_zeros(d, d), torch.eye(d, dtype=x.dtype, device=x.device)
    for c in classes:
        part = x[y == c]
        centred = part - part.mean(0)
        total += len(part) * part.T @ part
        within += len(part) * centred.T @ centred
    return generalised_eigenvectors(total, within, k)[1]


def prototypes(z: Tensor, y: Tensor, zt: Tensor, classes: Tensor, n_classes: int) -> PrototypeScores:
    """Centres of the labelled ``z`` and of the target's clusters, matched to the classes."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    shares = one_hot(y, n_classes)[:, classes].to(z)
    source = unit_rows((shares.T @ z) / shares.sum(0)[:, None])
    if len(zt) < len(classes):
        return PrototypeScores(source, source, classes, n_classes)  # too few samples for a cluster per class
    with warnings.catch_warnings():
        # duplicate samples make clusters coincide, which is an answer, not a failure
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(len(classes), init=source.cpu().numpy(), n_init=1).fit(zt.cpu().numpy())
    target = unit_rows(torch.from_numpy(found.cluster_centers_).to(z))
    _, match = linear_sum_assignment(distances_between(source, target).sqrt().cpu().numpy())
    return PrototypeScores(source, target[torch.from_numpy(match).to(classes)], classes, n_classes)


def select(scores: Tensor, share: float) -> Tensor:
    """Labels (n,): of each predicted class the ``share`` with the largest scores keep theirs, the others get -1."""
    best, label = scores.max(1)
    kept = label.new_full(label.shape, -1)
    for c in torch.unique(label):
        rows = torch.nonzero(label == c)[:, 0]
        take = rows[best[rows].argsort(descending=True, stable=True)][: int(share * len(rows) + 1e-9)]
        kept[take] = c
    return kept
