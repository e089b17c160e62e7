"""Recipes: everything about training that all methods of a suite share, as named and hashed data."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from dazoo.core.errors import DazooError, UnknownName, nearest


@dataclass(frozen=True)
class Recipe:
    """One way to train.

    Attributes:
        name: the named recipe it came from.
        optimizer: ``sgd`` (with ``momentum``, ``nesterov``), ``adam`` or ``adamw`` (with ``betas``).
        lr: learning rate of the new parts; the backbone has ``lr * backbone_lr``.
        schedule: ``constant``; ``inverse``: (1 + gamma p)^-power over the fraction p; ``inverse_step``: the same over
            the iteration number; ``cosine``; ``onecycle`` (5 % warm-up, cosine).
        steps: iterations. batch: samples per domain and iteration.
        bottleneck: width of the bottleneck, 0 for none; ``norm``: ``none``, ``batch`` or ``layer``.
        joint_norm: one forward pass for both domains where there is batch normalisation.
        freeze_norm: the backbone's batch-norm statistics stay as pretrained.
        ramp: weight of adversarial terms over time: ``sigmoid``: 2 / (1 + exp(-10 p)) - 1 over the fraction p;
            ``sigmoid_step``: 2 / (1 + exp(-i / 1000)) - 1 over the iteration i; ``constant``: 1.
        augment: ``none`` or ``weak`` (random crop and flip for images).
        precision: ``fp32``, ``bf16`` or ``fp16`` (fp16 on CUDA only).
        accumulate: micro-batches per step. recompute: activation checkpointing in the backbone.
        grad_clip: largest gradient norm, 0 for none.
        few_steps: iterations of methods that start from a fitted model and train on few labels; 0 means ``steps``.
    """

    name: str
    optimizer: str = "adam"
    lr: float = 1e-3
    backbone_lr: float = 1.0
    momentum: float = 0.9
    nesterov: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    schedule: str = "constant"
    gamma: float = 10.0
    power: float = 0.75
    steps: int = 500
    batch: int = 32
    bottleneck: int = 256
    norm: str = "none"
    dropout: float = 0.0
    joint_norm: bool = False
    freeze_norm: bool = False
    ramp: str = "sigmoid"
    augment: str = "none"
    precision: str = "fp32"
    channels_last: bool = True
    grad_clip: float = 0.0
    accumulate: int = 1
    recompute: bool = False
    few_steps: int = 0

    def __post_init__(self) -> None:
        for field, allowed in CHOICES.items():
            if getattr(self, field) not in allowed:
                raise DazooError(
                    f"recipe {self.name!r}: {field} must be one of {list(allowed)}, not {getattr(self, field)!r}"
                )
        for field in ("steps", "batch", "accumulate"):
            if getattr(self, field) < 1:
                raise DazooError(f"recipe {self.name!r}: {field} must be at least 1, not {getattr(self, field)!r}")

    @staticmethod
    def named(name: str, **overrides: Any) -> Recipe:
        """A named recipe, with some fields changed.

        Raises:
            UnknownName: no such recipe or field, with the nearest names.
        """
        if name not in RECIPES:
            raise UnknownName(f"unknown recipe {name!r}: {nearest(name, RECIPES)}")
        base = RECIPES[name]
        fields = {f.name: f for f in dataclasses.fields(Recipe)}
        for key, value in overrides.items():
            if key not in fields or key == "name":
                raise UnknownName(f"a recipe has no field {key!r}: {nearest(key, fields)}")
            kind = type(getattr(base, key))
            if kind is float and isinstance(value, int) and not isinstance(value, bool):
                overrides[key] = float(value)
            elif kind is tuple:
                overrides[key] = tuple(value)
            elif not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise DazooError(f"recipe field {key} must be {kind.__name__}, not {value!r}")
        return dataclasses.replace(base, **overrides)

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "betas": list(self.betas)}

    @property
    def hash(self) -> str:
        """Hash of all fields but the name: two names for one way to train are one recipe."""
        fields = {k: v for k, v in self.to_json().items() if k != "name"}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]

    def lr_factor(self, step: int) -> float:
        """Multiplier of the learning rate at an iteration."""
        p = step / max(1, self.steps)
        if self.schedule == "inverse":
            return float((1 + self.gamma * p) ** -self.power)
        if self.schedule == "inverse_step":
            return float((1 + self.gamma * step) ** -self.power)
        if self.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * p))
        if self.schedule == "onecycle":
            return p / 0.05 if p < 0.05 else 0.5 * (1 + math.cos(math.pi * (p - 0.05) / 0.95))
        return 1.0

    def ramp_at(self, step: int) -> float:
        """Weight of adversarial terms at an iteration, in [0, 1]."""
        if self.ramp == "sigmoid":
            return 2 / (1 + math.exp(-10 * step / max(1, self.steps))) - 1
        if self.ramp == "sigmoid_step":
            return 2 / (1 + math.exp(-step / 1000)) - 1
        return 1.0


CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("sgd", "adam", "adamw"),
    "schedule": ("constant", "inverse", "inverse_step", "cosine", "onecycle"),
    "norm": ("none", "batch", "layer"),
    "ramp": ("sigmoid", "sigmoid_step", "constant"),
    "augment": ("none", "weak"),
    "precision": ("fp32", "bf16", "fp16"),
}

RECIPES: dict[str, Recipe] = {
    r.name: r
    for r in (
        # vectors from a frozen network: a bottleneck and a head on top. With no normalisation in the bottleneck feature
        # norms run away under losses that have no scale of their own (MSTN, DDC, AFN, WDGRL)
        Recipe(
            "frozen", optimizer="sgd", lr=0.03, weight_decay=1e-3, schedule="inverse", steps=300, batch=32,
            bottleneck=256, norm="batch", few_steps=200,
        ),
        # small nets from scratch on 8x8 digits
        Recipe("digits", optimizer="adam", lr=1e-3, steps=600, batch=32, bottleneck=64, few_steps=200),
        # Transfer-Learning-Library, examples/domain_adaptation/image_classification
        Recipe(
            "tllib", optimizer="sgd", lr=0.01, backbone_lr=0.1, weight_decay=1e-3, schedule="inverse_step", gamma=1e-3,
            steps=20000, batch=32, bottleneck=256, norm="batch", joint_norm=True, ramp="sigmoid_step", augment="weak",
        ),
        # the same, cut down to what two cores can do from photographs; with batches this small the backbone's
        # batch-norm statistics stay those of ImageNet
        Recipe(
            "images", optimizer="sgd", lr=0.01, backbone_lr=0.1, weight_decay=1e-3, schedule="inverse", steps=100,
            batch=16, bottleneck=256, norm="batch", joint_norm=True, freeze_norm=True, augment="weak", few_steps=50,
        ),
    )
}  # fmt: skip
