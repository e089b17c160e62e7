"""OVANet: one classifier per class that may also say no. Saito and Saenko, ICCV 2021.

    min  CE(C(F(x_s)), y_s) + open_weight * 1/b sum_i [-log o_(y_i)(x_s,i) - min_{k != y_i} log(1 - o_k(x_s,i))]
         + trade_off * 1/(b K) sum_j sum_k h(o_k(x_t,j))

over F, C and K two-way classifiers O on the features F(x) (b, width); o_k in (0, 1) is the probability of "class k" and
h(o) = -o log o - (1 - o) log(1 - o). Only the hardest wrong class says no, so boundaries stay near the classes. The
answer is C's; it is unknown where the classifier of that class says no: unknown = 1 - o_(argmax C) > 1/2.

Evidence: tests/test_parity.py (uni_ovanet_source, uni_ovanet_target), tests/test_universal.py (the closed answer is the
source head's; with both weights 0 it is source_only).
"""

from __future__ import annotations

from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.classwise import one_hot
from dazoo.ops.openset import one_vs_all, one_vs_all_entropy


@register
class OVANet(GradientMethod):
    """One-versus-all network."""

    paper = Paper(
        title="OVANet: One-vs-All Network for Universal Domain Adaptation",
        authors="Kuniaki Saito, Kate Saenko",
        year=2021, venue="ICCV", url="https://arxiv.org/abs/2104.03344",
        deviations="the one-versus-all term is the paper's sum; the authors' program halves it and adds 1e-8 inside "
        "its logarithms",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial", "open", "universal"}, n_sources={"one", "many"})

    trade_off: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the target's entropies")
    open_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the one-versus-all loss on the source")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"ova": nn.Linear(width, 2 * n_classes)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        scores = net.head(fs)
        labels = one_hot(b.ys, scores.shape[1], fs.dtype)
        return {
            "cls": net.criterion(scores, b.ys),
            "open": self.open_weight * one_vs_all(self._ova(net, fs), labels),
            "ent": self.trade_off * one_vs_all_entropy(self._ova(net, ft)),
        }

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        scores = net.head(features)
        no = self._ova(net, features).softmax(-1)[..., 0]
        return Prediction(scores, features, unknown=no.gather(1, scores.argmax(1, True)).squeeze(1), threshold=0.5)

    def _ova(self, net: Net, f: Tensor) -> Tensor:
        """(n, K, 2) scores of "no" and "yes"."""
        return net.ova(f).unflatten(1, (-1, 2))
