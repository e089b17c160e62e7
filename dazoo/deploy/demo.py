"""A page on which a person tries a model: ``dazoo demo MODEL``. gradio draws it and loads late."""

from __future__ import annotations

from typing import Any

import numpy as np

from dazoo.core.errors import DazooError
from dazoo.core.types import Prediction
from dazoo.engine.model import Model

TYPED = ("vector", "table")
"""Kinds of samples whose numbers and words are typed in."""


def ask(model: Model, given: Any) -> dict[str, float] | float:
    """What a model says of one sample as a page hands it over: probabilities by class, or a value.

    Args:
        given: a text, a picture (height, width[, 3]) uint8, a recording as (rate, samples), or a frame of one row.

    Raises:
        DazooError: nothing was given, or a sample unlike those of the model.
    """
    if given is None or (isinstance(given, str) and not given.strip()):
        raise DazooError("there is nothing to predict; give a sample")
    return said(model.predict(sample(model, given)))


def said(out: Prediction) -> dict[str, float] | float:
    """A prediction of one sample as a page shows it."""
    if out.of_values:
        return float(out.values[0])
    names = out.classes or tuple(map(str, range(out.scores.shape[1])))
    return dict(zip(names, out.probs[0].tolist()))


def sample(model: Model, given: Any) -> Any:
    """One sample in the form that ``Model.predict`` takes."""
    schema = model.schema
    if schema.kind == "text":
        return [str(given)]
    if schema.kind == "image":
        from PIL import Image

        height, width, channels = schema.shape
        picture = Image.fromarray(np.asarray(given, dtype=np.uint8)).convert("L" if channels == 1 else "RGB")
        pixels = np.asarray(picture.resize((width, height)))[None]
        return pixels[..., None] if channels == 1 else pixels
    if schema.kind == "audio":
        rate, wave = given
        if schema.rate and rate != schema.rate:
            raise DazooError(f"the recording has {rate} steps per second, and the model takes {schema.rate:g}")
        wave = np.asarray(wave)
        wave = wave / 32768 if wave.dtype == np.int16 else wave
        return [np.asarray(wave if wave.ndim == 1 else wave.mean(1), dtype=np.float32)]
    if schema.kind in TYPED:
        return _row(model, given)
    raise DazooError(f"{schema.kind} samples cannot be typed in; use dazoo predict with a file")


def _row(model: Model, given: Any) -> Any:
    import pandas as pd

    frame = given if hasattr(given, "columns") else pd.DataFrame([given], columns=list(columns(model)))
    if model.schema.kind == "table":
        return frame.replace("", None).infer_objects()
    try:
        numbers = frame.astype(float)
    except (TypeError, ValueError) as error:
        raise DazooError(f"this model takes numbers: {error}") from error
    return numbers if model.schema.names else numbers.to_numpy()


def columns(model: Model) -> tuple[str, ...]:
    """What is typed in, by name."""
    return model.schema.names or tuple(f"feature {i}" for i in range(model.schema.shape[0]))


def interface(model: Model) -> Any:
    """The page of a model as a gradio ``Interface``, not started.

    Raises:
        DazooError: gradio is missing, or samples that nobody can give by hand.
    """
    try:
        import gradio
    except ImportError as error:
        raise DazooError("the demo needs gradio; install it with: pip install gradio") from error
    kind = model.schema.kind
    if kind == "text":
        given = gradio.Textbox(lines=3, label="text")
    elif kind == "image":
        given = gradio.Image(type="numpy", label="picture")
    elif kind == "audio":
        given = gradio.Audio(type="numpy", label="recording")
    elif kind in TYPED:
        names = list(columns(model))
        given = gradio.Dataframe(
            headers=names, row_count=1, column_count=len(names), type="pandas", value=[[0] * len(names)], label="sample"
        )
    else:
        raise DazooError(f"{kind} samples cannot be typed in; use dazoo predict with a file")

    def answer(value: Any) -> Any:
        try:
            return ask(model, value)
        except DazooError as error:
            raise gradio.Error(str(error)) from error

    shown = gradio.Label(num_top_classes=5) if model.classes else gradio.Number(label="value")
    settings = model.report.get("settings", {})
    title = f"dazoo: {settings.get('method', 'model')}"
    return gradio.Interface(answer, given, shown, title=title, article=str(model.card), flagging_mode="never")
