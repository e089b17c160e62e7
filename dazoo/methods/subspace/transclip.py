"""TransCLIP: clusters of the target, its nearest neighbours and a classifier agree. Zanella, Gérin, Ben Ayed, NeurIPS
2024.

    max over z, mu, sigma of   sum_i z_i' (g_i / temperature + prior_weight log q_i) + H(z_i)
                               + 1/(2 neighbours) sum_ij w_ij z_i' z_j
    g_ik = -1/2 sum_d (f_id - mu_kd)^2 / sigma_d,     H(z) = -sum_k z_k log z_k

f (n, d) are target samples on the unit sphere, z_i (C,) their class probabilities, q_i (C,) those of a classifier, mu_k
(d,) unit centres, sigma (d,) variances that all classes share, w_ij = f_i'f_j for the ``neighbours`` nearest j of i. In
turns, ``rounds`` times, from z = q, sigma = 1/d and mu_k the mean of the eight f_i of largest q_ik, weighted by it:

    z_i <- softmax(prior_weight log q_i + g_i / temperature + sum_j (w_ij + w_ji) z_j / (2 neighbours))   five times
    mu_k <- sum_i z_ik f_i / ||.||,     sigma <- 1/n sum_ik z_ik (f_i - mu_k)^2

and z once more at the end. New samples are answered as their nearest target sample.

Evidence: tests/test_transductive.py (equals a transcription in loops; no round of z lowers the objective; with a large
prior_weight the classifier has the last word).
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
from dazoo.methods.subspace.spherical_kmeans import centres_of

SUREST = 8
INNER = 5


@register
class TransCLIP(ShallowMethod):
    """Transduction with a mixture of Gaussians, a graph and the classifier's word."""

    paper = Paper(
        title="Boosting Vision-Language Models with Transduction",
        authors="Maxime Zanella, Benoît Gérin, Ismail Ben Ayed", year=2024, url="https://arxiv.org/abs/2406.01837",
        venue="NeurIPS",
        deviations="the classifier is the one the suite's methods end with, trained on the source, in the place of "
        "CLIP's names; each domain is centred first; the zero-shot form, since the labelled samples are of another "
        "domain, which speaks through the classifier alone; all values, the temperature among them, are the authors' "
        "program's",
    )  # fmt: skip
    growth = 2.0
    memory_growth = 1.5

    neighbours: int = hp(3, 1, 10, log=True, help="neighbours in the graph")
    prior_weight: float = hp(1.0, 0.1, 3.0, log=True, help="weight of the classifier's log probabilities")
    temperature: float = hp(50.0, 5.0, 500.0, log=True, help="what the log likelihood is divided by", positive=True)
    centre: bool = hp(True, choices=(True, False), help="take each domain's mean away first")
    rounds: int = hp(10, help="rounds of the alternation")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Answer for the whole target."""
        *steps, zs, zt = spheres(seen, self.centre)
        y = source_of(seen).y
        classes = torch.unique(y)
        log_q = fit_classifier(seen, ctx, zs, y)(zt)[:, classes].log_softmax(1)
        graph = Near(zt, self.neighbours)
        z, mu = log_q.exp(), first_centres(zt, log_q.exp())
        sigma = torch.full_like(zt[0], 1.0 / zt.shape[1])
        z = self.assigned(zt, z, mu, sigma, log_q, graph)
        for _ in range(self.rounds):
            mu = centres_of(zt, z, mu)
            sigma = shared_variance(zt, z, mu)
            z = self.assigned(zt, z, mu, sigma, log_q, graph)
        p = z.new_zeros(len(z), seen.n_classes)
        p[:, classes] = z
        return answered((steps[0], steps[1]), zt, p)

    def assigned(self, f: Tensor, z: Tensor, mu: Tensor, sigma: Tensor, log_q: Tensor, graph: Near) -> Tensor:
        """z (n, C) after its updates."""
        fixed = self.prior_weight * log_q + log_likelihood(f, mu, sigma) / self.temperature
        for _ in range(INNER):
            z = (fixed + (graph.of(z) + graph.back(z)) / (2 * self.neighbours)).softmax(1)
        return z


def first_centres(f: Tensor, q: Tensor) -> Tensor:
    """Unit means (C, d) of the samples f (n, d) that are surest of each class by q (n, C)."""
    top = q.topk(min(SUREST, len(q)), dim=0)
    sums = torch.einsum("kc,kcd->cd", top.values, f[top.indices])
    return sums / sums.norm(dim=1, keepdim=True).clamp_min(1e-12)


def log_likelihood(f: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    """-1/2 sum_d (f_id - mu_kd)^2 / sigma_d (n, C)."""
    scale = sigma.clamp_min(1e-12).rsqrt()
    return -0.5 * torch.cdist(f * scale, mu * scale).square()


def shared_variance(f: Tensor, z: Tensor, mu: Tensor) -> Tensor:
    """1/n sum_ik z_ik (f_i - mu_k)^2 (d,)."""
    share = z.sum(0)
    second = (z.sum(1) @ f.square() - 2.0 * (mu * (z.T @ f)).sum(0) + share @ mu.square()) / len(f)
    return second.clamp_min(0.0)
