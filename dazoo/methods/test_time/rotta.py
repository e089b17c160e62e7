"""RoTTA: steady statistics, a memory of all classes that stays young, and a slow teacher. Yuan et al., CVPR 2023.

    every ``memory`` samples:  min_{gamma, beta}  1/m sum_i w_i CE(q_i, p_i),   w_i = exp(-a_i) / (1 + exp(-a_i))
    teacher <- (1 - nu) teacher + nu student

over the memory x (m, ...): p_i is the student's prediction for a strong view, q_i the teacher's for the sample itself,
a_i its age in units of the memory's size. In both networks every batch normalisation takes
mean <- (1 - alpha) mean + alpha mean_m, var likewise, before it normalises by them. Answers are the teacher's, by its
stored statistics. A class has its share of the memory; who is old and was unsure goes first (``ops.memories``).

Evidence: tests/test_parity.py (tta_rotta_loss, tta_rotta_bn, tta_rotta_memory); tests/test_stream_methods.py (alpha 0
keeps the source's statistics; with rate 0, too, answers are the source's).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamState, register
from dazoo.methods.test_time._moves import MovesNorms, descend
from dazoo.nets.parts.norm_mode import STORED, NormMode, norms_by
from dazoo.nets.parts.twin import Twin
from dazoo.ops.batch_norm import mixed_moments, normalise
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.memories import place_by_age, timeliness
from dazoo.ops.test_time import timely_cross_entropy


@register
class RoTTA(MovesNorms):
    """Robust test-time adaptation in dynamic scenarios."""

    paper = Paper(
        title="Robust Test-Time Adaptation in Dynamic Scenarios", authors="Longhui Yuan, Binhui Xie, Shuang Li",
        year=2023, url="https://arxiv.org/abs/2303.13899",
        venue="IEEE/CVF Conference on Computer Vision and Pattern Recognition",
        deviations="views are the strong ones of this library; all normalisations move, layer and group ones too; on "
        "short streams a teacher that follows by 0.001 per step is nearly the source, and so are its answers but for "
        "the statistics",
    )  # fmt: skip
    still = {"lr": 0.0, "alpha": 0.0}
    toy_hparams = {"lr": 0.05, "memory": 8, "nu": 0.5}

    memory: int = hp(64, 16, 256, help="samples that are remembered, and after which a step is made")
    alpha: float = hp(0.05, 0.005, 0.5, log=True, help="share of the memory's statistics that the stored ones take")
    nu: float = hp(1e-3, 1e-4, 0.1, log=True, help="share of the student that the teacher takes per step")
    by_age: float = hp(1.0, 0.1, 10.0, log=True, help="how much the age of a remembered sample counts against it")
    by_entropy: float = hp(1.0, 0.1, 10.0, log=True, help="how much its entropy counts against it")

    def setup(self, net: Any) -> None:
        net.add_module("teacher", Twin(net))

    def moves(self, net: Any) -> list[str]:
        return [name for name in super().moves(net) if not name.startswith("teacher.")]

    def norm(self, rows: int) -> NormMode:
        return STORED

    def predict(self, net: Any, x: Tensor) -> Prediction:
        return Prediction(*net.teacher(x))

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        out, kept = self.predict(net, x), state.memory
        n_classes = out.scores.shape[1]
        if not kept:
            kept.update(x=x[:0], raw=state.raw[:0], y=[], ages=[], entropies=[], arrived=0)
        entropies, labels = entropy_of_logits(out.scores).tolist(), out.scores.argmax(-1).tolist()
        for i, (label, entropy) in enumerate(zip(labels, entropies)):
            row = place_by_age(
                kept["y"], kept["ages"], kept["entropies"], label, entropy, self.memory, n_classes, self.by_age,
                self.by_entropy,
            )  # fmt: skip
            if row is not None:
                new = {
                    "x": x[i : i + 1],
                    "raw": state.raw[i : i + 1],
                    "y": [label],
                    "ages": [0],
                    "entropies": [entropy],
                }
                for name, one in new.items():
                    kept[name] = _replaced(kept[name], one, row)
            kept["ages"] = [age + 1 for age in kept["ages"]]
            kept["arrived"] += 1
            if kept["arrived"] % self.memory == 0:
                self._learn(net, state)
        return out

    def _learn(self, net: Any, state: StreamState) -> None:
        kept, steady = state.memory, partial(_steady, self.alpha)
        with norms_by(net, steady):
            labels = net.teacher(kept["x"])[0]
            scores = net.head(net.body(state.strong(kept["raw"])))
        ages = torch.tensor(kept["ages"], dtype=scores.dtype, device=scores.device) / self.memory
        descend(state, timely_cross_entropy(scores, labels, timeliness(ages)))
        net.teacher.follow(net, 1.0 - self.nu)


def _replaced(rows: Any, one: Any, at: int) -> Any:
    """``rows`` with the new one at its end, in the place of the one that goes where there is one."""
    if isinstance(rows, Tensor):
        return torch.cat([rows[:at], rows[at + 1 :], one])
    return [*rows[:at], *rows[at + 1 :], *one]


def _steady(alpha: float, layer: Any, x: Tensor) -> Tensor:
    mean, var = mixed_moments(x, layer.running_mean, layer.running_var, alpha, unbiased=False)
    layer.running_mean.copy_(mean.detach())
    layer.running_var.copy_(var.detach())
    return normalise(x, mean, var, layer.weight, layer.bias, layer.eps)
