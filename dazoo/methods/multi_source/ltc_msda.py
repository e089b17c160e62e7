"""LtC-MSDA: samples are classified beside the prototypes of all domains, in a graph. Wang, Xu, Ni, Zhang, ECCV 2020.

Nodes are the prototypes of each class in each of N sources and the target, V ((N+1) C, d), and the batch's samples f.

    A_ij = exp( -|v_i - v_j|^2 / (2 width^2 s) ),    s = mean |v_i - v_j|^2 over pairs of prototypes
    G(f) = A~ relu(A~ [V; f] W_1) W_2  on the rows of f,   A~ = A with rows that sum to 1, samples not joined to others
    min_{F,C,W}  CE(C(f_s), y_s) + CE(G(f_s), y_s) + CE(G(v), class of v) + r(t) * ent_weight * mean H(softmax(G(f_t)))
                 + trade_off * r(t) * mean over pairs of blocks of |A_[ij] - A_[kl]|_F / C

A_[ij] (C, C) is the block of A between the prototypes of domains i and j. A prototype is the mean of the samples of its
class, the target's by the head's predictions: what they are as of the last epoch, moved by the batch's own mean by a
share of 1 - decay. G predicts. A batch has as many rows of each source.

Evidence: tests/test_multi_source.py (test_ltc_msda_terms, test_ltc_msda_relations_vanish_where_domains_agree).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.methods.multi_source._by_source import BySource, sources_of
from dazoo.nets.net import Net
from dazoo.ops.classwise import class_means, one_hot
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.sources import prototype_graph, relation_gap


@register
class LtCMSDA(BySource):
    """Learning to combine for multi-source domain adaptation."""

    paper = Paper(
        title="Learning to Combine: Knowledge Aggregation for Multi-Source Domain Adaptation",
        authors="Hang Wang, Minghao Xu, Bingbing Ni, Wenjun Zhang",
        year=2020, url="https://arxiv.org/abs/2007.08801", venue="ECCV",
        deviations="the kernel's width is a share of the prototypes' mean distance (in the paper 0.005 for its own "
        "features), weights are ours; prototypes are renewed from all samples per epoch instead of per batch; a linear "
        "head beside the graph gives pseudo-labels; target terms come with the ramp",
    )  # fmt: skip

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the relations' alignment, reached by the ramp")
    ent_weight: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the target's entropy, reached by the ramp")
    width: float = hp(0.5, 0.2, 1.0, log=True, help="width of the kernel, as a share of distances", positive=True)
    decay: float = hp(0.7, 0.0, 0.95, help="share of the last epoch's prototypes in a batch's")

    def setup(self, net: Net) -> None:
        d, c = net.head.in_features, net.head.out_features
        net.add_module("graph", nn.ModuleList([nn.Linear(d, d, bias=False), nn.Linear(d, c, bias=False)]))
        net.register_buffer("prototypes", torch.zeros((net.n_sources + 1) * c, d))
        net.register_buffer("present", torch.zeros((net.n_sources + 1) * c))

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        return {**super().refresh(net, look), **self._look(net, look)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        c, ls = net.head.out_features, net.head(fs)
        new, here = self._prototypes(net, fs, b.ds, b.ys, ft, net.head(ft).argmax(-1))
        old, known = b.memory["prototypes"], b.memory["present"]
        share = here * torch.where(known > 0, 1.0 - self.decay, torch.ones_like(known))
        v = old + share[:, None] * (new - old)
        there = torch.maximum(known, here)
        gs, gt = (self._graph(net, f, v, there) for f in (fs, ft))
        classes = torch.arange(c, device=v.device).repeat(net.n_sources + 1)
        own = functional.cross_entropy(self._graph(net, v, v, there), classes, reduction="none")
        kernel = prototype_graph(v, v, there, self.width)
        return {
            "cls": net.criterion(ls, b.ys),
            "graph": net.criterion(gs, b.ys),
            "own": (there * own).sum() / there.sum(),
            "ent": self.ent_weight * t.ramp * entropy_of_logits(gt).mean(),
            "relation": self.trade_off * t.ramp * relation_gap(kernel, there, net.n_sources + 1),
        }

    def finish(self, net: Net, look: Look) -> None:
        for name, value in self._look(net, look).items():
            getattr(net, name).copy_(value)

    def predict(self, net: Net, x: Tensor) -> Prediction:
        f = net.body(x)
        return Prediction(self._graph(net, f, net.prototypes, net.present), f)

    def _look(self, net: Net, look: Look) -> dict[str, Tensor]:
        """The prototypes of all samples, and which there are."""
        fs, ft = look.source[0], look.target[0]
        v, there = self._prototypes(net, fs, look.domain, look.ys, ft, net.head(ft).argmax(-1))
        return {"prototypes": v, "present": there}

    def _prototypes(
        self, net: Net, fs: Tensor, ds: Tensor, ys: Tensor, ft: Tensor, yt: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Prototypes ((N+1) C, d), domain-major with the target last, and which are there ((N+1) C,) of 0 and 1."""
        c = net.head.out_features
        of_source = (sources_of(net, ds, fs)[:, :, None] * one_hot(ys, c, fs.dtype)[:, None, :]).flatten(1)
        source, target = class_means(fs, of_source), class_means(ft, one_hot(yt, c, ft.dtype))
        return torch.cat([source[0], target[0]]), torch.cat([source[1], target[1]])

    def _graph(self, net: Net, f: Tensor, v: Tensor, there: Tensor) -> Tensor:
        """Scores (n, C) of samples f (n, d), each in a graph with the prototypes v and itself."""
        among, beside = prototype_graph(v, v, there, self.width), prototype_graph(f, v, there, self.width)
        first, second = net.graph
        own = torch.ones_like(beside[:, :1])
        total = beside.sum(1, keepdim=True) + own
        hidden_v = (first(among / among.sum(1, keepdim=True).clamp_min(1e-12) @ v)).relu()
        hidden_f = (first((beside @ v + own * f) / total)).relu()
        return second((beside @ hidden_v + own * hidden_f) / total)
