"""What the engine holds of one training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from dazoo.engine.asking import Questions
from dazoo.engine.feed import Feed, Preparer
from dazoo.engine.units import Units
from dazoo.engine.watch import Looks
from dazoo.methods.base import GradientMethod
from dazoo.nets.net import Net


@dataclass
class Member:
    """One run: a method with its hyper-parameters, its network and its batches; for values, the units it learns in."""

    method: GradientMethod
    net: Net
    feed: Feed
    prepare: Preparer
    memory: dict[str, Tensor] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    notes: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    looks: Looks = field(default_factory=Looks)
    units: Units | None = None
    questions: Questions | None = None  # in the active setting
