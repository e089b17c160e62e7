"""G-SFDA: consistency with the nearest neighbours of a memory bank. Yang et al., ICCV 2021.

    min_{F,C}  trade_off * [-1/b sum_i sum_{j in N_k(i)} log(<p_i, s_j> + 1e-5)] - div_weight * H(1/b sum_i p_i)
    from the source model;  p_i = softmax(C(F(x_t,i))) (C,)
    N_k(i): the k rows of the bank as it was before the batch, most similar to F(x_t,i) by cosine, j != i
    bank of all n_t samples: unit features (n_t, width) and predictions s (n_t, C)

The bank is made in a full pass per epoch and renewed after each step.

Evidence: tests/test_source_free.py (terms equal a transcription), the parity fixtures.
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.methods.source_free._source_free import SourceFree, banks, renew_banks
from dazoo.nets.net import Net
from dazoo.ops.neighbourhood import local_clustering, similar_rows


@register
class GSFDA(SourceFree):
    """Local structure clustering."""

    paper = Paper(
        title="Generalized Source-free Domain Adaptation",
        authors="Shiqi Yang, Yaxing Wang, Joost van de Weijer, Luis Herranz, Shangling Jui", year=2021,
        url="https://arxiv.org/abs/2108.01614", venue="ICCV",
        deviations="without the sparse domain attention, which keeps the accuracy on the source and needs a source "
        "model trained for it; a row never finds itself, the rest of its batch may be found as it was before (the "
        "paper hides the batch, the line that should do so in the authors' program fills a copy); 1e-5 inside the "
        "logarithm, where saturated predictions would give infinity; the bank is made anew per epoch. The logarithm "
        "pulls hardest where sample and neighbour disagree, as wrong ones do: it can end below the source model where "
        "nrc, with the same neighbours, gains (suite digits_source_free)",
    )  # fmt: skip
    stackable = False

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the neighbours")
    div_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the diversity of predictions")
    neighbours: int = hp(2, 1, 10, help="k, bank rows a sample agrees with")

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        return banks(*look.target)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        f = net.body(b.xt)
        near = similar_rows(f, b.t_rows, b.memory["bank_f"], self.neighbours)
        cluster, div = local_clustering(net.head(f), b.memory["bank_p"][near], eps=1e-5)
        return {"cluster": self.trade_off * cluster, "div": self.div_weight * div}

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        renew_banks(net, b)
