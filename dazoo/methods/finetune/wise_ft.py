"""WiSE-FT: the weights midway between the source model and the fine-tuned one. Wortsman et al., CVPR 2022.

    theta_1 = argmin_theta 1/n_f sum_i loss(f_theta(x_i), y_i)   from theta_0, the source model
    theta   = (1 - mix) theta_0 + mix theta_1

over the n_f labelled target samples; theta holds all parameters and moving statistics, each (any shape). The mixture is
what every checkpoint evaluates; training itself goes on from theta_1.

Evidence: tests/test_finetune.py (mix 1 is fine_tune and 0 source_only, bit for bit; between, a transcription).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.twin import Twin


@register
class WiseFT(GradientMethod):
    """Weight-space ensemble of the source model and its fine-tuned self."""

    paper = Paper(
        title="Robust fine-tuning of zero-shot models",
        authors=(
            "Mitchell Wortsman, Gabriel Ilharco, Jong Wook Kim, Mike Li, Simon Kornblith, Rebecca Roelofs, "
            "Raphael Gontijo-Lopes, Hannaneh Hajishirzi, Ali Farhadi, Hongseok Namkoong, Ludwig Schmidt"
        ),
        year=2022, url="https://arxiv.org/abs/2109.01903", venue="CVPR",
        deviations="the source-only model takes the place of a zero-shot one",
    )  # fmt: skip
    handles = Handles(marked="few")
    targets = frozenset({"classes", "values"})
    start = "source_only"
    uses_source = False
    uses_target = False

    mix: float = hp(0.5, 0.0, 1.0, help="share of the fine-tuned weights")
    tuned_lr: float = hp(0.1, 0.01, 1.0, log=True, structural=True, help="rate of the body, relative to the head's")

    def part_lr(self) -> dict[str, float]:
        return {"body": self.tuned_lr}

    def setup(self, net: Net) -> None:
        net.add_module("origin", Twin(net))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.yf is not None
        return {"cls": net.criterion(net.head(net.body(b.xf)), b.yf)}

    def finish(self, net: Net, look: Look) -> None:
        for part in ("body", "head"):
            old = getattr(net.origin, part).state_dict()
            for name, value in getattr(net, part).state_dict().items():
                if value.is_floating_point():
                    value.copy_((1.0 - self.mix) * old[name] + self.mix * value)
