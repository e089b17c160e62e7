"""Backbones by name: dazoo's own, ``transformers/<model>``, every model that timm knows, and such after a stage."""

from __future__ import annotations

from dazoo.core.errors import UnknownName, nearest
from dazoo.nets.backbones._timm import timm_backbone, timm_names
from dazoo.nets.backbones._transformers import transformers_backbone
from dazoo.nets.backbones.base import BACKBONES, Backbone
from dazoo.nets.stages import divided, early, late


def get_backbone(name: str) -> Backbone:
    """The backbone called ``name``: one of dazoo's, else the timm model of that name.

    Raises:
        UnknownName: neither knows the name; the message lists the nearest names of both.
    """
    if name in BACKBONES:
        return BACKBONES.get(name)
    found = transformers_backbone(name)
    if found is None and (parts := divided(name)) is not None:
        return late(name, get_backbone(parts[0]), parts[1])
    found = found or timm_backbone(name)
    if found is None:
        known = [*BACKBONES.names(), *timm_names()]
        raise UnknownName(f"unknown backbone {name!r}, neither dazoo's nor timm's: {nearest(name, known)}")
    return found


def frozen_backbone(name: str) -> Backbone:
    """What makes fixed features of samples: the backbone ``name``, or what comes up to a stage of it."""
    parts = None if name in BACKBONES else divided(name)
    return get_backbone(name) if parts is None else early(name, get_backbone(parts[0]), parts[1])


def rest_of(name: str) -> str:
    """The backbone that reads fixed features of ``name``: what comes after a stage, else none."""
    return name if name not in BACKBONES and divided(name) is not None else "none"
