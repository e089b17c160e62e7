"""The stages of a network that timm knows: its stem (0), then its blocks of layers (1, 2, ...), as timm counts them.

``hold`` keeps the first ones as they are while the others learn. ``NAME@5`` is the backbone NAME after its stage 5: it
reads what the stages up to there make of a picture, as one row of numbers, which ``frozen`` computes once per picture
and keeps (``early``). Pictures then have one view, the one that models predict from.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dazoo.core.errors import DazooError
from dazoo.nets.backbones._timm import TimmBody
from dazoo.nets.backbones.base import Backbone


def stages_of(body: nn.Module, name: str = "this backbone") -> list[list[str]]:
    """Names of the modules of every stage within ``body``, those inside another of the same stage left out.

    Raises:
        DazooError: it is no timm model, or one that timm cannot divide.
    """
    from timm.models._manipulate import group_with_matcher

    model: Any = body.model if isinstance(body, TimmBody) else None
    if not hasattr(model, "group_matcher"):
        raise DazooError(
            f"{name} has no stages that can be told apart; take a timm model such as tf_efficientnet_lite0"
        )
    inner = ((n, m) for n, m in model.named_modules() if n)
    groups = group_with_matcher(inner, model.group_matcher(coarse=True), return_values=False)
    found = [groups[k] for k in sorted(groups)]
    whole = [[f"model.{n}" for n in g if not any(n.startswith(f"{o}.") for o in g)] for g in found]
    # what no rule names is a container of stages, or the classifier that a backbone goes without
    return whole[:-1]


def held(body: nn.Module, upto: int, name: str = "this backbone") -> list[str]:
    """Names of the modules of the stem and the stages 1 to ``upto``.

    Raises:
        DazooError: it has no stages, or none would be left.
    """
    stages = stages_of(body, name)
    if not 0 < upto < len(stages) - 1:
        raise DazooError(
            f"{name} has {len(stages) - 1} stages, of which 1 to {len(stages) - 2} can be held, not {upto}"
        )
    return [module for stage in stages[: upto + 1] for module in stage]


def hold(body: nn.Module, upto: int, name: str = "this backbone") -> None:
    """No gradient to the stem and the stages 1 to ``upto``."""
    for module in held(body, upto, name):
        body.get_submodule(module).requires_grad_(False)


def divided(name: str) -> tuple[str, int] | None:
    """("NAME", 5) for ``NAME@5``; None for other names."""
    model, at, stage = name.partition("@")
    if not at:
        return None
    if not stage.isdigit() or not model:
        raise DazooError(f"backbone {name!r}: say <name>@<stage>, as in tf_efficientnet_lite0@5")
    return model, int(stage)


class _Reached(Exception):
    def __init__(self, found: Tensor):
        super().__init__()
        self.found = found


class Early(nn.Module):
    """Pictures (b, channels, size, size) to the flattened maps after a stage (b, width)."""

    def __init__(self, body: TimmBody, stage: int, name: str):
        super().__init__()
        held(body, stage, name)
        self.body, self.last = body, stages_of(body, name)[stage][-1]

    def maps(self, x: Tensor) -> Tensor:
        """The maps (b, C, h, w); what comes after the stage is not computed."""

        def stop(module: nn.Module, args: Any, out: Tensor) -> None:
            raise _Reached(out)

        handle = self.body.get_submodule(self.last).register_forward_hook(stop)
        try:
            self.body(x)
        except _Reached as reached:
            return reached.found
        finally:
            handle.remove()
        raise DazooError("the stage is never reached")

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x).flatten(1)


class Late(nn.Module):
    """The flattened maps after a stage (b, C * side * side) to features (b, width)."""

    def __init__(self, body: TimmBody, stage: int, channels: int, side: int, name: str):
        super().__init__()
        for module in held(body, stage, name):
            body.set_submodule(module, nn.Identity())
        self.body = body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.shape, self.width = (channels, side, side), body.width

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x.reshape(-1, *self.shape).contiguous(memory_format=torch.channels_last))
        return out


def early(name: str, entry: Backbone, stage: int) -> Backbone:
    """What of ``entry`` comes up to a stage, for pictures."""
    return replace(entry, name=name, build=partial(_build_early, name, entry, stage))


def late(name: str, entry: Backbone, stage: int) -> Backbone:
    """What of ``entry`` comes after a stage, for the rows that ``early`` makes."""
    text = f"{entry.name} after its stage {stage}, from rows kept by frozen: {entry.description}"
    build = partial(_build_late, name, entry, stage)
    return replace(
        entry, name=name, kinds=frozenset({"vector"}), build=build, image_size=None, as_is=True, description=text
    )


def _body(entry: Backbone, shape: tuple[int, ...], pretrained: bool, name: str) -> TimmBody:
    body = entry.build(shape, pretrained=pretrained)
    stages_of(body, name)
    assert isinstance(body, TimmBody)
    return body


def _build_early(name: str, entry: Backbone, stage: int, shape: tuple[int, ...], *, pretrained: bool) -> nn.Module:
    return Early(_body(entry, shape, pretrained, name), stage, name)


def _build_late(name: str, entry: Backbone, stage: int, shape: tuple[int, ...], *, pretrained: bool) -> nn.Module:
    size = entry.image_size or 224
    body = _body(entry, (3, size, size), pretrained, name)
    with torch.no_grad():
        maps = Early(body.eval(), stage, name).maps(torch.zeros(1, 3, size, size))
    side = math.isqrt(shape[0] // maps.shape[1]) if maps.ndim == 4 else 0
    if not side or maps.shape[1] * side * side != shape[0]:
        raise DazooError(
            f"backbone {name!r} reads maps of its stage {stage} as rows, and {shape[0]} numbers are none; make them of "
            f"pictures first (frozen(domain, {name!r}), in a suite 'frozen: true')"
        )
    return Late(body.train(), stage, maps.shape[1], side, name)
