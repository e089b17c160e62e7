"""LaplacianShot: nearest centre, but as one's neighbours. Ziko, Dolz, Granger, Ben Ayed, ICML 2020.

    min_Y  sum_ik Y_ik (|z_i - m_k|^2 + log Y_ik) - trade_off/2 sum_ij w_ij Y_i' Y_j       Y_i in the simplex
    Y_i <- softmax_k(-|z_i - m_k|^2 + trade_off sum_j w_ij Y_jk)     ``rounds`` times, from Y_i = softmax(-|z_i - m|^2)

z (n, d) are the target's samples, centred and of norm 1, m (C, d) the classes' centres, w_ij = 1 for the ``neighbours``
nearest j of i. ``centres`` are the ``clusters`` of the target that spherical k-means finds from the start that the
source's classifier gives (``spherical_kmeans``, whose page says what was seen of Office-Caltech10 when its start was
settled; nothing here was), or the ``means`` of the source's classes. New samples are answered as their nearest target
sample.

Evidence: tests/test_transductive.py (equals a transcription of the authors' update; without neighbours it is the
nearest centre).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.shallow import fit_classifier, source_of
from dazoo.methods.subspace._transductive import Near, answered, spheres
from dazoo.methods.subspace.spherical_kmeans import centres_of, cluster
from dazoo.ops.classwise import class_means, one_hot
from dazoo.ops.linalg.linear import distances_between

ROUNDS = 100  # of the clustering


@register
class LaplacianShot(ShallowMethod):
    """Centres and a graph of neighbours."""

    paper = Paper(
        title="Laplacian Regularized Few-Shot Learning",
        authors="Imtiaz Masud Ziko, Jose Dolz, Eric Granger, Ismail Ben Ayed", year=2020,
        url="https://arxiv.org/abs/2006.15486", venue="ICML",
        deviations="centres are clusters of the target, since the labelled samples are of another domain (the paper: "
        "their means, which centres='means' gives); weight and neighbours are the defaults of the authors' program, "
        "which tunes the weight on other classes",
    )  # fmt: skip
    growth = 2.0
    memory_growth = 1.5

    trade_off: float = hp(0.5, 0.1, 1.5, log=True, help="weight of the neighbours")
    neighbours: int = hp(2, 1, 10, log=True, help="neighbours in the graph")
    centres: str = hp("clusters", choices=("clusters", "means"), help="what the classes' centres are")
    rounds: int = hp(20, help="most updates")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Answer for the whole target."""
        to_source, to_target, zs, zt = spheres(seen, True)
        y = source_of(seen).y
        classes = torch.unique(y)
        m = class_means(zs, one_hot(y, seen.n_classes, torch.float64)[:, classes].to(zs))[0]
        if self.centres == "clusters":
            chances = fit_classifier(seen, ctx, zs, y)(zt)[:, classes].softmax(1)
            m, settled = cluster(zt, centres_of(zt, chances, m), zt.new_zeros(0, len(classes)), ROUNDS)
            if not settled:
                ctx.warn(f"laplacian_shot: clusters still change after {ROUNDS} rounds")
        full = zt.new_zeros(len(zt), seen.n_classes)
        full[:, classes] = self.assigned(zt, m)
        return answered((to_source, to_target), zt, full)

    def assigned(self, z: Tensor, m: Tensor) -> Tensor:
        """Y (n, C)."""
        near, graph = -distances_between(z, m), Near(z, self.neighbours, equal=True)
        p = near.softmax(1)
        for _ in range(self.rounds):
            p = (near + self.trade_off * graph.of(p)).softmax(1)
        return p
