"""GLC: one-versus-all clusters of the target, without the source. Qu, Zou, Roehrbein, Lu, Chen, Tao, Jiang, CVPR 2023.

    F_0, C = the source-only model of the same seed and recipe; C stays fixed
    min_F  trade_off * 1/b sum_i CE(p_i, y_i) + neighbour_weight * 1/b sum_i CE(p_i, q_i)         from F_0
    p_i = softmax(C(F(x_t,i))) (K,);   q_i = mean of p over the ``neighbours`` most similar samples of a bank (n_t, .)

y_i (K,) is one class or, for "unknown", 1/K of all. Per epoch and class c: the n_t / M rows that C finds likeliest have
the prototype u_c, the others M cluster centres v_c; row i belongs to c if u_c is the most similar class prototype and
(rho + (1 - rho) mean p_c of these rows) cos(f_i, u_c) > max_k cos(f_i, v_ck). M, the number of target classes, is the
one of {1/4, 1/2, 1, 2, 3} K whose clusters of the target before the bottleneck have the largest silhouette. F moves at
a tenth of the recipe's rate. A row is unknown where H(p) / ln K > ``threshold``. No source sample is read.

Evidence: tests/test_parity.py (sf_glc), tests/test_universal_clusters.py (labels equal a transcription in loops),
tests/test_universal.py (the head keeps its bits).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.methods.universal._clusters import one_vs_all_labels, soft_labels, target_classes
from dazoo.nets.net import Net
from dazoo.ops.selftraining import neighbour_mean
from dazoo.ops.universal import entropy_share, soft_pseudo_loss


@register
class GLC(GradientMethod):
    """Global and local clustering."""

    paper = Paper(
        title="Upcycling Models under Domain and Category Shift",
        authors="Sanqing Qu, Tianpei Zou, Florian Röhrbein, Cewu Lu, Guang Chen, Dacheng Tao, Changjun Jiang",
        year=2023, venue="CVPR", url="https://arxiv.org/abs/2303.07110",
        deviations="the source model is source_only's, without label smoothing or weight normalisation unless the "
        "recipe has them; silhouettes are of the backbone's unit features, which the source's classes did not "
        "shape, and taken once, in the authors' program of the t-SNE of the bottleneck's; the clusters of each "
        "class start from those of the whole target; cross-entropies are exact, without 1e-5 in their logarithms",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial", "open", "universal"}, source="model", n_sources={"one", "many"})
    start = "source_only"
    uses_source = False
    stackable = False

    trade_off: float = hp(0.3, 0.03, 3.0, log=True, help="weight of the clusters' labels")
    neighbour_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the neighbours' predictions")
    neighbours: int = hp(4, 2, 10, help="bank samples whose predictions are averaged")
    rho: float = hp(0.75, 0.5, 1.0, help="least factor on a class prototype's similarity")
    threshold: float = hp(0.55, most=1.0, help="share of the largest entropy above which a row is unknown")

    def part_lr(self) -> dict[str, float]:
        return {"head": 0.0, "body": 0.1}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        features, scores = look.target
        f, p = normalize(features, dim=-1), scores.softmax(1)
        number = target_classes(net, look, p.shape[1], (0.25, 0.5, 1.0, 2.0, 3.0))
        labels = one_vs_all_labels(f, p, int(number), self.rho)
        return {"number": number, "labels": soft_labels(labels, p), "bank_f": f, "bank_p": p}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        features, memory = net.body(b.xt), b.memory
        scores = net.head(features)
        near = neighbour_mean(features.detach(), b.t_rows, memory["bank_f"], memory["bank_p"], self.neighbours)
        return {
            "pseudo": self.trade_off * soft_pseudo_loss(scores, memory["labels"][b.t_rows]),
            "near": self.neighbour_weight * soft_pseudo_loss(scores, near),
        }

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        features = net.body(b.xt)
        b.memory["bank_f"][b.t_rows] = normalize(features, dim=-1)
        b.memory["bank_p"][b.t_rows] = net.head(features).softmax(1)

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        scores = net.head(features)
        return Prediction(scores, features, unknown=entropy_share(scores), threshold=self.threshold)
