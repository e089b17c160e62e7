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
            the iteration number; ``cosine``; ``onecycle`` (5 % warm-up, cosine); ``stairs``: times ``gamma`` after
            every share ``stair`` of training.
        steps: iterations. batch: samples per domain and iteration.
        bottleneck: width of the bottleneck, 0 for none; ``norm``: ``none``, ``batch``, ``layer`` or ``group``.
        joint_norm: one forward pass for both domains where there is batch normalisation.
        freeze_norm: the backbone's batch-norm statistics stay as pretrained, unless a method is about them (its
            ``own_norms``).
        frozen_stages: the stem and so many stages of a timm backbone stay as pretrained; 0: all of it learns.
        compile: ``none``, or the compiler of ``torch.compile`` that turns the backbone's layers into fewer kernels
            (``inductor``; ``eager`` only traces them). Runs that train as one group are not compiled.
        ramp: weight of adversarial terms over time: ``sigmoid``: 2 / (1 + exp(-10 p)) - 1 over the fraction p;
            ``sigmoid_step``: 2 / (1 + exp(-i / 1000)) - 1 over the iteration i; ``constant``: 1.
        augment: ``none``, ``weak`` (random crop and flip for images) or ``resized`` (crop of random size and shape and
            flip for images; other samples as ``weak``).
        precision: ``fp32``, ``bf16`` or ``fp16`` (fp16 on CUDA only) inside the parts of the network; losses are
            always computed in float32.
        accumulate: micro-batches per step, of at least two samples each. recompute: activation checkpointing in the
            backbone.
        grad_clip: largest gradient norm, 0 for none.
        few_steps: iterations of methods that start from a fitted model and train on few labels; 0 means ``steps``.
        epochs: passes over the source (over the largest domain in use where a method reads no source); they replace
            ``steps``, whose number then follows from the data. 0: ``steps`` counts.
        stair: share of training between two drops of the schedule ``stairs``.
        ramp_rate: the 10 of the ramp ``sigmoid``.
        cycle: ``fresh``: a domain that is exhausted is shuffled anew; ``repeat``: within a pass over the source the
            target's batches come again in the same order, and each pass shuffles the target anew.
        test_view: what images are predicted from: ``centre`` crop, the whole image ``squashed`` to a square, or the
            ``squashed_centre`` crop of that; training crops come from the squashed image in both cases.
        smooth: share of label smoothing where classes that were given are learned.
        head: ``linear``, or ``weight_norm``: a row of the weights is a direction and a length of its own.
        activation: what ends the bottleneck: ``relu`` or ``none``.
        body_norm: normalisation between the layers of a backbone of dazoo's own (``mlp``, ``cnn1d`` ...): as ``norm``.
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
    epochs: int = 0
    stair: float = 1.0
    ramp_rate: float = 10.0
    cycle: str = "fresh"
    test_view: str = "centre"
    smooth: float = 0.0
    head: str = "linear"
    activation: str = "relu"
    body_norm: str = "none"
    frozen_stages: int = 0
    compile: str = "none"

    def __post_init__(self) -> None:
        for field, allowed in CHOICES.items():
            if getattr(self, field) not in allowed:
                raise DazooError(
                    f"recipe {self.name!r}: {field} must be one of {list(allowed)}, not {getattr(self, field)!r}"
                )
        for field in ("steps", "batch", "accumulate"):
            if getattr(self, field) < 1:
                raise DazooError(f"recipe {self.name!r}: {field} must be at least 1, not {getattr(self, field)!r}")
        for field, most in MOST.items():
            if getattr(self, field) > most:
                raise DazooError(
                    f"recipe {self.name!r}: {field} must be at most {most:,}, not {getattr(self, field):,}"
                )
        if self.epochs < 0 or not 0 < self.stair <= 1:
            raise DazooError(f"recipe {self.name!r}: epochs must not be negative, and stair lie in (0, 1]")
        not_negative = ("weight_decay", "grad_clip", "bottleneck", "few_steps", "gamma", "power", "frozen_stages")
        for field in ("lr", "backbone_lr", *not_negative):
            value = getattr(self, field)
            if not (math.isfinite(value) and value >= 0):
                raise DazooError(f"recipe {self.name!r}: {field} must not be negative, not {value!r}")
        for field, value in [
            ("momentum", self.momentum),
            ("dropout", self.dropout),
            ("smooth", self.smooth),
            *(("betas", b) for b in self.betas),
        ]:
            if not 0 <= value < 1:
                raise DazooError(f"recipe {self.name!r}: {field} must lie in [0, 1), not {value!r}")

    @staticmethod
    def named(name: str, **overrides: Any) -> Recipe:
        """A named recipe, with some fields changed.

        Raises:
            UnknownName: no such recipe or field, with the nearest names.
        """
        if name not in RECIPES:
            raise UnknownName(f"unknown recipe {name!r}: {nearest(name, RECIPES)}")
        base = RECIPES[name]
        if "steps" in overrides:  # a number of steps stands instead of a number of epochs
            overrides = {"epochs": 0, **overrides}
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

    @staticmethod
    def from_json(data: dict[str, Any]) -> Recipe:
        """The recipe that ``to_json`` wrote; ``hash`` may stand beside the fields."""
        fields = {k: v for k, v in data.items() if k != "hash"}
        return Recipe(**{**fields, **({"betas": tuple(fields["betas"])} if "betas" in fields else {})})

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data; fields that recipes gained later stand there only where they are used, so that
        the hashes of older recipes stay what they were."""
        data = {**dataclasses.asdict(self), "betas": list(self.betas)}
        return {k: v for k, v in data.items() if k not in LATER or v != LATER[k]}

    def counted(self, per_epoch: int) -> Recipe:
        """The recipe with its number of steps, where that follows from ``epochs`` of ``per_epoch`` iterations."""
        return dataclasses.replace(self, steps=self.epochs * per_epoch) if self.epochs else self

    def for_values(self) -> Recipe:
        """The recipe under squared error, whose gradients have no bound: SGD, whose steps are as long as the gradient,
        clips it at norm 1 where the recipe says nothing. Adam's steps have a length of their own."""
        unbounded = self.optimizer == "sgd" and not self.grad_clip
        return dataclasses.replace(self, grad_clip=1.0) if unbounded else self

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
        if self.schedule == "stairs":
            # a step that is a drop's place but for rounding is after the drop
            return float(self.gamma ** math.floor(p / self.stair + 1e-9))
        return 1.0

    def ramp_at(self, step: int) -> float:
        """Weight of adversarial terms at an iteration, in [0, 1]."""
        if self.ramp == "sigmoid":
            return 2 / (1 + math.exp(-self.ramp_rate * step / max(1, self.steps))) - 1
        if self.ramp == "sigmoid_step":
            return 2 / (1 + math.exp(-step / 1000)) - 1
        return 1.0


