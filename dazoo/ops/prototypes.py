"""Transport between class prototypes and samples, with plans in closed form."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def posterior_shares(similarity: Tensor, prior: Tensor) -> Tensor:
    """Mean posterior of every class, ``mean_j softmax_c(s_cj + log prior_c)``: similarity (C, n), prior (C,) -> (C,).

    A step of expectation maximisation for the class proportions of the samples.
    """
    return (similarity + prior.clamp_min(1e-6).log()[:, None]).softmax(0).mean(1)


def prototype_transport(prototypes: Tensor, f: Tensor, prior: Tensor, share: float | Tensor = 0.5) -> Tensor:
    """Both ways of the conditional transport: prototypes (C, d), samples f (n, d), prior (C,) -> 0-d, at least 0.

        share * mean_j sum_c c_cj p(c | j)  +  (1 - share) * sum_c prior_c sum_j c_cj p(j | c)
        p(c | j) = softmax_c(mu_c'f_j + log prior_c),   p(j | c) = softmax_j(mu_c'f_j),   c_cj = 1 - cos(mu_c, f_j)

    Tanwisuth et al., NeurIPS 2021, https://arxiv.org/abs/2110.12024
    """
    similarity = prototypes @ f.T
    cost = 1.0 - functional.normalize(prototypes, dim=1) @ functional.normalize(f, dim=1).T
    to_class = (similarity + prior.clamp_min(1e-6).log()[:, None]).softmax(0)
    to_sample = similarity.softmax(1)
    return share * (cost * to_class).sum(0).mean() + (1.0 - share) * (prior * (cost * to_sample).sum(1)).sum()
