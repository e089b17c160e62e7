"""Pictures and names of classes in one space, by a frozen vision-language model.

    f(x) = image(view(x)) / ||.||,    t_c = text(prompt with c) / ||.||        both (d,)

``model`` is a name on the Hugging Face hub, or a folder, of a CLIP model of transformers; pictures are seen as its
image processor says. Methods of the family ``language`` read the names (``Seen.words``), all others the pictures alone.
Nothing is fitted; features of pictures are kept on disk by content. A model file holds the name of the encoder and not
its weights, so the same encoder has to be there when it predicts.

    dazoo.fit("zero_shot", task, encoder={"name": "clip", "prompt": "a sketch of a {}"})

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
arXiv:2103.00020.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from dazoo.core.errors import DazooError
from dazoo.core.hparam import hp
from dazoo.data.registry import cache_root
from dazoo.encoders.base import Encoder, Fitted, register
from dazoo.nets.frozen import read, write


@dataclass(frozen=True)
class FittedClip(Fitted):
    """``model`` as it was named, ``release`` a hash of its weights; ``prompt`` holds {} in the place of a class."""

    alike = True
    model: str
    release: str
    prompt: str = "a photo of a {}"
    batch: int = 32

    def said(self) -> list[str]:
        return [f"pictures are read as frozen features of {self.model}, with names of classes as {self.prompt!r}"]

    def __call__(self, x: Any) -> Tensor:
        content = hashlib.sha256(np.ascontiguousarray(x.numpy()).tobytes() + repr(tuple(x.shape)).encode())
        content.update(self.release.encode())
        path = cache_root() / "encoded" / f"{content.hexdigest()}.safetensors"
        made = read(path, len(x))
        if made is None:
            made = self._embedded(x)
            write(path, made)
        return made

    def _embedded(self, x: Tensor) -> Tensor:
        net, process, _ = loaded(self.model)
        rows = []
        with torch.no_grad():
            for part in x.split(self.batch):
                colour = part if part.shape[-1] == 3 else part[..., :1].expand(-1, -1, -1, 3)
                seen = process(list(colour.numpy()), return_tensors="pt", input_data_format="channels_last")
                rows.append(_features(net.get_image_features(pixel_values=seen["pixel_values"])))
        return normalize(torch.cat(rows), dim=1) if rows else torch.zeros(0, net.config.projection_dim)

    def of_names(self, classes: tuple[str, ...]) -> Tensor:
        """Features (K, d) of the prompts, of norm 1."""
        net, _, tokens = loaded(self.model)
        texts = [self.prompt.format(name.replace("_", " ")) for name in classes]
        with torch.no_grad():
            seen = tokens(texts, padding=True, truncation=True, return_tensors="pt")
            found = net.get_text_features(input_ids=seen["input_ids"], attention_mask=seen["attention_mask"])
        return normalize(_features(found), dim=1)


@register
class Clip(Encoder):
    """Frozen features of pictures and of names of classes."""

    takes = ("image",)
    gives_names = True

    model: str = hp("openai/clip-vit-base-patch32", help="a CLIP model on the Hugging Face hub, or a folder with one")
    prompt: str = hp("a photo of a {}", help="the text of a class; {} stands for its name")
    batch: int = hp(32, least=1, most=4096, help="pictures per forward pass")

    def fit(self, source: Any, target: Any) -> FittedClip:
        if "{}" not in self.prompt:
            raise DazooError(f"clip.prompt must hold {{}} in the place of a class name; it is {self.prompt!r}")
        net, _, _ = loaded(self.model)
        weights = hashlib.sha256()
        for name, value in net.state_dict().items():
            weights.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        return FittedClip(self.model, weights.hexdigest()[:16], self.prompt, self.batch)


@lru_cache(maxsize=2)
def loaded(model: str) -> tuple[Any, Any, Any]:
    """The model in evaluation mode, its image processor and its tokeniser.

    Raises:
        DazooError: transformers is not installed, or there is no such model within reach.
    """
    try:
        from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel
    except ImportError as error:
        raise DazooError("the encoder 'clip' needs transformers; pip install 'dazoo[text]'") from error
    try:
        net = CLIPModel.from_pretrained(model).eval()
        return net, CLIPImageProcessor.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise DazooError(
            f"there is no CLIP model {model!r} within reach ({str(error).splitlines()[0][:160]}); name a folder that "
            "holds one, or a name on the Hugging Face hub where that can be reached"
        ) from error


def _features(found: Any) -> Tensor:
    """The projected features (n, d), which transformers returns by themselves or in an output."""
    made: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return made.float()
