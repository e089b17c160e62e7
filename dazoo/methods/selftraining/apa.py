"""APA: predictions on the target that hold under the worst change of the features. Sun, Lu, Ling, AAAI 2023.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * 1/b sum_i KL(q_i | softmax(C(f_i + r_i))),   from the source-only model
    q_i = stop(softmax(C(f_i))) (C,),  f_i = F(x_t,i) (width,),  r_i = radius |f_i| g_i,
    g_i = direction in which KL(q_i | softmax(C(f_i + .))) grows fastest, by one step of power iteration, |g_i| = 1

The perturbation is of the head's input: one pass through the head finds it. The gradient passes through f_i, not
through r_i. Batches hold the classes evenly, the source by labels, the target by pseudo-labels, which are renewed per
epoch.

Evidence: tests/test_frontier_selftraining.py (the term equals a transcription; the direction follows the Hessian).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Generator, Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.batches import even_by_class
from dazoo.ops.draws import normal
from dazoo.ops.perturb import kl_of_logits, vat_direction


@register
class APA(GradientMethod):
    """Adversarial training on penultimate activations."""

    paper = Paper(
        title="Domain Adaptation with Adversarial Training on Penultimate Activations",
        authors="Tao Sun, Cheng Lu, Haibin Ling", year=2023, url="https://arxiv.org/abs/2208.12853", venue="AAAI",
        deviations="features are not of unit length and the head has no temperature: the radius is relative to the "
        "feature's norm, with the authors' value for unit features; the probing step is small, not 1",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    start = "source_only"

    trade_off: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the consistency under perturbed features")
    radius: float = hp(1.0, 0.1, 2.0, log=True, help="size of the perturbation, relative to the feature's norm")

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        return {"labels": look.target[1].argmax(-1)}

    def redraw(
        self, rows: Mapping[str, Tensor], ys: Tensor, memory: Mapping[str, Tensor], gen: Generator
    ) -> Mapping[str, Tensor]:
        return even_by_class(rows, ys, memory["labels"], gen)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        lt = net.head(ft).detach()
        direction = vat_direction(net.head, ft, normal(tuple(ft.shape), t.step, ft, "perturbation"), answer=lt)
        moved = ft + self.radius * ft.detach().norm(dim=-1, keepdim=True) * direction
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "adv": self.trade_off * kl_of_logits(lt, net.head(moved)),
        }
