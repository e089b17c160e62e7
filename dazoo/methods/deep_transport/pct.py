"""PCT: transport between class prototypes and target features. Tanwisuth et al., NeurIPS 2021.

    min_{F,C}  CE(C(f_s), y_s) + trade_off * [ share * L_(t -> mu) + (1 - share) * L_(mu -> t) ]
    L_(t -> mu) = mean_j sum_c p(c | j) (1 - cos(mu_c, f_t,j)),   p(c | j) = softmax_c(mu_c'f_t,j + log pi_c)
    L_(mu -> t) = sum_c pi_c sum_j p(j | c) (1 - cos(mu_c, f_t,j)),   p(j | c) = softmax_j(mu_c'f_t,j)
    pi <- (1 - prior_rate) pi + prior_rate * mean_j p(. | j)

f = F(x) (b, width); the prototypes mu (C, width) are the rows of the linear classifier C and enter as constants. pi
(C,) are the target's class proportions, equal at first and, with the default prior_rate of 0, for good.

Evidence: tests/test_deep_prototypes.py (the terms equal a transcription in loops; limits; the proportions of a skewed
target are found).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.shares import Shares


@register
class PCT(GradientMethod):
    """Prototype-oriented conditional transport."""

    paper = Paper(
        title="A Prototype-Oriented Framework for Unsupervised Domain Adaptation",
        authors="Korawat Tanwisuth, Xinjie Fan, Huangjie Zheng, Shujian Zhang, Hao Zhang, Bo Chen, Mingyuan Zhou",
        year=2021, url="https://arxiv.org/abs/2110.12024",
        venue="NeurIPS",
        deviations="as many target as source samples per batch (the authors' program: 96 to 32); the rate of the "
        "proportions is constant; predictions are the classifier's with its bias, in the authors' program inner "
        "products with its rows plus the log proportions",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the transport")
    share: float = hp(0.5, 0.0, 1.0, help="share of the way from samples to prototypes")
    prior_rate: float = hp(0.0, 0.0, 0.1, help="how fast the target's class proportions are learned")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"shares": Shares(n_classes)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        mu = net.head.weight.detach()
        pi = net.shares(posterior_shares(mu @ ft.detach().T, net.shares.pi), self.prior_rate)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "transport": self.trade_off * prototype_transport(mu, ft, pi, self.share),
        }


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
