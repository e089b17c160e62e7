"""UAN: an adversary that weighs how shared a sample's class seems. You, Long, Cao, Wang, Jordan, CVPR 2019.

    min_{F,C} max_D  CE(C(f_s), y_s) - trade_off * r(t) * [E_s w_s BCE(D(f_s), 1) + E_t w_t BCE(D(f_t), 0)] / 2
    min_D'           [E_s BCE(D'(f_s), 1) + E_t BCE(D'(f_t), 0)] / 2        f taken as a constant
    w_s ~ H(softmax(C(f_s) / T)) / ln K - D'(f_s),    w_t ~ D'(f_t) - H(softmax(C(f_t))) / ln K

f = F(x) (b, width); r is the recipe's ramp. Weights carry no gradient; a batch's are brought to [0, 1] by its smallest
and largest and divided by their mean. A sample of a shared class lies where D' takes the source for target and the
target for source, the latter with a sure answer. A target row is unknown where H / ln K - D' > ``threshold``.

Evidence: tests/test_parity.py (uni_uan_weights), tests/test_universal.py (equal weights give DANN;
constant weights warn).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.adversarial import domain_bce
from dazoo.ops.reversal import reverse_gradient
from dazoo.ops.universal import batch_weights, private_score


@register
class UAN(GradientMethod):
    """Universal adaptation network."""

    paper = Paper(
        title="Universal Domain Adaptation",
        authors="Kaichao You, Mingsheng Long, Zhangjie Cao, Jianmin Wang, Michael I. Jordan",
        year=2019, venue="CVPR",
        url="https://openaccess.thecvf.com/content_CVPR_2019/html/You_Universal_Domain_Adaptation_CVPR_2019_paper.html",
        deviations="cross-entropy is that of the scores, where the authors' program applies it to probabilities "
        "(softmax twice); a batch of equal weights gets weight 1, where the program divides zero by zero; each "
        "domain weighs one half",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial", "open", "universal"}, n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    temperature: float = hp(10.0, 1.0, 30.0, log=True, positive=True, help="softens the source's entropies in weights")
    threshold: float = hp(0.5, help="a row whose entropy share exceeds D' by more is unknown (paper: -w0)")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminators' hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        sizes = (width, self.disc_width, self.disc_width, 1)
        return {"disc": mlp(*sizes), "judge": mlp(*sizes)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        both, n, ls = torch.cat([fs, ft]), len(fs), net.head(fs)
        judged = net.judge(both.detach()).squeeze(-1)
        d, temperature = judged.sigmoid(), self.temperature
        weights = [
            batch_weights(private_score(ls, d[:n], temperature)),
            batch_weights(-private_score(net.head(ft), d[n:])),
        ]
        game = net.disc(reverse_gradient(both, self.trade_off * t.ramp)).squeeze(-1)
        return {
            "cls": net.criterion(ls, b.ys),
            "dom": domain_bce(game, n, torch.cat(weights)),
            "judge": domain_bce(judged, n),
        }

    def finish(self, net: Net, look: Look) -> None:
        for part, (features, scores) in (("source", look.source), ("target", look.target)):
            score = private_score(scores, self._judged(net, features), self.temperature if part == "source" else 1.0)
            if not score.max() > score.min():
                look.warn(
                    f"all {part} samples have one weight, so nothing tells shared classes apart; each counts as 1"
                )

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        scores = net.head(features)
        unknown = private_score(scores, self._judged(net, features))
        return Prediction(scores, features, unknown=unknown, threshold=self.threshold)

    def _judged(self, net: Net, f: Tensor) -> Tensor:
        """Probability of "source" (n,) by the discriminator that nobody deceives."""
        return net.judge(f).squeeze(-1).sigmoid()
