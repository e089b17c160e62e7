"""WDGRL: features at a small Wasserstein distance, as a critic sees it. Shen, Qu, Zhang, Yu, AAAI 2018.

    max_D  E D(f_s) - E D(f_t) - penalty_weight * E_h (|grad_h D(h)| - 1)^2,   five steps per iteration
    min_{F,C}  CE(C(f_s), y_s) + trade_off * (E D(f_s) - E D(f_t))

f = F(x) (b, width); D is a perceptron width -> disc_width -> 1. The penalty, which keeps D near the 1-Lipschitz
functions, is taken at source features, target features and random points on the segments between them.

Evidence: tests/test_deep_transport.py (test_wdgrl_terms, test_wdgrl_critic_phase_moves_the_critic_alone,
test_wdgrl_penalty_of_a_linear_critic).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Phase, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.adversarial import critic_gap
from dazoo.ops.draws import uniform
from dazoo.ops.moments import safe_norm


@register
class WDGRL(GradientMethod):
    """Wasserstein distance guided representation learning."""

    paper = Paper(
        title="Wasserstein Distance Guided Representation Learning for Domain Adaptation",
        authors="Jian Shen, Yanru Qu, Weinan Zhang, Yong Yu",
        year=2018, url="https://arxiv.org/abs/1707.01217", venue="AAAI",
        deviations="the critic has the recipe's optimiser and learning rate, and its five steps see one batch",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    discriminators = ()  # a critic has no threshold: its scores are no logits
    targets = frozenset({"classes", "values"})
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase("critic", update=("disc",), repeat=5),
        Phase("losses", update=("body", "head")),
    )

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the critic's distance")
    penalty_weight: float = hp(10.0, 1.0, 100.0, log=True, help="weight of the gradient penalty on the critic")
    disc_width: int = hp(100, 32, 512, log=True, help="width of the critic's hidden layer")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"disc": mlp(width, self.disc_width, 1)}

    def critic(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt, b.held)
        if b.held.get("wdgrl", [None])[0] is not fs:  # all steps of the critic take the same points
            n = min(len(fs), len(ft))
            u = uniform(n, t.step, fs)[:, None]
            b.held["wdgrl"] = fs, torch.cat([fs, ft, u * fs[:n] + (1.0 - u) * ft[:n]]).detach()
        points = b.held["wdgrl"][1]
        return {
            "critic": -critic_gap(net.disc(points[: len(fs) + len(ft)]), len(fs)),
            "penalty": self.penalty_weight * gradient_penalty(net.disc, points),
        }

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt, b.held)
        gap = critic_gap(net.disc(torch.cat([fs, ft])), len(fs))
        return {"cls": net.criterion(net.head(fs), b.ys), "wasserstein": self.trade_off * gap}


def gradient_penalty(critic: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """Mean squared deviation of the critic's gradient norm from 1, ``1/n sum_i (|grad D(h_i)| - 1)^2``: points (n, d).

    Differentiable in the critic's parameters, also under ``vmap``. Gulrajani et al., NIPS 2017,
    https://arxiv.org/abs/1704.00028

    Args:
        critic: maps (n, d) to (n,) or (n, 1), each row by itself.
    """

    def total(h: Tensor) -> Tensor:
        return critic(h).sum()

    slope = perceptron_slope(critic, points.detach())
    slope = torch.func.grad(total)(points.detach()) if slope is None else slope
    return (safe_norm(slope) - 1.0).square().mean()


def perceptron_slope(critic: Callable[[Tensor], Tensor], points: Tensor) -> Tensor | None:
    """Gradients (n, d) of a perceptron's output with respect to its inputs (n, d), without a backward pass.

        w_L diag(a_L-1 > 0) W_L-1 .. diag(a_1 > 0) W_1,   a_l what goes into the l-th ReLU

    Differentiable in the weights, and in nothing else: where the gates are as they are, that is all there is. None for
    what is no ``Sequential`` of linear layers and ReLU in turns.
    """
    layers: list[Any] = list(critic) if type(critic) is nn.Sequential else []
    if not layers or any(type(m) is not (nn.ReLU if i % 2 else nn.Linear) for i, m in enumerate(layers)):
        return None
    gates = []
    with torch.no_grad():
        for layer in layers[:-1]:
            points = layer(points)
            if type(layer) is nn.ReLU:
                gates.append((points > 0).to(points.dtype))
    slope: Tensor = layers[-1].weight
    for layer, gate in zip(reversed(layers[:-1:2]), reversed(gates)):
        slope = (gate * slope) @ layer.weight
    return slope
