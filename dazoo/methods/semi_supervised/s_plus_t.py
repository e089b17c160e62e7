"""S+T: the labels of the source and the few of the target, and no unlabelled sample. Saito et al., ICCV 2019.

    min_{F,W}  [CE(z(x_s), y_s) + CE(z(x_f), y_f)] / 2             z(x) = W F(x) / (|F(x)| temperature)

W (C, width) is the head without its bias, (x_f, y_f) the few labelled target samples, of which a batch holds as many as
of the source. The row that every use of unlabelled samples has to beat.

Evidence: tests/test_semi_supervised.py (terms equal transcriptions; no unlabelled sample is read).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.semi_supervised._cosine import FewLabels
from dazoo.nets.net import Net


@register
class SPlusT(FewLabels):
    """Supervised training on all labels there are."""

    paper = Paper(
        title="Semi-supervised Domain Adaptation via Minimax Entropy",
        authors="Kuniaki Saito, Donghyun Kim, Stan Sclaroff, Trevor Darrell, Kate Saenko",
        year=2019, url="https://arxiv.org/abs/1904.06487", venue="ICCV",
        deviations="a baseline of that paper",
    )  # fmt: skip
    uses_target = False

    temperature: float = hp(0.05, 0.02, 0.2, log=True, help="of the cosine classifier", positive=True)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None
        return self.labelled(net, b, net.body(b.xs), net.body(b.xf))
