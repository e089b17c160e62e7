"""What methods for unlabelled domains share: maps of both sides into one space, and one set of clusters there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.types import Prediction, Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, create_method
from dazoo.methods.shallow import Aligned, FeatureMap, pair
from dazoo.shallow.steps import CentreScores, Head, Pipeline, Standardise, run_steps

STARTS = 10


class Clusters(ShallowMethod):
    """A method that maps both domains into one space and looks for clusters of all their samples there."""

    handles = Handles(labels="unlabelled")

    aligner: ClassVar[str] = ""  # a method whose maps, at its defaults, make the space; it must look at no label

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """The maps. Default: those of ``aligner``, or none."""
        if not self.aligner:
            return Aligned(pair(seen)[0], ())
        made = create_method(self.aligner)
        assert isinstance(made, FeatureMap)
        return made.align(seen, ctx)

    def clusters(self, z: Tensor, k: int, ctx: Context) -> Head:
        """``k`` clusters of the samples ``z`` (n, d) of both domains, as scores (n, k). Default: k-means."""
        return centre_scores(cluster_centres(z, k, ctx.gen, ctx.warn))

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Map, then cluster."""
        aligned = self.align(seen, ctx)
        z = torch.cat([aligned.zs, run_steps(aligned.target_steps, pair(seen)[1])])
        return Clustered(aligned.target_steps, aligned.source_steps, self.clusters(z, seen.n_classes, ctx))


@dataclass(frozen=True, eq=False)
class Clustered(Pipeline):
    """A pipeline whose scores are those of clusters; ``source_head`` where the source has clusters of its own."""

    source_head: Head | None = None

    def predict(self, x: Tensor) -> Prediction:
        return named(super().predict(x))

    def predict_source(self, x: Tensor) -> Prediction:
        own = self if self.source_head is None else replace(self, head=self.source_head)
        return named(super(Clustered, own).predict_source(x))


def named(out: Prediction) -> Prediction:
    """``out`` with the best of its scores as the cluster."""
    return replace(out, cluster=out.scores.argmax(1))


def cluster_centres(z: Tensor, k: int, gen: torch.Generator, warn: Callable[[str], None]) -> Tensor:
    """Centres (k, d) of k-means on ``z`` (n, d), the best of ten starts; ``warn`` is told where samples are too alike.

    Raises:
        DazooError: fewer samples than clusters.
    """
    from sklearn.cluster import KMeans

    need(z, k)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = KMeans(k, n_init=STARTS, random_state=state(gen)).fit(z.cpu().numpy())
    if said:
        warn(f"k-means: samples are so alike that they make fewer than {k} clusters")
    return torch.from_numpy(made.cluster_centers_).to(z)


def need(z: Tensor, k: int) -> None:
    """An error where there are not ``k`` different samples."""
    if len(torch.unique(z, dim=0)) < k:
        raise DazooError(f"{k} clusters are asked for, but there are not so many different samples; add samples")


def state(gen: torch.Generator) -> int:
    """A seed for scikit-learn, drawn from ``gen``."""
    return int(torch.randint(2**31 - 1, (1,), generator=gen))


def centre_scores(centres: Tensor) -> CentreScores:
    """Scores that are greatest for the nearest of ``centres`` (k, d)."""
    k = len(centres)
    return CentreScores(centres, centres.new_zeros(k), torch.arange(k, device=centres.device), k)


def each_standardised(seen: Seen) -> Aligned:
    """Both domains at mean 0 and variance 1, feature by feature."""
    xs, xt = pair(seen)
    steps = [Standardise(x.mean(0), x.std(0, unbiased=False)) for x in (xs, xt)]
    return Aligned(steps[0](xs), (steps[1],), (steps[0],))
