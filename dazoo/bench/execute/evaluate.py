"""Target metrics. The only place that opens ``Task.hidden``; nothing in here flows back into training or selection."""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.bench.analysis.metrics import class_metrics, value_metrics
from dazoo.core.errors import DazooError
from dazoo.core.types import Prediction, Predictor
from dazoo.data.task import Hidden, Task
from dazoo.engine.model import Model


def evaluate(
    task: Task, predictor: Predictor, known: tuple[Tensor, Prediction] | None = None, strict: bool = True
) -> dict[str, float]:
    """Metrics of ``predictor`` on the hidden test part of ``task``.

    Args:
        known: samples and the prediction on them, reused when the test part is the same samples.
        strict: whether a target without labels is an error; otherwise the result is empty.

    A ``Model`` is never tested on target samples whose labels it was shown.

    Returns:
        ``accuracy``, ``balanced_accuracy`` and ``macro_f1`` in [0, 1]; for regression ``mae``, ``rmse`` and ``r2``.
    """
    hidden = _unseen(task.hidden(), predictor)
    if hidden.y is None:
        if strict:
            raise DazooError(f"task {task.name!r} has no target labels to evaluate on; give it labels or a test part")
        return {}
    if known is not None and _same(known[0], hidden.x):
        out = known[1]
    else:
        out = predictor.predict(hidden.x)
    if not task.regression and out.scores.shape[1] != task.n_classes:
        raise DazooError(
            f"the model scores {out.scores.shape[1]} classes, but task {task.name!r} has {task.n_classes}; "
            "evaluate it on a task with the classes it was fitted on"
        )
    y = hidden.y.detach().cpu().numpy()
    if task.regression:
        return value_metrics(out.values.detach().double().cpu().numpy(), y.astype("float64"))
    return class_metrics(out.labels.detach().cpu().numpy(), y, task.n_classes)


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
    return Hidden(hidden.x[fresh], hidden.y[fresh])


def _same(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.shape == b.shape and a.dtype == b.dtype and bool(torch.equal(a, b)))
