"""AdvSKM: an MMD whose kernel is a network that looks for what differs. Liu, Xue, IJCAI 2021.

    max_phi    MMD^2_k(phi(f_s), phi(f_t))
    min_{F,C}  CE(C(f_s), y_s) + trade_off * MMD^2_k(phi(f_s), phi(f_t))
    phi(f) = [cos(W_2 cos(W_1 f + a_1) + a_2), relu(V_2 relu(V_1 f + b_1))]

f = F(x) (b, width). The first half of phi (b, 2 * spectral_width) is a deep spectral kernel: inner products of cosines
with learned frequencies are Fourier sums of a non-stationary kernel. k is a sum of five Gaussians around the mean
squared distance. The kernel network ascends and the rest descends in turn.

Evidence: tests/test_moment_classes.py (test_adv_skm_phases_play_against_each_other,
test_adv_skm_is_the_mmd_of_its_map).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Phase, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.mmd import mk_mmd


class SpectralMap(nn.Module):
    """phi: (b, width) -> (b, 2 * out), half cosines, half rectifiers."""

    def __init__(self, width: int, out: int):
        super().__init__()
        self.first = nn.Linear(width, out)
        self.second = nn.Linear(out, out)
        # no last bias: to rows on which a unit is always on it is a shift, which no kernel of distances sees
        self.plain = nn.Sequential(mlp(width, out, final=True), nn.Linear(out, out, bias=False), nn.ReLU())

    def forward(self, f: Tensor) -> Tensor:
        spectral = self.second(self.first(f).cos()).cos()
        return torch.cat([spectral, self.plain(f)], 1)


@register
class AdvSKM(GradientMethod):
    """Adversarial spectral kernel matching."""

    paper = Paper(
        title="Adversarial Spectral Kernel Matching for Unsupervised Time Series Domain Adaptation",
        authors="Qiao Liu, Hui Xue",
        year=2021, url="https://www.ijcai.org/proceedings/2021/378", venue="IJCAI",
        deviations="the kernel network has no batch normalisation and both of its halves have two layers",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    targets = frozenset({"classes", "values"})
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase("ascend", update=("spectral",)),
        Phase("losses", update=("body", "head")),
    )

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the MMD")
    spectral_width: int = hp(64, 16, 256, log=True, help="width of each half of the kernel network")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"spectral": SpectralMap(width, self.spectral_width)}

    def ascend(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = (f.detach() for f in net.features(b.xs, b.xt, b.held))
        return {"kernel": -mk_mmd(net.spectral(fs), net.spectral(ft))}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt, b.held)
        distance = mk_mmd(net.spectral(fs), net.spectral(ft))
        return {"cls": net.criterion(net.head(fs), b.ys), "mmd": self.trade_off * distance}
