"""DIRT-T: refine VADA on the target alone, a little at a time. Shu, Bui, Narui, Ermon, ICLR 2018.

    start: the VADA model, which is also the first teacher g
    min_{F,C}  trade_off * E_t H(h(x_t)) + vat_weight * V(x_t) + teacher_weight * E_t KL(g(x_t) | h(x_t))
    g <- h, ``refreshes`` times during training

h = softmax(C(F(x))) (b, C), V as in ``vada``. The source is not used: the last term keeps each step of the sequence of
models near the one before.

Evidence: tests/test_adversarial.py, tests/test_adversarial_limits.py (transcription; the teacher moves at its times
only; starts as VADA).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.adversarial.vada import smoothness
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.perturb import kl_of_logits


@register
class DIRTT(GradientMethod):
    """Decision-boundary iterative refinement training with a teacher."""

    paper = Paper(
        title="A DIRT-T Approach to Unsupervised Domain Adaptation",
        authors="Rui Shu, Hung H. Bui, Hirokazu Narui, Stefano Ermon",
        year=2018,
        url="https://arxiv.org/abs/1802.08735", venue="ICLR",
        deviations="the teacher is renewed a fixed number of times; the radius is relative, as in vada; the teacher is "
        "a copy of the network, in the authors' program of a moving average of its weights, which also predicts",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    start = "vada"
    stackable = False
    uses_source = False
    neutral = None

    trade_off: float = hp(0.01, 0.001, 1.0, log=True, help="weight of the conditional entropy")
    vat_weight: float = hp(0.01, 0.001, 1.0, log=True, help="weight of V")
    teacher_weight: float = hp(0.01, 0.001, 1.0, log=True, help="weight of the distance to the teacher")
    refreshes: int = hp(5, 2, 10, help="how often the model becomes its own teacher")
    radius: float = hp(0.1, 0.02, 0.5, log=True, help="length of the perturbation relative to a sample's mean norm")

    still_teacher: bool = hp(True, help="the teacher answers in evaluation mode, as in the authors' program")

    def part_lr(self) -> dict[str, float]:
        # fixed parts are in evaluation mode: no dropout, and statistics that are the model's of that moment
        return {"teacher_body": 0.0, "teacher_head": 0.0} if self.still_teacher else {}

    def setup(self, net: Net) -> None:
        for part in ("body", "head"):
            twin = copy.deepcopy(getattr(net, part)).requires_grad_(False)
            net.add_module(f"teacher_{part}", twin)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        scores = net.head(net.body(b.xt))
        with torch.no_grad():
            goal = net.teacher_head(net.teacher_body(b.xt))
        return {
            "ent": self.trade_off * entropy_of_logits(scores).mean(),
            "vat": self.vat_weight * smoothness(net, {"vat target": (b.xt, scores)}, t, self.radius)[0],
            "teacher": self.teacher_weight * kl_of_logits(goal, scores),
        }

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        done, due = t.step * self.refreshes // t.steps, (t.step + 1) * self.refreshes // t.steps
        if due > done:
            for part in ("body", "head"):
                net.get_submodule(f"teacher_{part}").load_state_dict(net.get_submodule(part).state_dict())