MOST = {
    "steps": 100_000_000, "few_steps": 100_000_000, "epochs": 1_000_000, "batch": 100_000, "accumulate": 100_000,
    "bottleneck": 100_000,
}  # fmt: skip
"""What no training on one machine exceeds; more is a slip of the finger, and would fill the memory or never end."""
CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("sgd", "adam", "adamw"),
    "schedule": ("constant", "inverse", "inverse_step", "cosine", "onecycle", "stairs"),
    "norm": ("none", "batch", "layer", "group"),
    "body_norm": ("none", "batch", "layer", "group"),
    "ramp": ("sigmoid", "sigmoid_step", "constant"),
    "augment": ("none", "weak", "resized"),
    "precision": ("fp32", "bf16", "fp16"),
    "cycle": ("fresh", "repeat"),
    "test_view": ("centre", "squashed", "squashed_centre"),
    "head": ("linear", "weight_norm"),
    "activation": ("relu", "none"),
    "compile": ("none", "inductor", "eager"),
}
# fields that came after the first published records, with the values that leave things as they were
LATER: dict[str, Any] = {
    "epochs": 0, "stair": 1.0, "ramp_rate": 10.0, "cycle": "fresh", "test_view": "centre", "smooth": 0.0,
    "head": "linear", "activation": "relu", "body_norm": "none", "frozen_stages": 0,
    "compile": "none",
}  # fmt: skip

