"""Transformers of the Hugging Face library as backbones: ``transformers/<model>``, a folder or a name on the hub.

They read numbers of tokens as the encoder ``tokens`` makes them, (b, length) with 0 for no token, and give the mean of
the last hidden states over the tokens that are there, (b, width). ``transformers/<model>?lora=8`` leaves all weights as
they are and trains low-rank updates of its linear layers instead (library peft).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dazoo.core.errors import DazooError
from dazoo.nets.backbones.base import Backbone

PREFIX = "transformers/"


class TokenEncoder(nn.Module):
    """The mean of the last hidden states of ``model`` over the tokens that are there."""

    def __init__(self, model: nn.Module, width: int):
        super().__init__()
        self.model = model
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.long()
        there = tokens > 0
        hidden: Tensor = self.model(input_ids=(tokens - 1).clamp(min=0), attention_mask=there.long()).last_hidden_state
        weights = there.to(hidden.dtype)[..., None]
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1.0)


def transformers_backbone(name: str) -> Backbone | None:
    """The backbone of a name that begins with ``transformers/``; None for other names."""
    if not name.startswith(PREFIX):
        return None
    model, _, option = name.removeprefix(PREFIX).partition("?lora=")
    if not model or (option and not option.isdigit()):
        raise DazooError(f"backbone {name!r}: say transformers/<folder or name>, or transformers/<...>?lora=<rank>")
    rank = int(option) if option else 0

    def build(shape: tuple[int, ...], *, pretrained: bool = False, **options: Any) -> nn.Module:
        return _build(model, rank, pretrained)

    return Backbone(
        name,
        frozenset({"vector"}),
        build,
        has_pretrained=True,
        description=f"the transformer {model}" + (f", trained by updates of rank {rank}" if rank else ""),
    )


def _build(model: str, rank: int, pretrained: bool) -> nn.Module:
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError:
        raise DazooError("transformers as backbones need: pip install 'dazoo[text]'") from None
    try:
        config = AutoConfig.from_pretrained(model)
        made = AutoModel.from_pretrained(model, dtype=torch.float32) if pretrained else AutoModel.from_config(config)
    except Exception as error:
        raise DazooError(
            f"the transformer {model!r} cannot be loaded ({str(error).splitlines()[0][:160]}); it must be a folder, "
            "or a name that the Hugging Face hub knows and can be reached"
        ) from None
    if rank:
        _low_rank(made, rank)
    return TokenEncoder(made, int(config.hidden_size))


def _low_rank(model: nn.Module, rank: int) -> None:
    """Updates B A of every linear layer; all other weights stand still."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise DazooError("low-rank updates need the library peft; run: pip install 'dazoo[peft]'") from None
    names = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and "pooler" not in n]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=names)
    inject_adapter_in_model(config, model)
