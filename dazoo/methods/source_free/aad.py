"""AaD: attract the predictions of neighbours, disperse those of a batch. Yang et al., NeurIPS 2022.

    min_{F,C}  trade_off * [-1/b sum_i sum_{j in N_k(i)} <p_i, s_j>]
               + disperse_weight * (1 + 10 t)^(-beta) * 1/b sum_i sum_{m != i in the batch} <p_i, p_m>
    from the source model;  p_i = softmax(C(F(x_t,i))) (C,), t the fraction of training
    N_k(i): the k rows of the bank most similar to F(x_t,i) by cosine, j != i;  bank of all n_t samples: unit features,
    predictions s

The bank is made in a full pass per epoch, holds the batch as it is when losses are taken, and is renewed after steps.

Evidence: tests/test_source_free.py (terms equal a transcription; the decay), the parity fixtures.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.methods.source_free._source_free import SourceFree, banks, renew_banks
from dazoo.nets.net import Net
from dazoo.ops.neighbourhood import aad, renewed


@register
class AAD(SourceFree):
    """Attracting and dispersing."""

    paper = Paper(
        title="Attracting and Dispersing: A Simple Approach for Source-free Domain Adaptation",
        authors="Shiqi Yang, Yaxing Wang, Kai Wang, Shangling Jui, Joost van de Weijer", year=2022,
        url="https://arxiv.org/abs/2205.04183", venue="NeurIPS",
        deviations="k and beta are those of the authors' program for Office-Home (3 and 0.75; VisDA: 5 and 5); the "
        "bank is made anew per epoch; beta is not chosen by SND",
    )  # fmt: skip
    stackable = False

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the neighbours")
    disperse_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the batch's dispersion at the start")
    neighbours: int = hp(3, 2, 10, help="k, bank rows a sample agrees with")
    beta: float = hp(0.75, 0.0, 5.0, help="how fast the weight of the dispersion falls")

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        return banks(*look.target)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        f = net.body(b.xt)
        scores = net.head(f)
        bank_f = renewed(b.memory["bank_f"], b.t_rows, normalize(f, dim=-1))
        bank_p = renewed(b.memory["bank_p"], b.t_rows, scores.softmax(-1))
        attract, disperse = aad(scores, f, b.t_rows, bank_f, bank_p, self.neighbours)
        falling = (1.0 + 10.0 * t.fraction) ** -self.beta
        return {"attract": self.trade_off * attract, "disperse": self.disperse_weight * falling * disperse}

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        renew_banks(net, b)