RECIPES: dict[str, Recipe] = {
    r.name: r
    for r in (
        # vectors from a frozen network: a bottleneck and a head on top. With no normalisation in the bottleneck feature
        # norms run away under losses that have no scale of their own (MSTN, DDC, AFN, WDGRL)
        Recipe(
            "frozen", optimizer="sgd", lr=0.03, weight_decay=1e-3, schedule="inverse", steps=300, batch=32,
            bottleneck=256, norm="batch", few_steps=200,
        ),
        # the same as SHOT and those after it train a source model: smoothed labels, a bottleneck that ends with its
        # normalisation, a head of normed weights
        Recipe(
            "source_free", optimizer="sgd", lr=0.03, weight_decay=1e-3, schedule="inverse", steps=300, batch=32,
            bottleneck=256, norm="batch", few_steps=200, smooth=0.1, head="weight_norm", activation="none",
        ),
        # small nets from scratch on 8x8 digits
        Recipe("digits", optimizer="adam", lr=1e-3, steps=600, batch=32, bottleneck=64, few_steps=200),
        # series from sensors: the convolutional network of AdaTime has batch normalisation after every layer
        Recipe(
            "series", optimizer="adam", lr=1e-3, steps=600, batch=32, bottleneck=64, few_steps=200, body_norm="batch",
        ),
        # texts through a pretrained transformer
        Recipe(
            "text", optimizer="adam", lr=1e-3, backbone_lr=0.03, steps=150, batch=16, bottleneck=0, few_steps=50,
        ),
        # values from vectors: squared error and batch statistics do not go together, since a batch's own mean and
        # deviation add noise to what must be predicted to the last digit; Adam suits every size of gradient
        Recipe("values", optimizer="adam", lr=1e-3, steps=500, batch=32, bottleneck=256, few_steps=200),
        # Transfer-Learning-Library, examples/domain_adaptation/image_classification, its settings of DANN on Office-31.
        # Images are squashed to a square, of which training crops and the central crop are taken. A method's own values
        # there (batch 36, lr 0.003 of DAN) are no recipe; its choice of the checkpoint by target accuracy is a
        # selection rule (oracle).
        Recipe(
            "tllib", optimizer="sgd", lr=0.01, backbone_lr=0.1, weight_decay=1e-3, schedule="inverse_step", gamma=1e-3,
            steps=20000, batch=32, bottleneck=256, norm="batch", joint_norm=True, ramp="sigmoid_step",
            augment="resized", test_view="squashed_centre",
        ),
        # DeepDA of the transferlearning repository, DANN.yaml: both domains in forward passes of their own, no batch
        # normalisation in the bottleneck, images squashed to a square, a ramp that ends at 0.46. The batch
        # normalisation inside its discriminator is the method's.
        Recipe(
            "deepda", optimizer="sgd", lr=0.01, backbone_lr=0.1, nesterov=False, weight_decay=1e-3,
            schedule="inverse_step", gamma=1e-3, steps=10000, batch=32, bottleneck=256, ramp_rate=1.0, augment="weak",
            test_view="squashed",
        ),
        # skada-bench, deep methods on Office-Home: no bottleneck, one rate for all parts, no augmentation, both domains
        # in one pass, 20 epochs with a drop every 10. Its 20 % of the target held out is the suite's target_holdout;
        # DANN's own rate there (a tenth, momentum 0.9) and the V2 weights of the backbone are no recipe.
        Recipe(
            "skada_bench", optimizer="sgd", lr=0.05, momentum=0.6, nesterov=False, weight_decay=1e-5,
            schedule="stairs", gamma=0.2, stair=0.5, epochs=20, batch=128, bottleneck=0, joint_norm=True,
            ramp="constant",
        ),
        # AdaTime: 40 epochs of the source's batches against a cycled target, nothing between network and classifier;
        # its StepLR never drops within 40 epochs. The discriminator's own betas (0.5, 0.99), the dropout inside its
        # convolutional network and the loss weights found by its random search are no recipe.
        Recipe(
            "adatime", optimizer="adam", lr=1e-3, weight_decay=1e-4, epochs=40, batch=32, bottleneck=0, cycle="repeat",
        ),
        # the same, cut down to what two cores can do from photographs; with batches this small the backbone's
        # batch-norm statistics stay those of ImageNet
        Recipe(
            "images", optimizer="sgd", lr=0.01, backbone_lr=0.1, weight_decay=1e-3, schedule="inverse", steps=100,
            batch=16, bottleneck=256, norm="batch", joint_norm=True, freeze_norm=True, augment="weak", few_steps=50,
        ),
        # the same with the stem and the first five stages as pretrained (of EfficientNet-Lite0 two learn): another
        # problem than "images", for a fraction of its time
        Recipe(
            "images_late_stages", optimizer="sgd", lr=0.01, backbone_lr=0.1, weight_decay=1e-3, schedule="inverse",
            steps=100, batch=16, bottleneck=256, norm="batch", joint_norm=True, freeze_norm=True, augment="weak",
            few_steps=50, frozen_stages=5,
        ),
        # the same stages learn from what the first five made of each picture once (backbone NAME@5): every picture has
        # one view, so there is no augmentation
        Recipe(
            "images_cached_stages", optimizer="sgd", lr=0.01, backbone_lr=0.1, weight_decay=1e-3, schedule="inverse",
            steps=100, batch=16, bottleneck=256, norm="batch", joint_norm=True, freeze_norm=True, few_steps=50,
        ),
    )
}  # fmt: skip
