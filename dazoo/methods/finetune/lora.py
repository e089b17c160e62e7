"""LoRA: fine-tuning by low-rank updates of the body's weights. Hu et al., ICLR 2022.

    min_{A,B,C}  1/n_f sum_i loss(C(F_{W + alpha/rank B A}(x_i)), y_i)   from the source model, W fixed

for every linear layer W (out, in) and ungrouped convolution of the body, A (rank, in), B (out, rank), B = 0 at first;
the head C is trained in full, (x_i, y_i) are the n_f labelled target samples. The layers are those of the library peft
(install the extra ``peft``).

Evidence: tests/test_finetune.py (starts as the source model; the update is alpha/rank B A; W keeps its bits).
"""

from __future__ import annotations

import re

from torch import Tensor, nn

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net


@register
class LoRA(GradientMethod):
    """Low-rank adaptation."""

    paper = Paper(
        title="LoRA: Low-Rank Adaptation of Large Language Models",
        authors=(
            "Edward J. Hu, Yelong Shen, Phillip Wallis, Zeyuan Allen-Zhu, Yuanzhi Li, Shean Wang, Lu Wang, "
            "Weizhu Chen"
        ),
        year=2022, url="https://arxiv.org/abs/2106.09685",
        venue="ICLR",
        deviations="all linear layers and convolutions of the body, not only a transformer's attention",
    )  # fmt: skip
    handles = Handles(marked="few")
    targets = frozenset({"classes", "values"})
    start = "source_only"
    uses_source = False
    uses_target = False
    stackable = False

    rank: int = hp(8, 1, 32, log=True, help="rank of the updates")
    alpha: int = hp(16, 1, 64, log=True, help="the updates are scaled by alpha / rank")
    lora_lr: float = hp(1.0, 0.1, 10.0, log=True, structural=True, help="rate of the updates, over the head's")

    def part_lr(self) -> dict[str, float]:
        return {"body": self.lora_lr}

    def setup(self, net: Net) -> None:
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError as error:
            raise DazooError("method 'lora' needs the library peft; run: pip install 'dazoo[peft]'") from error
        names = [
            name
            for name, module in net.body.named_modules()
            if isinstance(module, nn.Linear)
            or (isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and module.groups == 1)
        ]
        if not names:
            raise DazooError("method 'lora' needs a linear layer or convolution in the body; use a bottleneck")
        pattern = "|".join(re.escape(n) for n in names)
        config = LoraConfig(r=self.rank, lora_alpha=self.alpha, lora_dropout=0.0, target_modules=f"^(?:{pattern})$")
        inject_adapter_in_model(config, net.body)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.yf is not None
        return {"cls": net.criterion(net.head(net.body(b.xf)), b.yf)}
