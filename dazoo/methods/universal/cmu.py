"""CMU: calibrated multiple uncertainties say which classes are shared. Fu, Cao, Long, Wang, ECCV 2020.

    min_{F,C} max_D  CE(C(f_s), y_s) - trade_off * r(t) * [E_s w_s BCE(D(f_s), 1) + E_t w_t BCE(D(f_t), 0)] / 2
    u(x) = (1 - entropy + 1 - inconsistency + confidence) / 3      of ``heads`` classifiers C_k on f as a constant
    w_t = 1[u(x_t) > known],   w_s = V_(y_s),   V = mean of softmax(C(f_t)) over rows with w_t = 1, brought to [0, 1]

f = F(x) (b, width). Entropies are averaged over the heads and divided by ln K, inconsistency is the standard deviation
over heads, confidence the mean largest probability; all three are brought to [0, 1] by the smallest and the largest of
all target rows. V (K,) and these ranges are renewed per epoch. A row is unknown where 1 - u > 1 - ``known``.

Evidence: tests/test_parity.py (uni_cmu_uncertainty), tests/test_universal.py (with weights 1 the loss is DANN's).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import ParallelMLP, mlp
from dazoo.nets.parts.rows import Value
from dazoo.ops.adversarial import domain_bce
from dazoo.ops.reversal import reverse_gradient
from dazoo.ops.universal import ensemble_uncertainty, unit_range

Ranges = tuple[Tensor, Tensor]


@register
class CMU(GradientMethod):
    """Calibrated multiple uncertainties."""

    paper = Paper(
        title="Learning to Detect Open Classes for Universal Domain Adaptation",
        authors="Bo Fu, Zhangjie Cao, Mingsheng Long, Jianmin Wang",
        year=2020, venue="ECCV", url="https://www.ecva.net/papers/eccv_2020/papers_ECCV/html/4030_ECCV_2020_paper.php",
        deviations="the heads differ by start and by the fifth of the source that each leaves out, where the paper "
        "gives each batches with augmentations of its own; confidences are those of probabilities, which the "
        "authors' first program puts through a second softmax; each domain weighs one half",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial", "open", "universal"}, n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    known: float = hp(0.55, most=1.0, help="a row is of a known class from this certainty on")
    heads: int = hp(5, 3, 9, help="number of classifiers that uncertainties are taken from")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {
            "disc": mlp(width, self.disc_width, self.disc_width, 1),
            "heads": ParallelMLP(self.heads, width, n_classes),
            "low": Value(0.0, 0.0, 0.0),
            "high": Value(1.0, 1.0, 1.0),
        }

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        features, scores = look.target
        found = self._uncertainties(net, features)
        low, high = found.amin(0), found.amax(0)
        sure = (certainty(found, low, high) > self.known).to(scores.dtype)[:, None]
        shares = (sure * scores.softmax(1)).sum(0) / sure.sum().clamp_min(1.0)
        return {"low": low, "high": high, "shares": unit_range(shares)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        scores = net.head(fs)
        u = certainty(self._uncertainties(net, ft.detach()), b.memory["low"], b.memory["high"])
        weights = torch.cat([b.memory["shares"][b.ys], (u > self.known).to(fs.dtype)])
        game = net.disc(reverse_gradient(torch.cat([fs, ft]), self.trade_off * t.ramp)).squeeze(-1)
        many = self._heads(net, fs.detach())
        taken = (b.s_rows + torch.arange(self.heads, device=b.ys.device)[:, None]) % self.heads > 0
        rows = cross_entropy(many.flatten(0, 1), b.ys.repeat(self.heads), reduction="none")
        return {
            "cls": net.criterion(scores, b.ys),
            "dom": domain_bce(game, len(fs), weights),
            "heads": (rows * taken.flatten()).sum() / taken.sum().clamp_min(1),
        }

    def finish(self, net: Net, look: Look) -> None:
        found = self._uncertainties(net, look.target[0])
        net.low.set(found.amin(0))
        net.high.set(found.amax(0))

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        u = certainty(self._uncertainties(net, features), net.low.x, net.high.x)
        return Prediction(net.head(features), features, unknown=1.0 - u, threshold=1.0 - self.known)

    def _heads(self, net: Net, f: Tensor) -> Tensor:
        """Scores (heads, n, K) of features (n, width)."""
        return net.heads(f.expand(self.heads, *f.shape))

    def _uncertainties(self, net: Net, f: Tensor) -> Tensor:
        """(n, 3): entropy, inconsistency and lack of confidence."""
        entropy, inconsistency, confidence = ensemble_uncertainty(self._heads(net, f).detach())
        return torch.stack([entropy, inconsistency, 1.0 - confidence], 1)


def certainty(found: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """``1 - mean of the uncertainties``, each brought to [0, 1] by its range: found (n, 3), low, high (3,) -> (n,)."""
    width = high - low
    scaled = (found - low) / torch.where(width > 0, width, torch.ones_like(width))
    return 1.0 - scaled.clamp(0.0, 1.0).mean(1)
