"""DANCE: target samples cluster around each other or around classes. Saito, Kim, Sclaroff, Saenko, NeurIPS 2020.

    min_{F,W}  CE(l(x_s), y_s) + trade_off * 1/b sum_i H(q_i)
               - separation_weight * 1/b sum_i 1[|h_i - 1/2| > margin / 2] |h_i - 1/2| ln K

    l(x) = W F(x) / (|F(x)| T) (b, K), rows of W of length 1;     h_i = H(softmax(l(x_t,i))) / ln K
    q_i = softmax over the K classes, the n_t other target samples of a bank and those of the batch, by cosine over T

The bank (n_t, width) holds unit features of the whole target; it comes from a full pass per epoch, and after each step
the batch's rows are renewed. A row is unknown where h > 1/2.

Evidence: tests/test_parity.py (uni_dance_nc, uni_dance_es), tests/test_universal.py (an infinite margin is clustering
only; the batch's rows are renewed).
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import linear, normalize

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.universal import entropy_separation, entropy_share, neighbourhood_entropy


@register
class DANCE(GradientMethod):
    """Domain adaptive neighbourhood clustering via entropy optimisation."""

    paper = Paper(
        title="Universal Domain Adaptation through Self Supervision",
        authors="Kuniaki Saito, Donghyun Kim, Stan Sclaroff, Kate Saenko",
        year=2020, venue="NeurIPS", url="https://arxiv.org/abs/2002.07953",
        deviations="the bank starts from a full pass instead of zeros; the margin is a share of the threshold ln K / "
        "2, a third as 0.5 is of the paper's 20 classes, so that few classes have one too; entropies are exact, "
        "where the authors' program has NaN for probabilities of zero, which then count as known",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial", "open", "universal"}, n_sources={"one", "many"})
    stackable = False
    neutral = None

    trade_off: float = hp(0.05, 0.005, 0.5, log=True, help="weight of neighbourhood clustering")
    separation_weight: float = hp(0.05, 0.005, 0.5, log=True, help="weight of the separation of entropies")
    margin: float = hp(
        1.0 / 3.0, 0.1, 0.9, most=math.inf, help="entropies this near to the threshold rest (share of it)"
    )
    temperature: float = hp(0.05, 0.02, 0.2, log=True, positive=True, help="of cosine similarities")

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        return {"bank": normalize(look.target[0], dim=-1)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        lt = self._scores(net, ft)
        half = math.log(lt.shape[1]) / 2
        around = neighbourhood_entropy(lt, ft, b.t_rows, b.memory["bank"], self.temperature)
        return {
            "cls": net.criterion(self._scores(net, fs), b.ys),
            "cluster": self.trade_off * around,
            "separate": self.separation_weight * entropy_separation(lt, half, self.margin * half),
        }

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        b.memory["bank"][b.t_rows] = normalize(net.body(b.xt), dim=-1)

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        scores = self._scores(net, features)
        return Prediction(scores, features, unknown=entropy_share(scores), threshold=0.5)

    def _scores(self, net: Net, f: Tensor) -> Tensor:
        return linear(normalize(f, dim=-1), normalize(net.head.weight, dim=-1)) / self.temperature
