"""NRC: agree with one's neighbours, most with those that are neighbours in return. Yang et al., NeurIPS 2021.

    min_{F,C}  -trade_off/b sum_i sum_{j in N_k(i)} [a_ij <p_i, s_j> + r sum_{m in N_kk(j)} <p_i, s_m>]
               - self_weight * 1/b sum_i <p_i, stop(p_i)> - div_weight * H(1/b sum_i p_i)      from the source model
    p_i = softmax(C(F(x_t,i))) (C,);   N_k(i): the k rows of the bank most similar to F(x_t,i) by cosine, j != i
    a_ij = 1 where i is among the kk nearest of j, else r;   bank of all n_t samples: unit features, predictions s

The bank is made in a full pass per epoch, holds the batch as it is when losses are taken, and is renewed after steps.

Evidence: tests/test_source_free.py (terms equal a transcription; nothing reads the source), the parity fixtures.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.methods.source_free._source_free import SourceFree, banks, renew_banks
from dazoo.nets.net import Net
from dazoo.ops.entropy import diversity
from dazoo.ops.neighbourhood import attraction, nrc, renewed


@register
class NRC(SourceFree):
    """Neighbourhood reciprocity clustering."""

    paper = Paper(
        title="Exploiting the Intrinsic Neighborhood Structure for Source-free Domain Adaptation",
        authors="Shiqi Yang, Yaxing Wang, Joost van de Weijer, Luis Herranz, Shangling Jui", year=2021,
        url="https://arxiv.org/abs/2110.04202", venue="NeurIPS",
        deviations="k and kk stay at 3 and 2, the paper's for Office-Home and Office-31, where its program raises them "
        "to 5 and 4 in the second half of Office-Home; the bank is made anew per epoch; the program has no term of the "
        "sample's own prediction (self_weight 0), and its script for VisDA overwrites all a_ij by r (reciprocal False)",
    )  # fmt: skip
    stackable = False

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the neighbours")
    self_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the sample's own prediction")
    div_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the diversity of predictions")
    neighbours: int = hp(3, 2, 10, help="k, bank rows a sample agrees with")
    expanded: int = hp(2, 1, 10, help="kk, neighbours of each neighbour")
    weak: float = hp(0.1, 0.01, 0.5, help="r, affinity of neighbours that are none in return")
    reciprocal: bool = hp(True, help="whether neighbours in return weigh 1; False: all weigh r")

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        return banks(*look.target)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        f = net.body(b.xt)
        scores = net.head(f)
        p = scores.softmax(-1)
        bank_f = renewed(b.memory["bank_f"], b.t_rows, normalize(f, dim=-1))
        bank_p = renewed(b.memory["bank_p"], b.t_rows, p)
        near, far = nrc(
            scores, f, b.t_rows, bank_f, bank_p, self.neighbours, self.expanded, self.weak, flat=not self.reciprocal
        )
        return {
            "near": self.trade_off * near,
            "far": self.trade_off * far,
            "self": self.self_weight * attraction(p, p.detach()[:, None]),
            "div": -self.div_weight * diversity(p),
        }

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        renew_banks(net, b)
