"""The network that a run trains: built from data and recipe, with the weights it starts from, on its device."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import torch

from dazoo.core.blocks import some_of
from dazoo.core.errors import DazooError
from dazoo.core.memo import Memo
from dazoo.core.types import Seen
from dazoo.engine.outcome import Options
from dazoo.engine.predictor import NetPredictor
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import GradientMethod, StreamMethod
from dazoo.nets.net import Net, NetSpec, build_net, part_seed, seeded
from dazoo.nets.own import OWN
from dazoo.nets.stages import hold


def net_spec(seen: Seen, recipe: Recipe, options: Options) -> NetSpec:
    """The network of this data and recipe, the same for every method."""
    own = None if isinstance(options.backbone, str) else options.backbone
    if own is not None and seen.setting.spaces == "own":
        raise DazooError(
            "one module cannot be the body of two feature spaces; leave backbone= out, or give its outputs as samples"
        )
    return NetSpec(
        backbone=OWN if own is not None else str(options.backbone),
        own=own,
        shape=tuple(seen.target.x.shape[1:]),
        kind=seen.kind,
        n_classes=seen.n_classes,
        bottleneck=recipe.bottleneck,
        norm=recipe.norm,
        dropout=recipe.dropout,
        pretrained=options.pretrained,
        image_size=options.image_size,
        joint_norm=recipe.joint_norm,
        n_sources=seen.n_sources,
        n_targets=seen.n_targets,
        head=recipe.head,
        activation=recipe.activation,
        smooth=recipe.smooth,
        body_norm=recipe.body_norm,
        source_shape=seen.source_shape if seen.setting.spaces == "own" else None,
    )


def start_net(
    method: GradientMethod | StreamMethod, seen: Seen, seed: int, spec: NetSpec, memo: Memo, origin: NetPredictor | None
) -> Net:
    """A fresh network, or one with the weights of ``origin`` in all parts that the method does not start anew."""
    net = build_net(spec, seed, method.build)
    if spec.own is None and not spec.entry.as_is:  # a module of the user's sees the samples as they are
        if net.body_source is None:
            net.body.scale.fill_(memo("input scale", lambda: input_scale(seen)))
        else:
            net.body_source.scale.fill_(memo("input scale", lambda: input_scale(seen)))
            net.body.scale.fill_(memo("target scale", lambda: input_scale(replace(seen, source=None))))
    if origin is not None:
        known = {
            k: v.cpu()
            for k, v in origin.state.items()
            if not any(k == p or k.startswith(p + ".") for p in getattr(method, "fresh", ()))
        }
        mine = net.state_dict()
        net.load_state_dict({**mine, **{k: v for k, v in known.items() if k in mine}})
    with seeded(part_seed(seed, "setup")):
        method.setup(net)
    return net


def input_scale(seen: Seen) -> float:
    """One over the root mean square of the training samples; 1 for images, which are normalised as bytes."""
    part = seen.source if seen.source is not None else seen.target
    if not part.x.is_floating_point():
        return 1.0
    # in pieces that stay in the cache: ten times as fast as squares of the whole in double precision
    x = some_of(part.x)
    pieces = (piece.to(torch.float64) for piece in x.reshape(-1).split(1 << 14))
    size = math.sqrt(sum(float(torch.dot(piece, piece)) for piece in pieces) / max(1, x.numel()))
    return 1.0 / size if size > 0 else 1.0


def place(net: Net, spec: NetSpec, recipe: Recipe, device: torch.device) -> Net:
    """The network on its device, in the layout and with the memory that the recipe says."""
    if recipe.frozen_stages:
        hold(net.body.backbone, recipe.frozen_stages, f"backbone {spec.backbone!r}")
    if recipe.recompute and hasattr(net.body.backbone, "set_grad_checkpointing"):
        cast(Any, net.body.backbone).set_grad_checkpointing(True)
    if recipe.compile != "none":
        net.body.backbone.compile(backend=recipe.compile)  # its parameters keep their names
    if recipe.channels_last and spec.kind == "image":
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.to(device=device)
    return net
