"""Places inside a body where methods read and change what passes: outputs of its early layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from dazoo.core.errors import DazooError

Change = Callable[[Tensor], Tensor]
_STAGES = ("blocks", "stages", "layers")


class Tap(nn.Module):
    """Passes the output of ``layer`` through ``change`` while there is one."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.change: Change | None = None
        # a bound method: copies of the network get a tap of their own
        layer.register_forward_hook(self._passed)

    def _passed(self, layer: nn.Module, given: Any, out: Tensor) -> Tensor:
        return out if self.change is None else self.change(out)


@contextmanager
def changed(taps: Sequence[Tap], changes: Sequence[Change]) -> Iterator[None]:
    """Inside the block, each tap's outputs go through its change."""
    for tap, change in zip(taps, changes):
        tap.change = change
    try:
        yield
    finally:
        for tap in taps:
            tap.change = None


def early_layers(body: nn.Module, method: str) -> Sequence[nn.Module]:
    """The layers whose outputs are the body's first two feature maps (b, c, ...), or for vectors the first hidden layer
    (b, d).

    Of pictures and series they are the first two poolings of dazoo's own networks, and the first two stages of ResNets,
    EfficientNets and the like; of vectors the first ReLU.

    Raises:
        DazooError: the network has no such layer.
    """
    backbone: Any = body.backbone
    if _convolves(backbone):
        inner = getattr(backbone, "model", backbone)
        pools = [m for m in backbone.modules() if isinstance(m, (nn.MaxPool1d, nn.MaxPool2d))]
        if all(hasattr(inner, f"layer{i}") for i in (1, 2)):
            return [inner.layer1, inner.layer2]
        stages = next((s for n in _STAGES if isinstance(s := getattr(inner, n, None), nn.Sequential)), None)
        # what holds no convolution gives tokens (b, n, c), not maps
        if inner is not backbone and stages is not None and len(stages) > 1 and all(map(_convolves, stages[:2])):
            return [stages[0], stages[1]]
        if inner is backbone and pools:
            return pools[:2]
    else:
        hidden = [m for m in body.modules() if isinstance(m, nn.ReLU)]
        if hidden:
            return hidden[:1]
    raise DazooError(
        f"method {method!r} acts on the first feature maps of a network for pictures, or on the first hidden layer of "
        "one for vectors, and finds none here; take the backbone cnn, mlp, a ResNet or an EfficientNet, or a recipe "
        "with a bottleneck"
    )


def _convolves(module: nn.Module) -> bool:
    return any(isinstance(m, (nn.Conv1d, nn.Conv2d)) for m in module.modules())


def channels(body: nn.Module, layer: nn.Module) -> int:
    """Channels of the feature maps after ``layer``, by the last convolution up to it; 0 where it gives vectors."""
    every, inside = list(body.modules()), set(layer.modules())
    last = max(i for i, module in enumerate(every) if module in inside)
    convolutions = [m for m in every[: last + 1] if isinstance(m, (nn.Conv1d, nn.Conv2d))]
    return convolutions[-1].out_channels if convolutions else 0
