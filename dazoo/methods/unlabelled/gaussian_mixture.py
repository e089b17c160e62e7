"""A Gaussian mixture on both domains, standardised. Dempster, Laird, Rubin, JRSS B 1977.

    max  sum_i log sum_k w_k N(z_i; m_k, diag(s_k^2)),      z = principal components of (x - mean) / sd in each domain

by expectation maximisation from k-means. m_k, s_k (d,) and w_k are a centre, its spread and its share: unlike k-means,
clusters may be wide or narrow, frequent or rare. The components are the leading 20 of both domains together.

Evidence: tests/test_unlabelled.py::test_mixture_scores_are_log_densities, test_no_source_label_reaches_a_method,
test_clusters_of_moved_domains_are_found_again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, pair
from dazoo.methods.unlabelled._clusters import STARTS, Clusters, each_standardised, need, state
from dazoo.ops.linalg.spectral import principal_components
from dazoo.shallow.steps import Affine, Head, run_steps


@register
class GaussianMixtureClusters(Clusters):
    """A Gaussian mixture on both domains."""

    paper = Paper(
        title="Maximum Likelihood from Incomplete Data via the EM Algorithm",
        authors="Arthur P. Dempster, Nan M. Laird, Donald B. Rubin", year=1977,
        url="https://www.jstor.org/stable/2984875", venue="Journal of the Royal Statistical Society B",
        deviations="the paper is about likelihoods in general; covariances are diagonal in the leading components, so "
        "that few samples suffice; no gain at the defaults over k-means on digits and features of photographs, since "
        "clusters with a spread of their own let wide ones take the samples of narrow ones (results/unlabelled)",
    )  # fmt: skip

    dim: int = hp(20, 5, 100, log=True, help="principal components that the mixture is fitted in")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Standardised, then the leading components of both domains together."""
        first = each_standardised(seen)
        assert first.source_steps is not None
        z = torch.cat([first.zs, run_steps(first.target_steps, pair(seen)[1])])
        mean, _, directions = principal_components(z, self.dim)
        step = Affine(directions, -mean @ directions)
        return Aligned(step(first.zs), (*first.target_steps, step), (*first.source_steps, step))

    def clusters(self, z: Tensor, k: int, ctx: Context) -> Head:
        from sklearn.mixture import GaussianMixture

        need(z, k)
        made = GaussianMixture(k, covariance_type="diag", n_init=STARTS // 2, max_iter=500, random_state=state(ctx.gen))
        made.fit(z.cpu().numpy())
        if not made.converged_:
            ctx.warn("gaussian_mixture: the mixture still moved after 500 iterations")
        return DiagonalGaussians(*(torch.from_numpy(v).to(z) for v in (made.means_, made.covariances_, made.weights_)))


@dataclass(frozen=True, eq=False)
class DiagonalGaussians(Head):
    """``log w_k + log N(z; m_k, diag(s_k^2))``: means and variances (k, d), weights (k,)."""

    means: Tensor
    variances: Tensor
    weights: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        z = z.to(self.means)
        precision = 1 / self.variances
        far = z.square() @ precision.T - 2 * z @ (self.means * precision).T + (self.means.square() * precision).sum(1)
        size = (2 * math.pi * self.variances).log().sum(1)
        return self.weights.clamp_min(1e-300).log() - (far + size) / 2
