"""VADA: adversarial adaptation under the cluster assumption. Shu, Bui, Narui, Ermon, ICLR 2018.

    min_{F,C} max_D  CE(h(x_s), y_s) - trade_off * r(t) * [BCE(D(f_s), 1) + BCE(D(f_t), 0)] / 2
        + source_vat_weight * V(x_s) + target_vat_weight * V(x_t) + entropy_weight * E_t H(h(x_t))
    V(x) = E KL(h(x) | h(x + e)),   e = radius * mean|x| * d,   d the unit direction in which h(x) changes most

h = softmax(C(F(x))) (b, C), f (b, width). d is found by one power iteration from random noise; h(x) in V is a constant.

Evidence: tests/test_adversarial.py, tests/test_adversarial_limits.py (terms against their formulas; V is larger along
d than along a random direction).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.nets.parts.domain_norm import still_norms
from dazoo.ops.adversarial import domain_bce
from dazoo.ops.draws import normal
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.perturb import vat_each
from dazoo.ops.reversal import reverse_gradient


@register
class VADA(GradientMethod):
    """Virtual adversarial domain adaptation."""

    paper = Paper(
        title="A DIRT-T Approach to Unsupervised Domain Adaptation",
        authors="Rui Shu, Hung H. Bui, Hirokazu Narui, Stefano Ermon",
        year=2018,
        url="https://arxiv.org/abs/1802.08735", venue="ICLR",
        deviations="the radius is relative to the samples' mean norm (the paper's 3.5 is about a tenth of it); "
        "gradient reversal instead of alternating steps; no instance normalisation and no averaging of weights",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    revision = 1

    trade_off: float = hp(0.01, 0.001, 1.0, log=True, help="weight of the reversed gradient")
    source_vat_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of V on the source")
    target_vat_weight: float = hp(0.01, 0.001, 1.0, log=True, help="weight of V on the target")
    entropy_weight: float = hp(0.01, 0.001, 1.0, log=True, help="weight of the target's conditional entropy")
    radius: float = hp(0.1, 0.02, 0.5, log=True, help="length of the perturbation relative to a sample's mean norm")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"disc": mlp(width, self.disc_width, self.disc_width, 1)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        seen = {"vat source": (b.xs, ls), "vat target": (b.xt, lt)}
        vat_s, vat_t = smoothness(net, seen, t, self.radius)
        d = net.disc(reverse_gradient(torch.cat([fs, ft]), self.trade_off * t.ramp))
        return {
            "cls": net.criterion(ls, b.ys),
            "dom": domain_bce(d, len(fs)),
            "vat_s": self.source_vat_weight * vat_s,
            "vat_t": self.target_vat_weight * vat_t,
            "ent": self.entropy_weight * entropy_of_logits(lt).mean(),
        }


def smoothness(net: Net, seen: Mapping[str, tuple[Tensor, Tensor]], t: Progress, radius: float) -> list[Tensor]:
    """V of batches x (b, ...) with their scores (b, C), by what names their noise; the perturbation's length is
    relative to the mean norm of a batch. Batches keep batch statistics of their own."""
    given = [x.detach() for x, _ in seen.values()]
    rows = [len(x) for x in given]
    noise = torch.cat([normal(tuple(x.shape), t.step, x, what) for what, x in zip(seen, given)])
    length = torch.cat([radius * x.flatten(1).norm(dim=1).mean().expand(len(x)) for x in given])
    length = length.reshape(-1, *[1] * (noise.ndim - 1))
    answer = torch.cat([scores for _, scores in seen.values()])

    def scores_of(z: Tensor) -> Tensor:
        scores: Tensor = net.head(torch.cat(net.body.each(*z.split(rows))))
        return scores

    with still_norms(net.body):
        found = vat_each(scores_of, torch.cat(given), noise, length, answer=answer)
    return [part.mean() for part in found.split(rows)]
