"""CORAL over sources: features of all pairs of sources have equal means and covariances. Sun, Saenko, ECCVW 2016.

    min_{F,C}  CE(C(F(x)), y) + trade_off * 2 / (M (M - 1)) sum_{i<j} [mean (mu_i - mu_j)^2 + mean (Cov_i - Cov_j)^2]

mu_m (d,) and Cov_m (d, d) of the features F (b, d) of source m's rows; means over all entries. Nothing of the target is
in it, unlike in ``deep_coral``.

Evidence: tests/test_generalisation.py (transcription of the pairs; weight 0 is erm).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.generalisation._sources import Generalising, of_sources
from dazoo.nets.net import Net
from dazoo.ops.generalisation import pairwise_coral


@register
class SourceCORAL(Generalising):
    """Correlation alignment among sources."""

    paper = Paper(
        title="Deep CORAL: Correlation Alignment for Deep Domain Adaptation",
        authors="Baochen Sun, Kate Saenko", year=2016,
        url="https://arxiv.org/abs/1607.01719", venue="ECCV Workshops",
        deviations="DomainBed's form for generalisation: pairs of sources, means too, averages over entries; no gain "
        "at the defaults over erm on PACS and digits",
    )  # fmt: skip
    targets = frozenset({"classes", "values"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the distances")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        f = net.body(b.xs)
        aligned = pairwise_coral(f, of_sources(net, b).to(f.dtype))
        return {"cls": net.criterion(net.head(f), b.ys), "coral": self.trade_off * aligned}
