"""The one dispatch between families of methods: data and a method in, a fitted model out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from dazoo.core.errors import DazooError
from dazoo.core.memo import Memo
from dazoo.core.types import Seen
from dazoo.data.raw import Raw
from dazoo.engine import parallel
from dazoo.engine.asking import Questions
from dazoo.engine.build import net_spec, place, start_net
from dazoo.engine.by_source import fit_by_source
from dazoo.engine.feed import Feed
from dazoo.engine.heap import kept_heap
from dazoo.engine.look import LazyLook
from dazoo.engine.member import Member
from dazoo.engine.on_disk import for_method
from dazoo.engine.outcome import Checkpoint, FitResult, Options
from dazoo.engine.predictor import NetPredictor, ShallowPredictor, frozen_copy
from dazoo.engine.prepare import preparer
from dazoo.engine.recipe import Recipe
from dazoo.engine.start import about_start, starting, starting_each
from dazoo.engine.stream import fit_stream
from dazoo.engine.train import Loop
from dazoo.engine.trouble import check_single_precision, explained
from dazoo.engine.units import units_of
from dazoo.engine.vectors import doubles, standardised
from dazoo.engine.watch import check
from dazoo.methods.base import Context, GradientMethod, Method, ShallowMethod, StreamMethod
from dazoo.methods.on_disk import on_disk
from dazoo.nets.net import NetSpec, part_seed, seeded

OnCheckpoint = Callable[[Checkpoint], None]


def solver_of(cls: type[Method], recipe: Recipe | None) -> str:
    """``gradient``, ``shallow`` or ``stream``: how this method is fitted, given whether there is a recipe.

    Raises:
        DazooError: a method that needs gradient training, and no recipe.
    """
    if issubclass(cls, GradientMethod) and recipe is not None:
        return "gradient"
    if issubclass(cls, ShallowMethod):
        return "shallow"
    if issubclass(cls, StreamMethod) and recipe is not None:
        return "stream"
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
        progress: called with the number of finished steps; its ``begin``, where it has one, before the first
            (``engine.callbacks.Told``).

    Raises:
        DazooError: the method does not fit the data, or fitting fails in a way the user can mend.
    """
    options = options or Options()
    check_fit(type(method), seen)
    solver = solver_of(type(method), options.recipe)
    if solver == "gradient" and options.processes > 1 and parallel.current() is None:
        given = {"method": method, "seen": seen, "seed": seed, "options": options, "state": state}
        own = {"on_checkpoint": on_checkpoint, "notes": notes, "progress": progress}
        made: FitResult = parallel.team_of(options.processes, options.device)(fit, own, given)
        return made
    if solver == "gradient":
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
    if isinstance(method, StreamMethod):
        start, rest = starting(method, seen, seed, options, memo or Memo(), fit)
        assert start is not None
        return fit_stream(method, rest, start, seed, options, memo or Memo(), on_checkpoint, seen.origin, state)
    assert isinstance(method, ShallowMethod)
    return _fit_shallow(method, seen, seed, options, on_checkpoint, memo or Memo())


def check_fit(cls: type[Method], seen: Seen) -> None:
    """Whether a method can take such data at all; raises ``DazooError`` with the reason and the remedy."""
    problem = cls.handles.problem(seen.setting, baseline=True)
    if problem:
        raise DazooError(
            f"method {cls.name!r} does not run in the setting {seen.setting.name!r}: it {problem}; {_remedy(cls, seen)}"
        )
    if seen.setting.spaces == "own" and max(len(seen.source_shape), len(seen.target_shape)) > 1:
        raise DazooError(
            f"methods for different feature spaces take vectors, not samples of shapes {seen.source_shape} and "
            f"{seen.target_shape}; use frozen features of a backbone"
        )
    if isinstance(seen.target.x, Raw):
        raise DazooError(
            f"methods take numbers, but the samples are of the kind {seen.kind!r}; encode the task first "
            "(dazoo.fit does, and a suite by its key 'encoder')"
        )
    if seen.setting.target == "unseen" and getattr(cls, "uses_target", False):
        raise DazooError(
            f"method {cls.name!r} reads batches of the target (uses_target), which is unseen in {seen.setting.name!r}"
        )
    wanted = "values" if seen.regression else "classes"
    if wanted not in cls.targets:
        raise DazooError(f"method {cls.name!r} predicts {sorted(cls.targets)}, but the task has {wanted}")
    if (
        seen.source is not None
        and not seen.regression
        and seen.setting.labelled
        and len(torch.unique(seen.source.y)) < 2
    ):
        raise DazooError("the source holds a single class; a classifier needs at least two")
    if seen.setting.marked == "query" and seen.ask is None and seen.few is None:
        raise DazooError("the active setting needs target samples whose labels can be asked for, and there are none")
    if seen.setting.target == "pool" and len(seen.target) < 2:
        raise DazooError("the target has a single sample; adaptation needs at least two")


def _remedy(cls: type[Method], seen: Seen) -> str:
    """What to do about a method that does not run in a setting, in words."""
    asked = seen.setting
    if asked.spaces == "own" and not cls.handles.problem(asked.change(spaces="same"), baseline=True):
        return (
            "source and target have different features here: take a method for such tasks (dazoo list methods "
            f"--setting {asked.name}), or bring both to one space first, as common_pca and random_projection do"
        )
    return f"change the task's setting to one of {', '.join(sorted(s.name for s in cls.settings))}"


