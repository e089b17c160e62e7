"""Label propagation on the graph of both domains. Zhou, Bousquet, Lal, Weston and Schölkopf, NIPS 2003.

    F = (1 - alpha) (I - alpha S)^-1 Y      (n, C),      S = D^(-1/2) W D^(-1/2)

W is the symmetric k-nearest-neighbour graph of all samples with cosine weights, Y holds the one-hot labels of the
labelled samples and zero rows elsewhere. Scores are log F over its row sum. Target samples that no path joins to a
label are scored by their nearest labelled sample, new samples by their nearest target sample.

Evidence: tests/test_subspace_more.py::test_label_propagation_is_the_fixed_point_of_its_iteration,
test_label_propagation_follows_the_moons; tests/test_bounded.py::test_sparse_label_propagation_is_the_dense_one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.shallow import labelled, pair, target_x
from dazoo.methods.subspace._graph import cosine_graph, fits_dense, scaled_by_degree, sparse_spread, spread_by
from dazoo.ops.classwise import one_hot
from dazoo.shallow.classifiers import classifier
from dazoo.shallow.steps import NearestScores, Pipeline, run_steps


@register
class LabelPropagation(ShallowMethod):
    """Label propagation on the graph of both domains."""

    paper = Paper(
        title="Learning with Local and Global Consistency",
        authors="Dengyong Zhou, Olivier Bousquet, Thomas Lal, Jason Weston, Bernhard Schölkopf", year=2003,
        url="https://papers.nips.cc/paper/2506-learning-with-local-and-global-consistency", venue="NIPS",
        deviations="a nearest-neighbour graph with cosine weights instead of the full Gaussian one; beyond 10,000 "
        "samples of both domains the graph is sparse, its neighbours ranked in single precision, and the system is "
        "solved by conjugate gradients to 1e-10",
    )  # fmt: skip
    growth = 2.5
    memory_growth = 1.5
    handles = Handles(marked={"none", "few"})

    neighbours: int = hp(10, 3, 30, log=True, help="neighbours in the graph")
    alpha: float = hp(0.99, 0.5, 0.999, help="share of its label a sample takes from its neighbours")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Spread the labels."""
        xs, _ = pair(seen)
        z, y = labelled(seen, xs, lambda x: run_steps((), x))
        free = seen.target.x.flatten(1).to(z)
        n, both = len(z), torch.cat([z, free])
        start = torch.cat([one_hot(y, seen.n_classes).to(z), z.new_zeros(len(free), seen.n_classes)])
        mass = ((1 - self.alpha) * self._solved(both, start, ctx))[n:].clamp(min=0)
        total = mass.sum(1, keepdim=True)
        lonely = total[:, 0] < 1e-12
        scores = torch.log(mass / total.clamp(min=1e-300) + 1e-12)
        if bool(lonely.any()):
            ctx.warn(f"label_propagation: {int(lonely.sum())} target samples are joined to no labelled one")
            scores[lonely] = classifier("1nn").fit(z, y, seen.n_classes)(free[lonely])
        if seen.few is not None:
            known = torch.log(one_hot(seen.few.y, seen.n_classes, torch.float64) + 1e-12).to(scores)
            scores = torch.cat([scores, known])
        return Pipeline((), None, NearestScores(target_x(seen), scores))

    def _solved(self, both: Tensor, start: Tensor, ctx: Context) -> Tensor:
        """(I - alpha S)^-1 ``start`` (n, C) for the graph of ``both`` (n, d)."""
        if not fits_dense(len(both)):
            ctx.warn(f"label_propagation: the graph of {len(both)} samples is sparse and solved by conjugate gradients")
            spread = ctx.memo(("sparse graph", self.neighbours), lambda: sparse_spread(both, self.neighbours))
            return spread_by(spread, self.alpha, start)
        dense = ctx.memo(("graph", self.neighbours), lambda: scaled_by_degree(cosine_graph(both, self.neighbours)))
        system = -self.alpha * dense
        system.diagonal().add_(1.0)
        return torch.linalg.solve(system, start)
