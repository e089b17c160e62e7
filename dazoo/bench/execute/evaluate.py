"""Target metrics. The only place that opens ``Task.hidden``; nothing in here flows back into training or selection."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dazoo.bench.metrics.registry import Answers, measure
from dazoo.core.errors import DazooError
from dazoo.core.types import Prediction, Predictor
from dazoo.data.draw import rows_of
from dazoo.data.raw import Raw
from dazoo.data.task import Hidden, Task
from dazoo.engine.model import Model
from dazoo.engine.stream import StreamPredictor, marks_of


def evaluate(
    task: Task,
    predictor: Predictor,
    known: tuple[Tensor, Prediction] | None = None,
    strict: bool = True,
    asked: Tensor | None = None,
) -> dict[str, float]:
    """Metrics of ``predictor`` on the hidden test part of ``task``.

    Args:
        known: samples and the prediction on them, reused when the test part is the same samples.
        strict: whether a target without labels is an error; otherwise the result is empty.
        asked: rows of ``Seen.target`` whose labels the method asked for; they are left out.

    A ``Model`` is never tested on target samples whose labels it was shown.

    Returns:
        The metrics of the task's setting by name (``dazoo.bench.metrics.registry``): ``accuracy``,
        ``balanced_accuracy`` and ``macro_f1``; where samples may be unknown ``hos`` and its parts; for regression
        ``mae``, ``rmse`` and ``r2``; errors of the class shares where they are asked for; agreement of clusters with
        the classes of both sides where no label is seen.
    """
    hidden = _unseen(task.hidden(asked), predictor)
    if hidden.y is None:
        if strict:
            raise DazooError(f"task {task.name!r} has no target labels to evaluate on; give it labels or a test part")
        return {}
    stream = None
    if hidden.at is not None and predictor.recorded is not None:
        at = hidden.at
        _same_stream(predictor, hidden.x, at)
        out, stream = predictor.recorded.rows(at), _stream_of(predictor)
    elif known is not None and _same(known[0], hidden.x):
        out = known[1]
    else:
        out = predictor.predict(hidden.x)
    if not task.regression and out.scores.shape[1] != task.n_classes:
        raise DazooError(
            f"the model scores {out.scores.shape[1]} classes, but task {task.name!r} has {task.n_classes}; "
            "evaluate it on a task with the classes it was fitted on"
        )
    out = _by_name(predictor, task, out)
    source = None
    if hidden.source is not None:
        answered = predictor.predict_source(hidden.source.x)
        source = _answers(answered, Hidden(hidden.source.x, hidden.source.y), task.n_classes)
    return per_target(
        task,
        lambda rows: measure(
            task.setting, replace(_answers(*_of(rows, out, hidden), task.n_classes, stream), source=source)
        ),
        hidden,
    )


def _by_name(predictor: Predictor, task: Task, out: Prediction) -> Prediction:
    """The prediction of a model with its scores in the order of the task's classes, which are found by name.

    Raises:
        DazooError: the model was fitted on other classes.
    """
    if task.regression or not isinstance(predictor, Model) or not predictor.classes:
        return out
    if predictor.classes == task.classes or out.cluster is not None:  # clusters have names of their own
        return out
    if set(predictor.classes) != set(task.classes):
        raise DazooError(
            f"the model was fitted on the classes {', '.join(predictor.classes[:5])}, but task {task.name!r} has "
            f"{', '.join(task.classes[:5])}; evaluate it on a task with the classes it was fitted on"
        )
    order = [predictor.classes.index(name) for name in task.classes]
    prior = None if out.prior is None else out.prior[order]
    return dataclasses.replace(out, scores=out.scores[:, order], prior=prior, classes=task.classes)


def _stream_of(predictor: Predictor) -> StreamPredictor | None:
    inner = predictor.inner if isinstance(predictor, Model) else predictor
    return inner if isinstance(inner, StreamPredictor) else None


def priors(task: Task, out: Prediction) -> dict[str, Any]:
    """The target's class shares, by the names of the classes: exact ones, and those that a method estimated."""
    exact = task.hidden().prior
    named = {} if exact is None else {"exact": dict(zip(task.classes, exact.tolist()))}
    return named | ({} if out.prior is None else {"estimated": dict(zip(task.classes, out.prior.tolist()))})


