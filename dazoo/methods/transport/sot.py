"""SOT: substructural optimal transport. Lu, Chen, Wang and Qin, Neurocomputing 2021.

Clusters are transported, not samples. Every source class is a Gaussian mixture with diagonal covariances, its number of
components grown until the BIC no longer falls; the target is one mixture of ``clusters`` components. With component
means S (n, d), T (m, d) and C_ij = ||S_i - T_j||^2 / median:

    Q = argmin_Q <Q, C> + weight_reg sum_ij Q_ij log Q_ij   over Q' 1 = b,  b_j = 1/m
      = b_j softmax_i(-C_ij / weight_reg)
    P = the plan of ot_class_reg for C between a = Q 1 and b, with the classes of S
    z_i = sum_j P_ij T_j / sum_j P_ij

so source clusters far from the target weigh little. The classifier learns from z; a target sample gets the scores of
the mean of its most likely component.

Evidence: tests/test_transport_clusters.py::test_sot_weights_solve_their_problem,
test_sot_with_a_cluster_per_class_pairs_the_clusters, test_sot_components_equal_scikit_learns_prediction.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dazoo.core.errors import DazooError, NonFiniteError
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.shallow import fit_classifier, pair, source_of
from dazoo.methods.transport._classes import class_plan
from dazoo.methods.transport._plan import barycentric
from dazoo.ops.classwise import one_hot
from dazoo.ops.linalg.linear import distances_between
from dazoo.shallow.steps import Head, Pipeline

MOST_SAMPLES = 5_000


@dataclass(frozen=True, eq=False)
class ComponentScores(Head):
    """The scores (m, C) of a sample's most likely component of a mixture.

    ``means`` (m, d), ``precisions`` (m, d), ``log_weights`` (m,) with the normaliser of the Gaussian in them.
    """

    means: Tensor
    precisions: Tensor
    log_weights: Tensor
    scores: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        if z.ndim != 2 or z.shape[1] != self.means.shape[1]:
            raise DazooError(f"the model takes samples of {self.means.shape[1]} features, but got {tuple(z.shape)}")
        if not bool(torch.isfinite(z).all()):
            raise NonFiniteError("the samples hold NaN or infinite values; clean them before predicting")
        return self.scores[self.component(z.to(self.means))]

    def component(self, z: Tensor) -> Tensor:
        """Index (n,) of the most likely component."""
        scaled = self.means * self.precisions
        log = z @ scaled.T - z.square() @ self.precisions.T / 2 - (self.means * scaled).sum(1) / 2
        return (log + self.log_weights).argmax(dim=1)


@register
class SOT(ShallowMethod):
    """Substructural optimal transport."""

    paper = Paper(
        title="Cross-domain Activity Recognition via Substructural Optimal Transport",
        authors="Wang Lu, Yiqiang Chen, Jindong Wang, Xin Qin", year=2021, url="https://arxiv.org/abs/2102.03353",
        venue="Neurocomputing (Journal)",
        deviations="the class regulariser's masses are relative, as in ot_class_reg; a source cluster keeps at least "
        "a millionth of an even share of the mass; the target has at most n_t / 2 components; a mixture of more than "
        "5,000 samples is that of 5,000 of them, drawn at random",
    )  # fmt: skip

    clusters: int = hp(200, 5, 400, log=True, help="components of the target's mixture")
    most: int = hp(10, help="largest number of components of a source class")
    weight_reg: float = hp(
        0.1, 1e-2, 10.0, log=True, help="entropic regularisation of the clusters' weights", positive=True
    )
    reg: float = hp(
        0.1, 0.01, 1.0, log=True, help="entropic regularisation of the plan, relative to the median cost", positive=True
    )
    class_weight: float = hp(0.1, 1e-3, 1.0, log=True, help="weight of the class regulariser")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Cluster, weigh, transport, then train ``ctx.classifier`` on the moved clusters."""
        xs, xt = pair(seen)
        y = source_of(seen).y
        seed = int(torch.randint(2**31 - 1, (1,), generator=ctx.gen))
        means, labels = self.substructures(xs, y, seed)
        if max(len(xt), int(torch.bincount(y).max())) > MOST_SAMPLES:
            ctx.warn(f"sot: mixtures of more than {MOST_SAMPLES} samples are those of so many of them, drawn at random")
        target = mixture(xt, min(self.clusters, max(len(xt) // 2, 1)), seed)
        anchors = torch.from_numpy(target.means_).to(xs)
        cost = distances_between(means, anchors)
        middle = cost.median()
        cost = cost / torch.where(middle > 0, middle, torch.ones_like(middle))
        plan, settled = class_plan(
            cost, one_hot(labels, seen.n_classes).to(xs), self.reg, self.class_weight, 1e-3, 10, 1000,
            self.weights(cost),
        )  # fmt: skip
        if not settled:
            ctx.warn("sot: Sinkhorn stopped before it converged; raise reg")
        head = fit_classifier(seen, ctx, barycentric(plan, anchors), labels)
        precisions = torch.from_numpy(target.precisions_).to(xs)
        log_weights = torch.from_numpy(target.weights_).to(xs).clamp(min=1e-300).log() + precisions.log().sum(1) / 2
        return Pipeline((), None, ComponentScores(anchors, precisions, log_weights, head(anchors)))

    def weights(self, cost: Tensor) -> Tensor:
        """Weights (n,) of the source clusters."""
        share = torch.softmax(-cost / self.weight_reg, dim=0).mean(dim=1).clamp(min=1e-6 / len(cost))
        return share / share.sum()

    def substructures(self, xs: Tensor, y: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Means (n, d) of the source's clusters and their classes (n,)."""
        means, labels = [], []
        for c in torch.unique(y):
            x = xs[y == c]
            best = mixture(x, 1, seed)
            for k in range(2, min(self.most, len(x) // 2) + 1):
                other = mixture(x, k, seed)
                if not other.bic(x.cpu().numpy()) < best.bic(x.cpu().numpy()):
                    break
                best = other
            means.append(torch.from_numpy(best.means_).to(xs))
            labels.append(c.expand(len(best.means_)))
        return torch.cat(means), torch.cat(labels)


def mixture(x: Tensor, k: int, seed: int) -> Any:
    """scikit-learn's Gaussian mixture of ``k`` diagonal components on ``x`` (n, d); one sample counts as two.

    Of more than ``MOST_SAMPLES`` samples, so many that are drawn at random by ``seed``.
    """
    from sklearn.mixture import GaussianMixture

    # copies of one sample vary by rounding errors of their size only
    floor = 1e-6 * max(float(x.var(dim=0, correction=0).mean()), 1e-6 * float(x.square().mean()), 1e-12)
    if not math.isfinite(floor):
        raise NonFiniteError("sot: the variances of the source overflow; standardise the features")
    if len(x) > MOST_SAMPLES:
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        x = x[order[:MOST_SAMPLES].to(x.device)]
    model = GaussianMixture(k, covariance_type="diag", random_state=seed, reg_covar=floor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit((x if len(x) > 1 else x.repeat(2, 1)).cpu().numpy())
