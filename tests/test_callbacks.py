"""Callbacks, bars and trackers: what they are told, and that they change nothing."""

from __future__ import annotations

import io
import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dazoo
from dazoo import Callback, DazooError, DazooWarning, Task
from dazoo.engine import callbacks
from dazoo.engine.callbacks import Progress, span
from dazoo.trackers import MLflow, TensorBoard, WandB, flat
from tests.toys import TINY

RECIPE = replace(TINY, steps=6, batch=8)


@pytest.fixture
def task() -> Task:
    rng = np.random.default_rng(0)
    y = np.arange(32) % 2
    x = rng.normal(size=(32, 4)) + y[:, None]
    return Task.from_arrays(x, y, x[:16] + 0.5)


class Notes(Callback):
    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def on_start(self, settings: dict[str, Any]) -> None:
        self.heard.append(("start", settings))

    def on_begin(self, steps: int, per_epoch: int) -> None:
        self.heard.append(("begin", (steps, per_epoch)))

    def on_step(self, step: int, losses: dict[str, float]) -> None:
        self.heard.append(("step", (step, losses)))

    def on_checkpoint(self, step: int, scores: dict[str, float]) -> None:
        self.heard.append(("checkpoint", (step, scores)))

    def on_end(self, report: dict[str, Any]) -> None:
        self.heard.append(("end", report))


def test_a_callback_hears_everything_and_changes_nothing(task: Task) -> None:
    notes = Notes()
    how: dict[str, Any] = {"recipe": RECIPE, "select_by": "entropy", "checkpoints": 2}
    model = dazoo.fit("dann", task, callbacks=notes, **how)
    assert [k for k, _ in notes.heard] == [
        "start",
        "begin",
        *["step"] * 3,
        "checkpoint",
        *["step"] * 3,
        "checkpoint",
        "end",
    ]
    start, steps, end = notes.heard[0][1], [v for k, v in notes.heard if k == "step"], notes.heard[-1][1]
    assert start == model.report.settings and end["curves"] == model.report.curves and json.dumps(end)
    assert [s for s, _ in steps] == [1, 2, 3, 4, 5, 6] and steps[-1][1] == {
        k: v[-1][1] for k, v in end["curves"].items()
    }
    assert notes.heard[1][1] == (6, 4)
    assert torch.equal(
        model.predict(task.target.x).scores, dazoo.fit("dann", task, **how).predict(task.target.x).scores
    )
    shallow = Notes()
    dazoo.fit("coral", task, classifier="logistic", callbacks=[shallow])
    assert [k for k, _ in shallow.heard] == ["start", "end"]


def test_a_callback_that_fails_costs_no_model(task: Task) -> None:
    class Lost(Notes):
        def on_step(self, step: int, losses: dict[str, float]) -> None:
            super().on_step(step, losses)
            raise OSError("no server")

    lost, kept = Lost(), Notes()
    with pytest.warns(DazooWarning, match="Lost failed in on_step .OSError: no server. and is left out"):
        dazoo.fit("dann", task, recipe=RECIPE, callbacks=[lost, kept])
    assert len([k for k, _ in lost.heard if k == "step"]) == 1 and len(kept.heard) == 9
    for wrong, sentence in ((Notes, r"as Notes\(\)"), (print, "derives from dazoo.Callback")):
        with pytest.raises(DazooError, match=sentence):
            dazoo.fit("coral", task, callbacks=[wrong])  # type: ignore[list-item]


def test_bars_and_lines(task: Task, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Silent where nobody looks; a bar and a line; a line for each epoch."""
    dazoo.fit("dann", task, recipe=RECIPE)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(callbacks, "watching", lambda: True)
    dazoo.fit("dann", task, recipe=RECIPE)
    shown = capsys.readouterr().err
    assert "6/6" in shown and "cls" in shown and shown.endswith("\n") and "dann: fitted in" in shown.split("\r")[-1]
    dazoo.fit("dann", task, recipe=RECIPE, verbose=0)
    assert capsys.readouterr().err == ""
    dazoo.fit("dann", task, recipe=RECIPE, verbose=2, select_by="entropy", checkpoints=1)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[2][:14] for line in lines[:2]] == [" step 4 of 6, ", " step 6 of 6, "]
    assert "entropy" in lines[2] and len(lines) == 4
    with pytest.raises(DazooError, match="verbose is 0"):
        dazoo.fit("dann", task, verbose=3)
    assert span(3.14) == "3.1 s" and span(61.4) == "61 s" and span(125) == "2 min 05 s"
    out = io.StringIO()
    Progress(out=out).on_end({})
    assert out.getvalue().startswith(": fitted in")


def followed(tracker: Any, task: Task) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DazooWarning)
        dazoo.fit("dann", task, recipe=RECIPE, callbacks=tracker, select_by="entropy", checkpoints=2)
    tracker.evaluated({"accuracy": 0.75})


def test_tensorboard(tmp_path: Path, task: Task) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = TensorBoard(tmp_path)
    followed(tracker, task)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [e.step for e in events.Scalars("loss/cls")] == [1, 2, 3, 4, 5, 6]
    assert {"score/entropy", "metric/accuracy", "report/steps"} <= set(events.Tags()["scalars"])
    text = events.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "recipe.lr" in text and "method: dann" in text


def test_mlflow(tmp_path: Path, task: Task) -> None:
    pytest.importorskip("mlflow")
    tracker = MLflow(tmp_path / "runs", experiment="tried")
    followed(tracker, task)
    run = tracker.client.get_run(tracker.run.info.run_id)
    assert (
        run.data.params["method"] == "dann" and run.data.metrics["accuracy"] == 0.75 and run.info.status == "FINISHED"
    )
    assert [m.step for m in tracker.client.get_metric_history(run.info.run_id, "loss/cls")] == [1, 2, 3, 4, 5, 6]
    assert MLflow(tmp_path / "runs", experiment="tried").experiment == tracker.experiment


def test_wandb(tmp_path: Path, task: Task) -> None:
    pytest.importorskip("wandb")
    tracker = WandB(folder=tmp_path / "w", settings={"silent": True, "console": "off"})
    followed(tracker, task)
    summary = dict(tracker.run.summary)
    tracker.finish()
    assert summary["accuracy"] == 0.75 and "loss/cls" in summary and "score/entropy" in summary
    assert list((tmp_path / "w").rglob("run-*.wandb"))


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch.utils.tensorboard", "mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)
    for make, package in ((TensorBoard, "tensorboard"), (MLflow, "mlflow-skinny"), (WandB, "wandb")):
        with pytest.raises(DazooError, match=f"pip install {package}$"):
            make()
    assert flat({"a": {"b": 1, "c": None}, "d": "x"}) == {"a.b": "1", "d": "x"}