def _same_stream(predictor: Predictor, x: Tensor, at: Tensor) -> None:
    """An error where the answers of a stream's model are those of other samples, or of another order."""
    inner = _stream_of(predictor)
    if isinstance(predictor, Model):
        x = predictor.numbers(x)
    marks = None if inner is None else inner.marks
    if marks is not None and (int(at.max()) >= len(marks) or not torch.allclose(marks[at], marks_of(x), rtol=1e-6)):
        raise DazooError(
            "the model's answers are those of another stream (other samples, or another seed); fit it on this task"
        )


def per_target(task: Task, measured: Callable[[Tensor | None], dict[str, float]], hidden: Hidden) -> dict[str, float]:
    """The metrics of the rows of each target on average, and beside them those of each target: ``accuracy on dslr``."""
    if hidden.member is None:
        return measured(None)
    names = task.target.name.split("+")
    each = {
        name: measured(torch.nonzero(hidden.member == i)[:, 0])
        for i, name in enumerate(names)
        if bool((hidden.member == i).any())
    }
    first = next(iter(each.values()))
    mean = {k: sum(found[k] for found in each.values()) / len(each) for k in first}
    return mean | {f"{k} on {name}": v for name, found in each.items() for k, v in found.items()}


def _of(rows: Tensor | None, out: Prediction, hidden: Hidden) -> tuple[Prediction, Hidden]:
    if rows is None:
        return out, hidden
    assert hidden.y is not None
    fine = None if hidden.fine is None else hidden.fine[rows]
    at = None if hidden.at is None else hidden.at[rows]
    # shares are those of all targets together
    return replace(out.rows(rows.to(out.scores.device)), prior=None), Hidden(
        rows_of(hidden.x, rows), hidden.y[rows], fine, at
    )


def _answers(out: Prediction, hidden: Hidden, n_classes: int, stream: StreamPredictor | None = None) -> Answers:
    assert hidden.y is not None
    y = hidden.y.detach().cpu().numpy()
    if n_classes == 0:
        values = out.values.detach().double().cpu().numpy()
        return Answers(0, y.astype("float64"), values, values)
    return Answers(
        n_classes,
        y,
        labels=out.labels.cpu().numpy(),
        closed=out.scores.argmax(1).cpu().numpy(),
        unknown=None if out.unknown is None else out.unknown.detach().double().cpu().numpy(),
        fine=None if hidden.fine is None else hidden.fine.cpu().numpy(),
        cluster=None if out.cluster is None else out.cluster.cpu().numpy(),
        prior=None if out.prior is None else out.prior.detach().double().cpu().numpy(),
        after=None if stream is None or stream.after is None else stream.after[hidden.at].numpy(),
        forgetting=None if stream is None else stream.forgetting,
        features=None if out.features is None else out.features.detach().double().cpu().numpy(),
    )


def _unseen(hidden: Hidden, predictor: Predictor) -> Hidden:
    """The test part without the samples whose labels ``predictor`` was shown, and without their copies."""
    if not isinstance(predictor, Model) or hidden.y is None or not predictor.shown:
        return hidden
    fresh = ~predictor.seen_with_label(hidden.x)
    if not bool(fresh.any()):
        raise DazooError(
            "the model was shown the label of every target sample that has one, so that nothing is left to test on; "
            "give the target samples with labels that were not shown, e.g. xt_test and yt_test"
        )
    return replace(
        hidden,
        x=rows_of(hidden.x, torch.nonzero(fresh)[:, 0]),
        y=hidden.y[fresh],
        fine=None if hidden.fine is None else hidden.fine[fresh],
        member=None if hidden.member is None else hidden.member[fresh],
    )


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Raw) or isinstance(b, Raw):
        return a is b
    return a is b or (a.shape == b.shape and a.dtype == b.dtype and bool(torch.equal(a, b)))
