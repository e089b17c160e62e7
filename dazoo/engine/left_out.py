"""Models of all sources but one, judged on that one: how well a method generalises, without a look at the target."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.data.task import Task
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import Method


@dataclass(frozen=True)
class LeftOut:
    """What a model of the other sources says of one: ``scores`` (n, C) at each checkpoint, and its ``labels`` (n,)."""

    domain: str
    scores: list[Tensor]
    labels: Tensor


def without(task: Task, k: int) -> Task:
    """The task whose target is the ``k``-th source, and whose sources are the others.

    Raises:
        DazooError: there is no other source.
    """
    rest = (*task.sources[:k], *task.sources[k + 1 :])
    if not rest:
        raise DazooError(f"task {task.name!r} has one source, so that none can be left out; give it several")
    setting = task.setting.change(n_sources=task.setting.n_sources if len(rest) > 1 else "one")
    name = f"{task.name.partition('/')[0]}/{'+'.join(s.name for s in rest)}->{task.sources[k].name}"
    return task.change(name=name, sources=rest, target=task.sources[k], setting=setting)


def leave_out(task: Task, method: Method, seed: int, options: Options) -> LeftOut:
    """Train on the sources of ``task`` and predict its target, which is a source that was left out."""
    target, scores = task.target, []
    assert target.y is not None
    fit(
        method,
        task.seen(),
        seed=seed,
        options=options,
        on_checkpoint=lambda point: scores.append(point.predictor.predict(target.x).scores.cpu()),
    )
    return LeftOut(target.name, scores, target.y)


def at(parts: list[LeftOut], checkpoint: int) -> list[tuple[Tensor, Tensor]] | None:
    """Scores and labels of every source at a checkpoint, for ``Evidence.left_out``; None where nothing was left out."""
    return [(part.scores[checkpoint], part.labels) for part in parts] or None
