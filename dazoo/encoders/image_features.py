"""Pictures as frozen features of a pretrained network, so that what reads vectors reads pictures.

    f(x) = backbone(view(x)),    the backbone in evaluation mode; ``none`` flattens the pixels.

Nothing is fitted; features are kept on disk by content, as those of suites are. Chosen by name only:
``dazoo.fit("coral", task, encoder="image_features")`` and ``dazoo adapt``, whose models then read pictures by
themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.data.domain import Domain
from dazoo.encoders.base import Encoder, Fitted, register
from dazoo.nets.frozen import frozen


@dataclass(frozen=True)
class FittedImageFeatures(Fitted):
    """Nothing is fitted but the name of the ``network``; ``raw`` flattens."""

    alike = True
    network: str

    def __call__(self, x: Any) -> Tensor:
        made: Tensor = frozen(Domain("samples", x, None, (), "image"), self.network).x
        return made

    def said(self) -> list[str]:
        how = "pixels as they are" if self.network == "none" else f"frozen features of {self.network}"
        return [f"pictures are read as {how}"]


@register
class ImageFeatures(Encoder):
    """Frozen features of a pretrained backbone."""

    takes = ("image",)

    backbone: str = hp("tf_efficientnet_lite0", help="a pretrained backbone, or none for the pixels themselves")

    def fit(self, source: Any, target: Any) -> FittedImageFeatures:
        return FittedImageFeatures(self.backbone)
