"""DCC: clusters of the target that agree with classes of the source are shared. Li, Kang, Zhu, Wei, Yang, CVPR 2021.

    min_{F,C}  CE(C(f_s), y_s) + trade_off * r(t) * CDD(f_s, f_t)
               + cluster_weight * exp(-3 (1 - p)) * CE(cos(f_t, m) / T, k_t)

f = F(x) (b, width), p the fraction of training, r the recipe's ramp. Per epoch the target's unit features are
clustered, k_t (n_t,), into as many clusters as agree best with the source's classes; a cluster and a class that are
each other's nearest are shared, all others private. CDD, the contrastive domain discrepancy of CAN, is over shared
classes. m (clusters, width) are the centres; after each step those of the batch move towards it by one minus their
similarity. A row is unknown where a private centre is nearer than any shared one; its class is C's.

Evidence: tests/test_universal_clusters.py (clusters and classes that agree are paired, others private),
tests/test_universal.py (with both weights 0 it is source_only).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.methods.universal._clusters import consensus_clusters
from dazoo.nets.net import Net
from dazoo.nets.parts.rows import Rows
from dazoo.ops.classwise import cdd, class_means, one_hot


@register
class DCC(GradientMethod):
    """Domain consensus clustering."""

    paper = Paper(
        title="Domain Consensus Clustering for Universal Domain Adaptation",
        authors="Guangrui Li, Guoliang Kang, Yi Zhu, Yunchao Wei, Yi Yang",
        year=2021, venue="CVPR",
        url="https://openaccess.thecvf.com/content/CVPR2021/html/"
        "Li_Domain_Consensus_Clustering_for_Universal_Domain_Adaptation_CVPR_2021_paper.html",
        deviations="batches are drawn at random, in the authors' program three of each of ten shared classes; "
        "numbers of clusters tried are multiples of the source's classes, and all are tried every time, where the "
        "program stops when scores fall or a number came twice; clusters are renewed per epoch, in the program every "
        "200 steps; the ramp stands for the program's steps without clusters, since pairs of clusters that an "
        "untrained network finds are wrong",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial", "open", "universal"}, n_sources={"one", "many"})
    stackable = False

    trade_off: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the discrepancy of shared classes")
    cluster_weight: float = hp(1.0, 0.1, 10.0, log=True, help="final weight of the clusters' labels")
    temperature: float = hp(0.1, 0.05, 0.5, log=True, positive=True, help="of similarities to the centres")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"centres": Rows(width), "owners": Rows(1)}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        centres, cluster, owner = self._clusters(look)
        return {"centres": centres, "cluster": cluster, "owner": owner}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        scores, memory = net.head(fs), b.memory
        k, cluster = scores.shape[1], memory["cluster"][b.t_rows]
        shared = one_hot(memory["owner"], k, fs.dtype).amax(0)
        near = normalize(ft, dim=-1) @ memory["centres"].T / self.temperature
        weight = self.cluster_weight * math.exp(-3.0 * (1.0 - t.fraction))
        return {
            "cls": net.criterion(scores, b.ys),
            "cdd": self.trade_off
            * t.ramp
            * cdd(fs, ft, one_hot(b.ys, k, fs.dtype) * shared, one_hot(memory["owner"][cluster], k, fs.dtype)),
            "cluster": weight * cross_entropy(near, cluster),
        }

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        f, old = normalize(net.body(b.xt), dim=-1), b.memory["centres"]
        means, there = class_means(f, one_hot(b.memory["cluster"][b.t_rows], len(old), f.dtype))
        new = normalize(means, dim=-1)
        kept = (old * new).sum(1, keepdim=True)
        moved = normalize(kept * old + (1.0 - kept) * new, dim=-1)
        old.copy_(torch.where(there[:, None] > 0, moved, old))

    def finish(self, net: Net, look: Look) -> None:
        centres, _, owner = self._clusters(look)
        net.centres.set(centres)
        net.owners.set(owner[:, None])

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        similar = normalize(features, dim=-1) @ net.centres.x.T
        shared = net.owners.x.squeeze(1) >= 0
        none = features.new_full((len(features), 1), -1.0)
        private, common = (torch.cat([similar[:, s], none], 1).amax(1) for s in (~shared, shared))
        return Prediction(net.head(features), features, unknown=private - common, threshold=0.0)

    def _clusters(self, look: Look) -> tuple[Tensor, Tensor, Tensor]:
        (fs, scores), (ft, _) = look.source, look.target
        return consensus_clusters(normalize(fs, dim=-1), look.ys, normalize(ft, dim=-1), scores.shape[1])
