"""A fitted model as an ONNX file: preprocessing, method, calibration and class names, without dazoo or torch to run it.

The file takes samples as they are given to ``Model.predict`` (vectors and series in single precision, pictures as uint8
(n, height, width, channels), tables with an input per column) and answers with ``label``, the index of the class (their
number for an unknown one), ``probabilities`` and, where some samples may be of no known class, ``unknown``; or with
``value``. Before it is written, both are compared on made-up samples where onnxruntime is installed.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dazoo.adaptation.calibrated import Calibrated
from dazoo.core.errors import DazooError
from dazoo.core.files import replacing
from dazoo.core.types import Prediction, Predictor
from dazoo.core.version import VERSION
from dazoo.data.samples import Schema
from dazoo.deploy.graph import CannotExport, Graph
from dazoo.deploy.network import answers_of
from dazoo.deploy.pieces import scores, through
from dazoo.deploy.samples import F, Inputs, inputs_of
from dazoo.engine.by_source import MeanPredictor
from dazoo.engine.model import Model
from dazoo.engine.predictor import NetPredictor, ShallowPredictor
from dazoo.methods.heterogeneous._common import Through
from dazoo.methods.heterogeneous.labelled_target import OfTarget
from dazoo.methods.reweighting._label_shift import PriorCorrected
from dazoo.shallow.steps import Pipeline

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Exported:
    """The file that was written, its inputs and outputs, and how far its answers were from the model's, if compared."""

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    difference: float | None

    def __str__(self) -> str:
        compared = (
            "not compared with the model, for want of onnxruntime"
            if self.difference is None
            else f"answers on made-up samples within {self.difference:.1g} of the model's"
        )
        return f"{self.path}: {', '.join(self.inputs)} -> {', '.join(self.outputs)}; {compared}"


@dataclass(frozen=True)
class Answer:
    """Names of a prediction's parts in a graph."""

    scores: str
    unknown: str | None = None
    threshold: float | None = None


def export_onnx(model: Predictor, path: str | Path, *, numbers: bool = False, double: bool = False) -> Exported:
    """Write a fitted model as an ONNX file.

    Args:
        model: from ``dazoo.fit``, ``dazoo.adapt`` or ``dazoo.load``.
        numbers: leave the encoder out; the file takes what ``model.numbers`` gives before preprocessing.
        double: take vectors and series in double precision.

    Raises:
        DazooError: the package onnx is missing, a part of the model has no form in ONNX, or the file says something
            else than the model.
    """
    g = Graph()
    whole = model if isinstance(model, Model) else _bare(model)
    given = _inputs(g, whole, numbers, F if double else np.float32)
    answer = _answer(g, whole.inner, given.x, given.dtype)
    outputs = _outputs(g, answer, whole)
    made = g.model(outputs, _metadata(whole, given, numbers))
    difference = _compared(made, whole, given, numbers)
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            Path(temporary).write_bytes(made.SerializeToString())
    except OSError as error:
        raise DazooError(f"cannot write {path} ({error}); choose a folder with space") from error
    return Exported(path, tuple(i.name for i in made.graph.input), tuple(n for n, _, _ in outputs), difference)


def _bare(model: Predictor) -> Model:
    """A model of a suite, which knows no names, with the form of its samples."""
    if not isinstance(model, (NetPredictor, ShallowPredictor)):
        raise CannotExport(f"a {type(model).__name__} has no form in ONNX; export a model of dazoo.fit or dazoo.adapt")
    if isinstance(model, NetPredictor):
        shape, kind = tuple(model.spec["shape"]), str(model.spec["kind"])
        return Model(model, Schema("image" if len(shape) == 3 else kind, shape))
    return Model(model, Schema("vector", (_width(model.inner),)))


