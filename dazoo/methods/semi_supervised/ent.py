"""ENT: entropy minimisation with a few target labels. Grandvalet, Bengio, NIPS 2004; Saito et al., ICCV 2019.

    min_{F,W}  [CE(z(x_s), y_s) + CE(z(x_f), y_f)] / 2 + trade_off * 1/b sum_i H(softmax(z(x_t,i)))

with z(x) = W F(x) / (|F(x)| temperature), W (C, width) the head without its bias, (x_f, y_f) the few labelled target
samples, H in nats. ``mme`` with the head descending too, not ascending.

Evidence: tests/test_semi_supervised.py (terms equal transcriptions; mme's gradient but for the head's sign).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.semi_supervised._cosine import FewLabels
from dazoo.nets.net import Net
from dazoo.ops.entropy import entropy_of_logits


@register
class ENT(FewLabels):
    """Entropy minimisation on unlabelled target samples."""

    paper = Paper(
        title="Semi-supervised Domain Adaptation via Minimax Entropy",
        authors="Kuniaki Saito, Donghyun Kim, Stan Sclaroff, Trevor Darrell, Kate Saenko",
        year=2019, url="https://arxiv.org/abs/1904.06487", venue="ICCV",
        deviations="a baseline of that paper, with the loss of Grandvalet and Bengio (2004); in one step of the "
        "optimiser, in the authors' program in two after each other",
    )  # fmt: skip

    trade_off: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the entropy")
    temperature: float = hp(0.05, 0.02, 0.2, log=True, help="of the cosine classifier", positive=True)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None
        fs, ft = net.features(b.xs, b.xt)
        ent = entropy_of_logits(self.scores(net, ft)).mean()
        return {**self.labelled(net, b, fs, net.body(b.xf)), "ent": self.trade_off * ent}
