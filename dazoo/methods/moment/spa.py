"""SPA: align the spectra of the domains' graphs, and let target neighbours vote. Xiao et al., NeurIPS 2023.

    min_{F,C} max_D  CE(C(f_s), y_s) - trade_off * r(t) * BCE(D) + graph_weight * |Lambda_s - Lambda_t|
                     + neighbour_weight * r(t) * mean_j v_j CE(C(f_t,j), yhat_j)

f = F(x) (b, width). BCE(D) is the domain loss of DANN, with its gradient to f reversed. Lambda (b,) are the sorted
eigenvalues of the normalised Laplacian I - D^(-1/2) A D^(-1/2) of a batch, A_ij = exp(-|f_i - f_j|^2 / (2 m)), m the
mean squared distance in both batches. yhat_j is the class that the k nearest of all target samples vote for, with their
sharpened predictions q proportional to p^(1/temperature), class-balanced, and v_j the share of that vote; the votes are
collected before every epoch. r is the recipe's ramp. With ``as_program`` Lambda are the singular values of D^-1 A for
A_ij = exp(-|f_i - f_j| / 4.5), A_ii = 0, and the last term is fraction * sum_j v_j CE_j / sum_j v_j.

Evidence: tests/test_moment_structure.py (test_spa_terms, test_spectra_ignore_the_order_of_rows, test_neighbours_vote).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.adversarial import domain_bce
from dazoo.ops.kernels import squared_distances
from dazoo.ops.moments import safe_norm
from dazoo.ops.precision import full_precision, widened
from dazoo.ops.reversal import reverse_gradient


@register
class SPA(GradientMethod):
    """Graph spectral alignment."""

    paper = Paper(
        title="SPA: A Graph Spectral Alignment Perspective for Domain Adaptation",
        authors="Zhiqing Xiao, Haobo Wang, Ying Jin, Lei Feng, Gang Chen, Fei Huang, Junbo Zhao", year=2023,
        url="https://arxiv.org/abs/2310.17594", venue="NeurIPS",
        deviations="votes are collected from evaluation passes before every epoch instead of a memory that each batch "
        "updates, and scaled to sum 1; the kernel's scale is that of the batches; the adversary is DANN without "
        "entropy weights; the authors' program has another graph (a random walk, distances not squared, of a fixed "
        "scale) and weights votes by their share of the batch and the fraction of training (as_program); it also "
        "smooths the source's labels by 0.1",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    graph_weight: float = hp(0.3, 0.03, 3.0, log=True, help="weight of the gap of the spectra")
    neighbour_weight: float = hp(0.2, 0.02, 2.0, log=True, help="weight of the neighbours' votes")
    neighbours: int = hp(5, 1, 20, help="how many target neighbours vote")
    temperature: float = hp(0.5, 0.2, 1.0, help="sharpens votes", positive=True, most=float("inf"))
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")
    as_program: bool = hp(False, help="graph and weights of votes as in the authors' program")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"disc": mlp(width, self.disc_width, self.disc_width, 1)}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        ft, scores = look.target
        return {"votes": neighbour_vote(ft, scores, self.neighbours, self.temperature)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        d = net.disc(reverse_gradient(torch.cat([fs, ft]), self.trade_off * t.ramp)).squeeze(-1)
        share, label = b.memory["votes"][b.t_rows].max(1)
        votes = functional.cross_entropy(net.head(ft), label, reduction="none")
        with full_precision(fs):
            gap = spectral_gap(widened(fs), widened(ft), walk=self.as_program)
        voted, ramp = (share * votes).mean(), t.ramp
        if self.as_program:
            voted, ramp = voted / share.mean().clamp_min(1e-12), t.fraction
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "dom": domain_bce(d, len(fs)),
            "graph": self.graph_weight * gap,
            "neighbours": self.neighbour_weight * ramp * voted,
        }


def laplacian_spectrum(sq: Tensor, scale: Tensor) -> Tensor:
    """Ascending eigenvalues (n,) of ``I - D^-1/2 A D^-1/2``, ``A = exp(-sq / (2 scale))``, D its row sums: sq (n, n).

    In [0, 2]; the smallest is 0. Chung, Spectral Graph Theory, 1997.
    """
    a = torch.exp(-sq / (2.0 * scale))
    root = a.sum(1).rsqrt()
    eye = torch.eye(a.shape[0], dtype=a.dtype, device=a.device)
    return torch.linalg.eigvalsh(eye - root[:, None] * a * root[None, :])


def spectral_gap(fs: Tensor, ft: Tensor, walk: bool = False) -> Tensor:
    """Distance of the spectra of both batches' graphs, ``|Lambda_s - Lambda_t|``: fs (n, d), ft (n, d).

    The kernel's scale is the mean squared distance within the batches, without gradient. ``walk`` compares
    ``walk_singular_values`` instead. Xiao et al., NeurIPS 2023
    (SPA), https://arxiv.org/abs/2310.17594
    """
    if fs.shape[0] != ft.shape[0]:
        raise DazooError(
            f"spectra of graphs are compared at equal size, not {fs.shape[0]} and {ft.shape[0]} rows; use equal batches"
        )
    ds, dt = squared_distances(fs), squared_distances(ft)
    if walk:
        return safe_norm(walk_singular_values(ds) - walk_singular_values(dt))
    scale = ((ds.mean() + dt.mean()) / 2.0).detach().clamp_min(1e-30)
    return safe_norm(laplacian_spectrum(ds, scale) - laplacian_spectrum(dt, scale))


def walk_singular_values(sq: Tensor, sigma: float = 1.5) -> Tensor:
    """Descending singular values (n,) of ``D^-1 A``, ``A_ij = exp(-|f_i - f_j| / (2 sigma^2))``, A_ii = 0: sq (n, n).

    The graph of the program of SPA: distances are not squared, sigma is fixed, and the random walk's matrix, which is
    not symmetric, enters by its singular values.
    """
    zero = sq == 0
    distance = torch.where(zero, torch.zeros_like(sq), torch.where(zero, torch.ones_like(sq), sq).sqrt())
    a = torch.exp(-distance / (2.0 * sigma**2))
    a = a * (1.0 - torch.eye(a.shape[0], dtype=a.dtype, device=a.device))
    return torch.linalg.svdvals(a / a.sum(1, keepdim=True).clamp_min(1e-30))


def neighbour_vote(f: Tensor, scores: Tensor, k: int, temperature: float | Tensor = 1.0) -> Tensor:
    """Mean sharpened prediction of every row's k nearest other rows: f (n, d), scores (n, C) -> (n, C), rows sum to 1.

    Predictions are ``softmax(scores / temperature)``, divided by their class means and scaled to sum to 1 again, so
    that classes which are predicted often do not win for that alone. Neighbours by cosine.
    """
    z = functional.normalize(f, dim=1)
    q = functional.softmax(scores / temperature, dim=1)
    q = q / q.mean(0).clamp_min(1e-12)
    q = q / q.sum(1, keepdim=True)
    k = min(k, len(f) - 1)
    cosine = z @ z.T - 4.0 * torch.eye(len(z), dtype=z.dtype, device=z.device)
    return q[cosine.topk(k, dim=1).indices].mean(1)