def _width(model: Any) -> int:
    """How many features a shallow model takes, by the first tensor that meets them."""
    parts = [*getattr(model, "target_steps", ()), getattr(model, "head", None)]
    for part in parts:
        for name, at in (("weight", 0), ("mean", 0), ("anchors", 1), ("width", -1), ("x", 1), ("centres", 1)):
            found = getattr(part, name, None)
            if found is not None:
                return int(found if at < 0 else found.shape[at])
        if inner := [*getattr(part, "steps", ()), getattr(part, "head", None)]:
            parts.extend(inner)
    raise CannotExport("this model does not say how many features it takes; export one of dazoo.fit")


def _inputs(g: Graph, model: Model, numbers: bool, dtype: Any) -> Inputs:
    if numbers and model.encoding is None:
        raise DazooError("this model has no encoder, so numbers=True says nothing; leave it out")
    return inputs_of(g, model.schema, model.encoding, model.preprocessing, numbers, dtype)


# -- the model --------------------------------------------------------------------------------------------------------


def _answer(g: Graph, model: Any, x: str, dtype: Any) -> Answer:
    if isinstance(model, Calibrated):
        found = _answer(g, model.inner, x, dtype)
        return Answer(g.add("Div", found.scores, g.const(model.temperature, F)), found.unknown, found.threshold)
    if isinstance(model, NetPredictor):
        said, unknown, threshold = answers_of(g, model, x)
        return _told(g, model, Answer(g.cast(said, F), None if unknown is None else g.cast(unknown, F), threshold))
    if isinstance(model, ShallowPredictor):
        flat = g.add("Flatten", g.cast(x, F), axis=1)
        return _told(g, model, _answer(g, model.inner, flat, F))
    if isinstance(model, MeanPredictor):
        return _mean(g, [_answer(g, m, x, dtype) for m in model.members])
    if isinstance(model, Pipeline):
        return Answer(scores(g, model.head, through(g, model.target_steps, x)))
    if isinstance(model, Through):
        return _answer(g, model.inner, through(g, model.target_steps, x), F)
    if isinstance(model, OfTarget):
        return Answer(scores(g, model.head, x))
    if isinstance(model, PriorCorrected):
        raw = g.add("LogSoftmax", scores(g, model.head, x), axis=1)
        return Answer(g.add("LogSoftmax", g.add("Add", raw, g.const(model.log_ratio, F)), axis=1))
    raise CannotExport(f"a {type(model).__name__} has no form in ONNX; serve it with dazoo.load and predict")


def _told(g: Graph, model: NetPredictor | ShallowPredictor, found: Answer) -> Answer:
    """In the units of the data, and with unknown samples where there may be some."""
    if model.units is not None:
        scaled = g.add("Mul", found.scores, g.const(model.units.scale, F))
        return Answer(g.add("Add", scaled, g.const(model.units.mean, F)))
    if not model.unsure:
        return Answer(found.scores)
    if found.unknown is not None:
        return found
    logs = g.add("LogSoftmax", found.scores, axis=1)
    entropy = g.add(
        "Neg", g.add("ReduceSum", g.add("Mul", g.add("Exp", logs), logs), g.const([1], np.int64), keepdims=0)
    )
    # the width is known when the graph runs: ln K = log of the sum of exp(0)
    ones = g.add("Exp", g.add("Mul", found.scores, g.const(0.0, F)))
    most = g.add("Log", g.add("Max", g.add("ReduceSum", ones, g.const([1], np.int64), keepdims=0), g.const(2.0, F)))
    return Answer(found.scores, g.add("Div", entropy, most), 0.5)


def _mean(g: Graph, votes: list[Answer]) -> Answer:
    """Mean probabilities of models, as log-scores."""
    if any(v.unknown is not None for v in votes):
        raise CannotExport("several models with thresholds of their own have no form in ONNX; serve with dazoo.load")
    total = g.add("Softmax", votes[0].scores, axis=1)
    for vote in votes[1:]:
        total = g.add("Add", total, g.add("Softmax", vote.scores, axis=1))
    return Answer(g.add("Log", total))