# -- shallow ------------------------------------------------------------------------------------------------------


VECTORS_OF = {
    "series": "take the encoder 'statistics' (dazoo.fit does by itself, a suite by its key 'encoder')",
    "audio": "take the encoder 'log_mel' with form 'vector' (a suite by its key 'encoder')",
}
"""What makes vectors of samples of a kind, for a person who has none."""


def _fit_shallow(
    method: ShallowMethod, seen: Seen, seed: int, options: Options, on_checkpoint: OnCheckpoint | None, memo: Memo
) -> FitResult:
    from dazoo.shallow.classifiers import classifier

    if seen.target.x.ndim != 2 or seen.kind == "text":
        raise DazooError(
            f"method {method.name!r} takes vectors, not {seen.kind} samples of shape {tuple(seen.target.x.shape[1:])}; "
            f"{VECTORS_OF.get(seen.kind, 'use frozen features of a backbone')}"
        )
    said: list[str] = []
    if on_disk(seen):
        seen, said = for_method(method, seen, seed, options.sample)
    device = torch.device("cpu" if on_disk(seen) else options.device)
    start, seen = starting(method, seen, seed, options, memo, fit)
    vectors = memo(("float64", str(device), len(said)), lambda: doubles(seen, device, memo.domains))
    units = units_of(seen, True)
    if units is not None:
        vectors = memo(("standardised", options.device), lambda: standardised(vectors, units))
    vectors = dataclasses.replace(vectors, teacher=seen.teacher)
    chosen = options.classifier or classifier("ridge" if seen.regression else "logistic")
    context = Context(
        torch.Generator().manual_seed(part_seed(seed, "fit")),
        chosen,
        memo,
        warnings=said,
        sample=options.sample,
        on_disk=bool(said),
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
    if first.one_by_one and data[0].setting.n_sources == "many" and data[0].n_sources > 1:
        return [
            fit_by_source(
                m, data[i], fit, seed=seeds[i], options=options, memo=memos[i], state=state, progress=progress,
                on_checkpoint=None if on_checkpoint is None else partial(on_checkpoint, i),
            )
            for i, m in enumerate(methods)
        ]  # fmt: skip
    spec = net_spec(data[0], recipe, options)
    if any(net_spec(other, recipe, options) != spec for other in data[1:]):
        raise DazooError("runs on samples of different shapes do not train as one group")
    if any(method.part_lr() != first.part_lr() for method in methods[1:]):
        raise DazooError("runs whose parts have different learning rates do not train as one group")
    if any(method.idle != first.idle for method in methods[1:]):
        raise DazooError("runs that learn and runs that do not are no group")
    prepare = preparer(spec, recipe.augment, recipe.channels_last, recipe.test_view)
    group, shared = parallel.current(), False
    members: list[Member] = []
    starts: list[FitResult | None] = []
    for i, (method, seed) in enumerate(zip(methods, seeds)):
        check_fit(type(method), data[i])
        check_single_precision(data[i])
        models = starting_each(method, data[i], seed, options, memos[i], fit) if method.joins_models else []
        start, data[i] = starting(method, data[i], seed, options, memos[i], fit, models)
        starts.append(start)
        origin = None if start is None or method.handles.asks_only else cast(NetPredictor, start.predictor)
        net = start_net(method, data[i], seed, spec, memos[i], origin)
        for model, one in zip(models, net.models if models else ()):
            one.load_state_dict({k: cast(NetPredictor, model.predictor).state[k].cpu() for k in one.state_dict()})
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
        net = place(net, spec, recipe, device)
        shared = group is not None and group.spread(net, method.name)
        feed = Feed(data[i], method, prepare, recipe.batch, seed, device, recipe.cycle, units, options.window)
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
    for member, one, seed in zip(members, data, seeds):
        member.questions = None if one.ask is None else Questions(one, one.ask, steps, seed)

    def checkpoint(i: int, step: int, fraction: float) -> None:
        if on_checkpoint is not None:
            asking = members[i].questions
            seen = None if asking is None else asking.seen_by_now()
            on_checkpoint(i, Checkpoint(step, fraction, snapshot(members[i], spec, recipe), seen=seen))

    if (begin := getattr(progress, "begin", None)) is not None:
        begin(steps, members[0].feed.per_epoch, members[0].curves)
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
    } | ({"processes": group.size} if group is not None and shared else {})
    if group is not None and not shared:
        members[0].warnings.append("several processes share nothing where the backbone has no parameters that move")
    return [
        FitResult(
            snapshot(m, spec, recipe), m.curves, m.warnings, {**info, **_looked(m), **about_start(start), **_asked(m)}
        )
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


def _asked(member: Member) -> dict[str, Any]:
    return {} if member.questions is None else {"asked": member.questions.to_json()}


def snapshot(member: Member, spec: NetSpec, recipe: Recipe) -> NetPredictor:
    """An evaluation model of a member as it stands; training goes on unharmed."""
    net, unsure = frozen_copy(member.net), member.feed.seen.setting.has_unknown
    if type(member.method).finish is not GradientMethod.finish:
        with torch.no_grad():
            member.method.finish(net, LazyLook(member, net))
        net.eval()
    return NetPredictor.of(member.method, net, spec, recipe.to_json(), member.prepare, member.units, unsure)
