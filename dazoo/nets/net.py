"""The network every gradient method trains: named parts ``body`` (backbone, bottleneck) and ``head``, plus extras."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dazoo.core.errors import DazooError
from dazoo.nets.backbones.base import Backbone
from dazoo.nets.backbones.none import Flat
from dazoo.nets.lookup import get_backbone
from dazoo.nets.own import own_backbone
from dazoo.nets.parts.common import WeightNormLinear, bottleneck
from dazoo.nets.parts.held import held_features


@dataclass(frozen=True)
class NetSpec:
    """All that is needed to build a ``Net`` again: JSON-able.

    ``n_classes`` is 0 for regression. ``joint_norm`` sends source and target through batch-normalised bodies in one
    forward pass; otherwise each domain has its own pass and its own batch statistics. ``head``, ``activation``,
    ``smooth`` and ``body_norm`` are the recipe's. ``own`` is a module of the user's in the place of a named backbone;
    no file holds it. ``source_shape`` is that of source samples where they have features, and so a body, of their own.
    """

    backbone: str
    shape: tuple[int, ...]
    kind: str
    n_classes: int
    bottleneck: int
    norm: str = "none"
    dropout: float = 0.0
    pretrained: bool = True
    image_size: int | None = None
    joint_norm: bool = False
    n_sources: int = 1
    n_targets: int = 1
    head: str = "linear"
    activation: str = "relu"
    smooth: float = 0.0
    body_norm: str = "none"
    source_shape: tuple[int, ...] | None = None
    own: nn.Module | None = field(default=None, compare=False, repr=False)

    @property
    def entry(self) -> Backbone:
        """How the backbone is built."""
        return get_backbone(self.backbone) if self.own is None else own_backbone(self.own)

    def to_json(self) -> dict[str, object]:
        data = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "own"}
        shapes = {"shape": list(self.shape), "source_shape": self.source_shape and list(self.source_shape)}
        return {**data, **shapes}

    @staticmethod
    def from_json(data: dict[str, Any], own: nn.Module | None = None) -> NetSpec:
        shapes = {k: tuple(data[k]) for k in ("shape", "source_shape") if data.get(k) is not None}
        return NetSpec(**{**data, **shapes}, own=own)


class Body(nn.Module):
    """Backbone, then bottleneck: samples to features (n, width).

    Float inputs are first multiplied by ``scale``, one over the root mean square of the training samples, so that one
    learning rate suits data of any unit; images come normalised and have ``scale`` 1.
    """

    scale: Tensor

    def __init__(self, backbone: nn.Module, neck: nn.Module, width: int):
        super().__init__()
        self.register_buffer("scale", torch.ones(()))
        self.backbone = backbone
        self.bottleneck = neck
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bottleneck(self.backbone(x * self.scale))
        return out

    def each(self, *batches: Tensor) -> tuple[Tensor, ...]:
        """Features of each batch, as a call for each gives them, in their order: batch statistics are a batch's own.

        The linear layers before them, in which rows do not meet, take all batches at once: their weights are read once,
        and the gradients of all batches are one product.
        """
        neck = self.bottleneck
        hooked = any(m._forward_hooks or m._forward_pre_hooks for m in (self, self.backbone, neck))
        if hooked or type(neck) is not nn.Sequential or type(neck[0]) is not nn.Linear or not by_row(self.backbone):
            return tuple(self(x) for x in batches)
        first = neck[0](self.backbone(torch.cat(batches) * self.scale))
        return tuple(neck[1:](h) for h in first.split([len(x) for x in batches]))


class Net(nn.Module):
    """Named parts. ``net.body``, ``net.head`` always exist; a method's extras are attributes of the same rank.

    ``n_sources`` and ``n_targets`` are the numbers of domains that ``Batch.ds`` and ``Batch.dt`` count; ``setup`` may
    add a part for each. Where source and target have different features, ``body`` is the target's, and ``body_source``
    maps source samples to features of the same width.
    """

    body: Body
    body_source: Body | None
    head: nn.Linear
    n_sources: int = 1
    n_targets: int = 1
    smooth: float = 0.0

    if TYPE_CHECKING:  # a method's own parts

        def __getattr__(self, name: str) -> Any: ...

    def __init__(
        self, body: Body, head: nn.Module, regression: bool, joint_norm: bool, body_source: Body | None = None
    ):
        super().__init__()
        self.body = body
        self.body_source = body_source
        self.head = head  # type: ignore[assignment]
        self.regression = regression
        self.joint = body_source is None and one_pass(body, joint_norm)

    @property
    def of_source(self) -> Body:
        """The body that source samples go through."""
        return self.body if self.body_source is None else self.body_source

    def features(self, xs: Tensor, xt: Tensor, held: dict[str, Any] | None = None) -> tuple[Tensor, Tensor]:
        """Features of both batches, (b_s, width) and (b_t, width).

        In one pass where the recipe joins batch statistics or where rows do not meet, else with batch statistics of
        their own (``Body.each``): so the source half is bit for bit what a source-only method computes, unless the
        recipe joins batch statistics. With ``held`` (``Batch.held``) they serve all phases of an iteration up to the
        one that moves the body.
        """
        if held is not None:
            return held_features(self, held, xs, xt)
        if self.joint:
            both = self.body(torch.cat([xs, xt]))
            fs, ft = both.split([len(xs), len(xt)])  # one step backwards, unlike two slices
            return fs, ft
        if self.body_source is not None:
            return self.body_source(xs), self.body(xt)
        fs, ft = self.body.each(xs, xt)
        return fs, ft

    def criterion(self, scores: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of scores (n, C) with classes (n,), or the mean squared error of (n, 1) with values (n,).

        For labels that were given: classes are smoothed as the recipe says, ``(1 - smooth) onehot(y) + smooth / C``.
        """
        if self.regression:
            return F.mse_loss(scores.squeeze(1), y)
        return F.cross_entropy(scores, y, label_smoothing=self.smooth)


