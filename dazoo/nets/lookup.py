"""Backbones by name: dazoo's own, ``transformers/<model>``, and every model that timm knows."""

from __future__ import annotations

from dazoo.core.errors import UnknownName, nearest
from dazoo.nets.backbones._timm import timm_backbone, timm_names
from dazoo.nets.backbones._transformers import transformers_backbone
from dazoo.nets.backbones.base import BACKBONES, Backbone


def get_backbone(name: str) -> Backbone:
    """The backbone called ``name``: one of dazoo's, else the timm model of that name.

    Raises:
        UnknownName: neither knows the name; the message lists the nearest names of both.
    """
    if name in BACKBONES:
        return BACKBONES.get(name)
    found = transformers_backbone(name) or timm_backbone(name)
    if found is None:
        known = [*BACKBONES.names(), *timm_names()]
        raise UnknownName(f"unknown backbone {name!r}, neither dazoo's nor timm's: {nearest(name, known)}")
    return found