def _outputs(g: Graph, answer: Answer, model: Model) -> list[tuple[str, Any, tuple[int, ...]]]:
    if not model.classes and _of_values(model.inner):
        return [(g.named(g.add("Reshape", answer.scores, g.const([-1], np.int64)), "value"), F, ())]
    k = len(model.classes)
    label = g.add("ArgMax", answer.scores, axis=1, keepdims=0)
    outputs: list[tuple[str, Any, tuple[int, ...]]] = []
    if answer.unknown is not None and answer.threshold is not None:
        if not k:
            raise CannotExport("a model with unknown samples needs class names to be exported; export one of dazoo.fit")
        beyond = g.add("Greater", answer.unknown, g.const(float(answer.threshold), F))
        label = g.add("Where", beyond, g.const(k, np.int64), label)
        outputs.append((g.named(g.cast(answer.unknown, np.float32), "unknown"), np.float32, ()))
    probs = g.cast(g.add("Softmax", answer.scores, axis=1), np.float32)
    return [
        (g.named(label, "label"), np.int64, ()),
        (g.named(probs, "probabilities"), np.float32, (k or "k",)),  # type: ignore[list-item]
        *outputs,
    ]


def _of_values(model: Any) -> bool:
    while isinstance(model, Calibrated):
        model = model.inner
    if isinstance(model, NetPredictor):
        return not model.spec["n_classes"]
    if isinstance(model, MeanPredictor):
        return _of_values(model.members[0])
    return getattr(model, "units", None) is not None


def _metadata(model: Model, given: Inputs, numbers: bool) -> dict[str, str]:
    settings = model.report.get("settings", {})
    told: dict[str, Any] = {
        "classes": list(model.classes),
        "kind": model.schema.kind,
        "columns": given.columns or list(model.schema.names),
        "method": settings.get("method", ""),
        "task": settings.get("task", ""),
        "preprocessing": list(model.preprocessing.names),
        "encoder": "" if model.encoding is None or numbers else model.encoding.name,
    }
    return {"dazoo": VERSION, **{f"dazoo.{k}": json.dumps(v, ensure_ascii=False) for k, v in told.items()}}


# -- the comparison ---------------------------------------------------------------------------------------------------


def _compared(made: Any, model: Model, given: Inputs, numbers: bool) -> float | None:
    """The largest difference on made-up samples; None where nothing can run the file.

    Raises:
        CannotExport: it is too large.
    """
    try:
        import onnxruntime
    except ImportError:
        return None
    assert given.rows is not None
    feed, samples = given.rows
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
        said = dict(zip([o.name for o in session.get_outputs()], session.run(None, feed)))
    except Exception as error:
        text = str(error).splitlines()[0][:200]
        raise CannotExport(f"onnxruntime does not run this model ({text}); serve it with dazoo.load") from error
    out = model.of_numbers(model.preprocessing.of_target(samples)) if numbers else model.predict(samples)
    difference = distance(said, out)
    if not difference <= TOLERANCE:
        raise CannotExport(
            f"the answers of the ONNX file are {difference:.2g} away from the model's, which may look at all samples "
            "of a call together; serve it with dazoo.load"
        )
    return difference


def distance(said: dict[str, np.ndarray], out: Prediction) -> float:
    """The largest difference between what a file said and a prediction; of values, in units of the largest."""
    if "value" in said:
        wanted = out.values.double().cpu().numpy()
        return float(np.abs(said["value"] - wanted).max() / max(1.0, np.abs(wanted).max()))
    found = float(np.abs(said["probabilities"] - out.probs.double().cpu().numpy()).max())
    if "unknown" in said and out.unknown is not None:
        found = max(found, float(np.abs(said["unknown"] - out.unknown.double().cpu().numpy()).max()))
    return math.inf if math.isnan(found) else found
