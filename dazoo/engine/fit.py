"""The one dispatch between families of methods: data and a method in, a fitted model out."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from dazoo.core.errors import DazooError
from dazoo.core.memo import Memo
from dazoo.core.types import Seen
from dazoo.engine.feed import Feed
from dazoo.engine.heap import kept_heap
from dazoo.engine.look import LazyLook
from dazoo.engine.member import Member
from dazoo.engine.outcome import Checkpoint, FitResult, Options
from dazoo.engine.predictor import NetPredictor, ShallowPredictor, frozen_copy
from dazoo.engine.prepare import preparer
from dazoo.engine.recipe import Recipe
from dazoo.engine.start import about_start, starting
from dazoo.engine.train import Loop
from dazoo.engine.trouble import check_single_precision, explained
from dazoo.engine.units import units_of
from dazoo.engine.vectors import doubles, standardised
from dazoo.engine.watch import check
from dazoo.methods.base import Context, GradientMethod, Method, ShallowMethod
from dazoo.nets.net import Net, NetSpec, build_net, part_seed, seeded
from dazoo.nets.own import OWN

OnCheckpoint = Callable[[Checkpoint], None]


def solver_of(cls: type[Method], recipe: Recipe | None) -> str:
    """``gradient`` or ``shallow``: how this method is fitted, given whether there is a recipe.

    Raises:
        DazooError: a method that needs gradient training, and no recipe.
    """
    if issubclass(cls, GradientMethod) and recipe is not None:
        return "gradient"
    if issubclass(cls, ShallowMethod):
        return "shallow"
    raise DazooError(f"method {cls.name!r} is trained by gradients and needs a recipe; none is given")


def fit(
    method: Method,
    seen: Seen,
    *,
    seed: int = 0,
    options: Options | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    memo: Memo | None = None,
    state: Path | None = None,
    notes: list[dict[str, Any]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> FitResult:
    """Fit one method.

    Args:
        seed: seeds every draw of the run; same seed, same bits on a CPU with one thread.
        on_checkpoint: called with each checkpoint.
        memo: shared by all runs on the same ``seen``.
        state: file in which a gradient run keeps its state, so that a killed one continues.
        notes: JSON-able rows kept with the state; the caller's own record of earlier checkpoints.
        progress: called with the number of finished steps.

    Raises:
        DazooError: the method does not fit the data, or fitting fails in a way the user can mend.
    """
    options = options or Options()
    check_fit(type(method), seen)
    if solver_of(type(method), options.recipe) == "gradient":
        assert isinstance(method, GradientMethod)
        return fit_group(
            [method],
            seen,
            seeds=[seed],
            options=options,
            on_checkpoint=None if on_checkpoint is None else lambda _, c: on_checkpoint(c),
            memo=memo,
            state=state,
            notes=None if notes is None else [notes],
            progress=progress,
        )[0]
    assert isinstance(method, ShallowMethod)
    return _fit_shallow(method, seen, seed, options, on_checkpoint, memo or Memo())


def check_fit(cls: type[Method], seen: Seen) -> None:
    """Whether a method can take such data at all; raises ``DazooError`` with the reason and the remedy."""
    problem = cls.handles.problem(seen.setting, baseline=True)
    if problem:
        known = ", ".join(sorted(s.name for s in cls.settings))
        raise DazooError(
            f"method {cls.name!r} does not run in the setting {seen.setting.name!r}: it {problem}; change the task's "
            f"setting to one of {known}"
        )
    wanted = "values" if seen.regression else "classes"
    if wanted not in cls.targets:
        raise DazooError(f"method {cls.name!r} predicts {sorted(cls.targets)}, but the task has {wanted}")
    if seen.source is not None and not seen.regression and len(torch.unique(seen.source.y)) < 2:
        raise DazooError("the source holds a single class; a classifier needs at least two")
    if seen.setting.target == "pool" and len(seen.target) < 2:
        raise DazooError("the target has a single sample; adaptation needs at least two")


# -- shallow ------------------------------------------------------------------------------------------------------


def _fit_shallow(
    method: ShallowMethod, seen: Seen, seed: int, options: Options, on_checkpoint: OnCheckpoint | None, memo: Memo
) -> FitResult:
    from dazoo.shallow.classifiers import classifier

    if seen.target.x.ndim != 2:
        raise DazooError(
            f"method {method.name!r} takes vectors, not {seen.kind} samples of shape {tuple(seen.target.x.shape[1:])}; "
            "use frozen features of a backbone"
        )
    device = torch.device(options.device)
    start, seen = starting(method, seen, seed, options, memo, fit)
    vectors = memo(("float64", options.device), lambda: doubles(seen, device, memo.domains))
    units = units_of(seen, True)
    if units is not None:
        vectors = memo(("standardised", options.device), lambda: standardised(vectors, units))
    vectors = dataclasses.replace(vectors, teacher=seen.teacher)
    chosen = options.classifier or classifier("ridge" if seen.regression else "logistic")
    context = Context(
        torch.Generator().manual_seed(part_seed(seed, "fit")),
        chosen,
        memo,
        start=None if start is None or method.handles.asks_only else start.predictor,
    )
    began = time.perf_counter()
    with seeded(seed), explained(method.name, seen):
        inner = method.fit(vectors, context)
    predictor = ShallowPredictor(inner, units, seen.setting.has_unknown)
    seconds = time.perf_counter() - began
    if on_checkpoint is not None:
        on_checkpoint(Checkpoint(1, 1.0, predictor))
    return FitResult(
        predictor, {}, list(context.warnings), {"solver": "shallow", "fit_seconds": seconds} | about_start(start)
    )


# -- gradient -----------------------------------------------------------------------------------------------------


def fit_group(
    methods: Sequence[GradientMethod],
    seen: Seen | Sequence[Seen],
    *,
    seeds: Sequence[int],
    options: Options,
    on_checkpoint: Callable[[int, Checkpoint], None] | None = None,
    memo: Memo | Sequence[Memo] | None = None,
    state: Path | None = None,
    notes: list[list[dict[str, Any]]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[FitResult]:
    """Train runs of one method class together (stacked when there are several) under one recipe.

    Members may differ by seed, by scalar hyper-parameters, and by data of the same shape: then ``seen`` and ``memo``
    hold one for each.

    Raises:
        DazooError: the members do not fit together, or a method does not fit its data.
        torch.cuda.OutOfMemoryError: the group is too large; a single run cuts its batches instead.
    """
    recipe, first = options.recipe, methods[0]
    if recipe is None:
        raise DazooError(f"method {first.name!r} is trained by gradients and needs a recipe")
    data = [seen] * len(methods) if isinstance(seen, Seen) else list(seen)
    bounded = recipe.for_values() if data[0].regression else recipe
    device = torch.device(options.device)
    if memo is None and not isinstance(seen, Seen):
        memo = [Memo() for _ in methods]
    memos = list(memo) if isinstance(memo, Sequence) else [memo or Memo()] * len(methods)
    spec = net_spec(data[0], recipe, options)
    if any(net_spec(other, recipe, options) != spec for other in data[1:]):
        raise DazooError("runs on samples of different shapes do not train as one group")
    if any(method.part_lr() != first.part_lr() for method in methods[1:]):
        raise DazooError("runs whose parts have different learning rates do not train as one group")
    if any(method.idle != first.idle for method in methods[1:]):
        raise DazooError("runs that learn and runs that do not are no group")
    prepare = preparer(spec, recipe.augment, recipe.channels_last, recipe.test_view)
    members: list[Member] = []
    starts: list[FitResult | None] = []
    for i, (method, seed) in enumerate(zip(methods, seeds)):
        check_fit(type(method), data[i])
        check_single_precision(data[i])
        start, data[i] = starting(method, data[i], seed, options, memos[i], fit)
        starts.append(start)
        origin = None if start is None or method.handles.asks_only else cast(NetPredictor, start.predictor)
        net = _start_net(method, data[i], seed, spec, memos[i], origin)
        own_head = origin is None or "head" in method.fresh
        units = units_of(data[i], method.uses_source, None if own_head else cast(NetPredictor, origin).units)
        if method.needs_batch_norm and not any(isinstance(m, _BatchNorm) for m in net.body.modules()):
            raise DazooError(
                f"method {method.name!r} acts on batch normalisation and this network has none; use a recipe with "
                "norm='batch' or a backbone with batch normalisation"
            )
        for part, rate in method.part_lr().items():
            if rate == 0:
                net.get_submodule(part).requires_grad_(False)
        net = _place(net, spec, recipe, device)
        feed = Feed(data[i], method, prepare, recipe.batch, seed, device, recipe.cycle, units)
        members.append(Member(method, net, feed, prepare, notes=notes[i] if notes else [], units=units))
    if len({(m.feed.epoch, m.feed.per_epoch) for m in members}) > 1:
        raise DazooError("runs with epochs of different lengths do not train as one group")
    if bounded != recipe:
        for member in members:
            member.warnings.append(
                f"recipe {recipe.name!r} does not clip gradients; under squared error they are, at norm 1"
            )
    recipe = bounded.counted(members[0].feed.per_epoch)
    steps = recipe.few_steps if recipe.few_steps and not first.uses_source else recipe.steps

    def checkpoint(i: int, step: int, fraction: float) -> None:
        if on_checkpoint is not None:
            on_checkpoint(i, Checkpoint(step, fraction, snapshot(members[i], spec, recipe)))

    loop = Loop(members, recipe, steps, device, options.checkpoints, checkpoint, state, options.save_every, progress)
    began = time.perf_counter()
    heap = kept_heap(device.type == "cpu" and spec.kind == "image")
    with seeded(part_seed(seeds[0], "loop")), heap, explained(first.name, data[0]):
        loop.run()
    seconds = time.perf_counter() - began
    samples = steps * recipe.batch * sum(k in members[0].feed.samplers for k in "stf") * len(members)
    info = {
        "solver": "gradient",
        "steps": steps,
        "fit_seconds": seconds,
        "samples_per_second": samples / max(seconds, 1e-9),
        "stacked": len(members),
        "parameters": sum(p.numel() for p in members[0].net.parameters()),
    }
    return [
        FitResult(snapshot(m, spec, recipe), m.curves, m.warnings, {**info, **_looked(m), **about_start(start)})
        for m, start in zip(members, starts)
    ]


def _looked(member: Member) -> dict[str, Any]:
    """What was measured of a run while it trained, and what is wrong by it (``engine.watch``)."""
    looks = member.looks.to_json()
    return {
        "gradient_shares": looks["shares"],
        "discriminators": looks["discriminators"],
        "findings": check(member.looks),
    }


def net_spec(seen: Seen, recipe: Recipe, options: Options) -> NetSpec:
    """The network of this data and recipe, the same for every method."""
    own = None if isinstance(options.backbone, str) else options.backbone
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
        head=recipe.head,
        activation=recipe.activation,
        smooth=recipe.smooth,
    )


def snapshot(member: Member, spec: NetSpec, recipe: Recipe) -> NetPredictor:
    """An evaluation model of a member as it stands; training goes on unharmed."""
    net, unsure = frozen_copy(member.net), member.feed.seen.setting.has_unknown
    if type(member.method).finish is not GradientMethod.finish:
        with torch.no_grad():
            member.method.finish(net, LazyLook(member, net))
        net.eval()
    return NetPredictor.of(member.method, net, spec, recipe.to_json(), member.prepare, member.units, unsure)


def _start_net(
    method: GradientMethod, seen: Seen, seed: int, spec: NetSpec, memo: Memo, origin: NetPredictor | None
) -> Net:
    """A fresh network, or one with the weights of ``origin`` in all parts that the method does not start anew."""
    net = build_net(spec, seed, method.build)
    if spec.own is None:  # a module of the user's sees the samples as they are
        net.body.scale.fill_(memo("input scale", lambda: _input_scale(seen)))
    if origin is not None:
        known = {
            k: v.cpu()
            for k, v in origin.state.items()
            if not any(k == p or k.startswith(p + ".") for p in method.fresh)
        }
        mine = net.state_dict()
        net.load_state_dict({**mine, **{k: v for k, v in known.items() if k in mine}})
    with seeded(part_seed(seed, "setup")):
        method.setup(net)
    return net


def _input_scale(seen: Seen) -> float:
    """One over the root mean square of the training samples; 1 for images, which are normalised as bytes."""
    part = seen.source if seen.source is not None else seen.target
    if not part.x.is_floating_point():
        return 1.0
    # in pieces that stay in the cache: ten times as fast as squares of the whole in double precision
    pieces = (piece.to(torch.float64) for piece in part.x.reshape(-1).split(1 << 14))
    size = math.sqrt(sum(float(torch.dot(piece, piece)) for piece in pieces) / max(1, part.x.numel()))
    return 1.0 / size if size > 0 else 1.0


def _place(net: Net, spec: NetSpec, recipe: Recipe, device: torch.device) -> Net:
    if recipe.recompute and hasattr(net.body.backbone, "set_grad_checkpointing"):
        cast(Any, net.body.backbone).set_grad_checkpointing(True)
    if recipe.channels_last and spec.kind == "image":
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.to(device=device)
    return net