def one_pass(body: nn.Module, joint_norm: bool) -> bool:
    """Whether both domains may go through ``body`` in one batch: because their rows never meet there, or because a
    recipe joins their batch statistics."""
    return by_row(body) or (joint_norm and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in body.modules()))


def by_row(module: nn.Module) -> bool:
    """Whether rows do not meet in a module: those of linear layers come out the same, bit for bit, in whatever batch;
    those of convolutions need not."""
    layers = [m for m in module.modules() if not list(m.children())]
    return all(isinstance(m, (nn.Linear, nn.ReLU, nn.LayerNorm, nn.Identity, Flat)) for m in layers)


def part_seed(seed: int, part: str) -> int:
    """A seed of its own for every part, so that an extra part does not change how the others start."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{part}".encode()).digest()[:7], "big")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Global torch randomness set to ``seed`` inside the block and restored after it (module initialisers need it)."""
    if torch.cuda.is_available():
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
        return
    # torch.manual_seed keeps a stack trace for devices that are not there, which takes longer than small problems
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


def build_net(
    spec: NetSpec, seed: int, extras: Callable[[int, int], dict[str, nn.Module]], pretrained: bool | None = None
) -> Net:
    """A fresh network; ``extras(width, n_scores)`` returns a method's own parts by name."""
    wanted = spec.pretrained if pretrained is None else pretrained
    body = build_body(spec, spec.shape, seed, wanted)
    source = None if spec.source_shape is None else build_body(spec, spec.source_shape, part_seed(seed, "own"), wanted)
    width, n_scores = body.width, spec.n_classes or 1
    if source is not None and source.width != width:
        raise DazooError(
            f"source and target have bodies of width {source.width} and {width}; their features need a common width: "
            "use a recipe with a bottleneck"
        )
    with seeded(part_seed(seed, "head")):
        head = nn.Linear(width, n_scores) if spec.head == "linear" else WeightNormLinear(width, n_scores)
    net = Net(body, head, spec.n_classes == 0, spec.joint_norm, source)
    net.n_sources, net.n_targets, net.smooth = spec.n_sources, spec.n_targets, spec.smooth
    with seeded(part_seed(seed, "extras")):
        for name, module in extras(width, n_scores).items():
            if hasattr(net, name):
                raise DazooError(f"a method's part may not be called {name!r}; that name is taken")
            net.add_module(name, module)
    return net


def _norm_inside(spec: NetSpec) -> dict[str, str]:
    """The option of a backbone that says which normalisation is between its layers."""
    if spec.body_norm == "none":
        return {}
    if "norm" not in spec.entry.options:
        raise DazooError(
            f"backbone {spec.backbone!r} has its own normalisation, or none; use a recipe with body_norm='none', or "
            "the backbone 'mlp', 'cnn', 'cnn1d', 'tcn' or 'transformer1d'"
        )
    return {"norm": spec.body_norm}


def build_body(spec: NetSpec, shape: tuple[int, ...], seed: int, wanted: bool) -> Body:
    """Backbone, with pretrained weights where ``wanted``, and bottleneck for samples of ``shape``."""
    entry = spec.entry
    with seeded(part_seed(seed, "backbone")):
        known = entry.has_pretrained and wanted
        backbone = entry.make(shape, pretrained=known, image_size=spec.image_size, **_norm_inside(spec))
    raw = int(backbone.width)  # type: ignore[arg-type]
    with seeded(part_seed(seed, "bottleneck")):
        neck = bottleneck(raw, spec.bottleneck, spec.norm, spec.dropout, spec.activation == "relu")
    return Body(backbone, neck, spec.bottleneck or raw)


def parts_of(net: nn.Module, patterns: tuple[str, ...]) -> list[str]:
    """Names of the parameters that belong to parts such as ``"body"``, ``"body.bottleneck"`` or ``"*"``. A part may
    have none, as the body of frozen features without a bottleneck."""
    names = [n for n, _ in net.named_parameters()]
    if "*" in patterns:
        return names
    chosen = [n for n in names if any(n == p or n.startswith(p + ".") for p in patterns)]
    known = {*names, *(n for n, _ in net.named_modules())}
    for p in patterns:
        if p not in known:
            raise DazooError(f"no part {p!r} in this network; parts: {sorted({n.split('.')[0] for n in names})}")
    return chosen
