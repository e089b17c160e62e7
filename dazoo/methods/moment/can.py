"""CAN: draw classes together across domains and apart from each other. Kang, Jiang, Yang, Hauptmann, CVPR 2019.

    min_{F,C}  CE(C(f_s), y_s) + trade_off * sum_l CDD_l
    CDD = mean_{c in S} D_cc - mean_{(c, c') in P, c != c'} D_cc',
    D_cc' = squared MMD of source class c and target class c'

over the layers l: features f = F(x) (b, width) and, with ``layers = "both"``, probabilities softmax(C(f)) (b, C). The
target's classes are clusters: before every epoch spherical k-means, started at the source's class means, labels the
target. A sample is left out where (1 - cos) / 2 to its centre exceeds ``max_distance``, a class where fewer than
``min_samples`` remain. The kernel is a sum of five Gaussians around the mean squared distance of the batches, or with
``as_program`` of the rows of c and c'. With ``domain_norms`` batch normalisations of the body have parameters and
statistics for each domain.

Evidence: tests/test_moment_classes.py (test_can_contrasts_classes, test_can_clusters_from_source_means,
test_spherical_k_means_improves_every_round).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.domain_norm import TargetNorms, norms_of
from dazoo.ops.classwise import cdd, one_hot


@register
class CAN(GradientMethod):
    """Contrastive adaptation network."""

    paper = Paper(
        title="Contrastive Adaptation Network for Unsupervised Domain Adaptation",
        authors="Guoliang Kang, Lu Jiang, Yi Yang, Alexander G. Hauptmann",
        year=2019, url="https://arxiv.org/abs/1901.00976", venue="CVPR",
        deviations="batches are drawn at random, not class by class, and one source batch serves both terms; a class "
        "pair enters when the batch holds it; one bandwidth for all class pairs, in the authors' program one for each "
        "(as_program); training does not stop when labels settle; the domains share batch normalisations, in the paper "
        "each has its own (domain_norms); no gain at the "
        "defaults from scratch, whose clusters are impure (the paper starts from ImageNet)",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    alone: ClassVar[dict[str, Any]] = {"domain_norms": False}

    trade_off: float = hp(0.3, 0.03, 3.0, log=True, help="weight of the contrastive discrepancy")
    layers: str = hp("both", choices=("features", "both"), help="which layers are compared")
    max_distance: float = hp(0.05, help="largest cosine distance of a target sample from its centre")
    min_samples: int = hp(3, help="smallest number of target samples of a class that is used")
    domain_norms: bool = hp(False, help="batch normalisations of their own for each domain, as in the paper")
    as_program: bool = hp(False, help="a bandwidth for every pair of classes, as in the authors' program")

    def setup(self, net: Net) -> None:
        if self.domain_norms and norms_of(net.body):
            net.add_module("target_norms", TargetNorms(net.body))

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        (fs, scores), (ft, _) = look.source, look.target
        n_classes = scores.shape[1]
        start = class_directions(fs, one_hot(look.ys, n_classes, fs.dtype))
        _, label, distance = spherical_k_means(ft, start)
        assign = one_hot(label, n_classes, ft.dtype) * (distance <= self.max_distance).to(ft.dtype)[:, None]
        return {"assign": assign * (assign.sum(0) >= self.min_samples).to(ft.dtype)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        if hasattr(net, "target_norms"):
            fs, ft = net.body(b.xs), net.target_norms(net.body, b.xt)
        else:
            fs, ft = net.features(b.xs, b.xt)
        ls = net.head(fs)
        ws, wt = one_hot(b.ys, ls.shape[1], fs.dtype), b.memory["assign"][b.t_rows]
        distance = cdd(fs, ft, ws, wt, by_pair=self.as_program)
        if self.layers == "both":
            distance = distance + cdd(ls.softmax(1), net.head(ft).softmax(1), ws, wt, by_pair=self.as_program)
        return {"cls": net.criterion(ls, b.ys), "cdd": self.trade_off * distance}

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.target_norms(net.body, x) if hasattr(net, "target_norms") else net.body(x)
        return Prediction(net.head(features), features)

    def predict_source(self, net: Net, x: Tensor) -> Prediction:
        return super().predict(net, x)


def class_directions(f: Tensor, w: Tensor) -> Tensor:
    """Unit-norm class means of unit-norm rows: f (n, d), class weights w (n, C) -> (C, d); zero for an empty class."""
    return functional.normalize(w.T @ functional.normalize(f, dim=1), dim=1)


def spherical_k_means(f: Tensor, start: Tensor, rounds: int = 100) -> tuple[Tensor, Tensor, Tensor]:
    """k-means by cosine: f (n, d), start (C, d) -> unit centres (C, d), labels (n,), distances (n,).

    In turn, each row goes to the centre of largest cosine, and each centre becomes the direction of its rows' mean; a
    centre without rows stays. Ends when no label changes, at the latest after ``rounds``. Distances are (1 - cos) / 2
    to the row's centre, in [0, 1].
    """
    z = functional.normalize(f, dim=1)
    centres = functional.normalize(start, dim=1)
    label = (z @ centres.T).argmax(1)
    for _ in range(rounds):
        w = functional.one_hot(label, len(centres)).to(z.dtype)
        moved = class_directions(z, w)
        centres = torch.where(w.sum(0)[:, None] > 0, moved, centres)
        new = (z @ centres.T).argmax(1)
        if torch.equal(new, label):
            break
        label = new
    cosine = (z * centres[label]).sum(1)
    return centres, label, (1.0 - cosine) / 2.0
