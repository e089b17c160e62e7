"""Texts as numbers of tokens, for a transformer that is trained: (n, length) whole numbers, 0 where a text has ended.

The tokenizer is that of ``model``, a folder or a name on the Hugging Face hub; numbers are moved up by one, so that 0
is free for "no token". The backbone ``transformers/<model>`` reads them. Longer texts lose their end; ``length`` 0
takes the number of tokens below which 95 of 100 texts of the source and the target stay, at most 128.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.hparam import hp
from dazoo.encoders.base import Encoder, Fitted, register
from dazoo.nets.hub import check_there, installed

LONGEST, SHARE = 128, 0.95


@dataclass(frozen=True)
class FittedTokens(Fitted):
    """``model`` as it was named, ``length`` of the rows."""

    makes = "text"
    model: str
    length: int

    @property
    def backbone(self) -> str:
        return f"transformers/{self.model}"

    def __call__(self, x: Any) -> Tensor:
        rows = _tokens(self.model, list(x), self.length)
        made = torch.zeros(len(rows), self.length, dtype=torch.int64)
        for row, tokens in zip(made, rows):
            row[: len(tokens)] = torch.tensor(tokens, dtype=torch.int64) + 1
        return made


@register
class Tokens(Encoder):
    """Numbers of the tokens of texts, for transformers that are trained."""

    takes = ("text",)

    model: str = hp("sentence-transformers/all-MiniLM-L6-v2", help="whose tokenizer: a folder, or a name on the hub")
    length: int = hp(0, least=0, most=100_000, help="tokens per text at most; 0 takes that of the texts")

    def fit(self, source: Any, target: Any) -> FittedTokens:
        lengths = [len(t) for t in _tokens(self.model, [*source, *target], LONGEST)]
        return FittedTokens(self.model, self.length or max(4, int(np.quantile(lengths, SHARE))))


def _tokens(model: str, texts: list[str], length: int) -> list[list[int]]:
    tokenizer = _tokenizer(model)
    found: list[list[int]] = tokenizer(texts, truncation=True, max_length=length, padding=False)["input_ids"]
    return found


@lru_cache(maxsize=2)
def _tokenizer(model: str) -> Any:
    if installed("transformers"):
        check_there(model, f"the tokenizer of {model!r}", ())
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise DazooError("tokens need the library transformers: pip install 'dazoo[text]'") from None
    try:
        return AutoTokenizer.from_pretrained(model)
    except Exception as error:
        raise DazooError(
            f"the tokenizer of {model!r} cannot be loaded ({str(error).splitlines()[0][:160]}); it must be a folder, "
            "or a name that the Hugging Face hub knows and can be reached"
        ) from None
