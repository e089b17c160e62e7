"""Trackers of experiments as callbacks: ``dazoo.fit(..., callbacks=[TensorBoard("runs/first")])``.

Each logs the hyper-parameters and settings, the terms of the loss and label-free scores by step, and the final report.
``tracker.evaluated({"accuracy": 0.9})`` adds metrics afterwards. The packages load when a tracker is made.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from dazoo.core.errors import DazooError
from dazoo.engine.callbacks import Callback


class Tracker(Callback):
    """What trackers share: flat settings, and scalars of the report.

    A tracker may follow several fits, one after the other; each is a run of its own.
    """

    def evaluated(self, metrics: dict[str, float]) -> None:
        """Log metrics of the last run that are known afterwards, as those of ``dazoo.evaluate``."""
        raise NotImplementedError


class TensorBoard(Tracker):
    """Event files below ``folder``, which ``tensorboard --logdir FOLDER`` shows."""

    def __init__(self, folder: str | Path = "runs"):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _missing("tensorboard") from error
        self.folder, self.make = Path(folder), SummaryWriter
        self.writer: Any = None
        self.runs, self.last = 0, 0

    def on_start(self, settings: dict[str, Any]) -> None:
        place = self.folder if not self.runs else self.folder / str(self.runs)
        self.runs, self.last = self.runs + 1, 0
        self.writer = self.make(str(place))
        self.writer.add_text("settings", _block(flat(settings)))

    def on_step(self, step: int, losses: dict[str, float]) -> None:
        self.last = step
        for name, value in losses.items():
            self.writer.add_scalar(f"loss/{name}", value, step)

    def on_checkpoint(self, step: int, scores: dict[str, float]) -> None:
        for name, value in scores.items():
            self.writer.add_scalar(f"score/{name}", value, step)

    def on_end(self, report: dict[str, Any]) -> None:
        for name, value in numbers(report).items():
            self.writer.add_scalar(f"report/{name}", value, self.last)
        self.writer.add_text("report", _block(words(report)))
        self.writer.flush()

    def evaluated(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(f"metric/{name}", value, self.last)
        self.writer.flush()


class MLflow(Tracker):
    """A run of MLflow: in the server or folder ``uri``, or where MLflow is set to; in ``experiment``."""

    def __init__(self, uri: str | Path | None = None, experiment: str = "dazoo"):
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise _missing("mlflow-skinny") from error
        place = None if uri is None else str(uri)
        if isinstance(uri, Path):  # who names a folder wants a folder, which newer versions ask to be confirmed
            place = uri.absolute().as_uri()
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        self.client = MlflowClient(tracking_uri=place)
        known = self.client.get_experiment_by_name(experiment)
        self.experiment = self.client.create_experiment(experiment) if known is None else known.experiment_id
        self.run: Any = None

    def on_start(self, settings: dict[str, Any]) -> None:
        self.run = self.client.create_run(self.experiment, run_name=str(settings.get("method", "dazoo")))
        for name, value in flat(settings).items():
            self.client.log_param(self._id, name, value[:500])

    @property
    def _id(self) -> str:
        return str(self.run.info.run_id)

    def on_step(self, step: int, losses: dict[str, float]) -> None:
        for name, value in losses.items():
            self.client.log_metric(self._id, f"loss/{_key(name)}", value, step=step)

    def on_checkpoint(self, step: int, scores: dict[str, float]) -> None:
        for name, value in scores.items():
            self.client.log_metric(self._id, f"score/{_key(name)}", value, step=step)

    def on_end(self, report: dict[str, Any]) -> None:
        for name, value in numbers(report).items():
            self.client.log_metric(self._id, f"report/{_key(name)}", value)
        for name, text in words(report).items():
            self.client.set_tag(self._id, f"dazoo.{_key(name)}", text[:5000])
        self.client.set_terminated(self._id)

    def evaluated(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self.client.log_metric(self._id, _key(name), value)


class WandB(Tracker):
    """A run of Weights & Biases; ``mode`` ``offline`` writes to ``folder``, and ``wandb sync`` uploads it later."""

    def __init__(self, project: str = "dazoo", folder: str | Path = ".", mode: str = "offline", **more: Any):
        try:
            import wandb
        except ImportError as error:
            raise _missing("wandb") from error
        self.wandb, self.how = wandb, {"project": project, "dir": str(folder), "mode": mode, **more}
        self.run: Any = None

    def on_start(self, settings: dict[str, Any]) -> None:
        self.finish()
        Path(self.how["dir"]).mkdir(parents=True, exist_ok=True)
        self.run = self.wandb.init(config=flat(settings), reinit="create_new", **self.how)

    def on_step(self, step: int, losses: dict[str, float]) -> None:
        self.run.log({f"loss/{name}": value for name, value in losses.items()}, step=step)

    def on_checkpoint(self, step: int, scores: dict[str, float]) -> None:
        self.run.log({f"score/{name}": value for name, value in scores.items()}, step=step)

    def on_end(self, report: dict[str, Any]) -> None:
        self.run.summary.update({f"report/{k}": v for k, v in {**numbers(report), **words(report)}.items()})

    def evaluated(self, metrics: dict[str, float]) -> None:
        self.run.summary.update(metrics)

    def finish(self) -> None:
        """Close the run; the next fit and the end of the program do so too."""
        if self.run is not None:
            self.run.finish()
            self.run = None


def flat(settings: dict[str, Any], before: str = "") -> dict[str, str]:
    """Settings as text by dotted names; what has no value is left out."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{before}{name}."))
        elif value is not None:
            found[f"{before}{name}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return found


def numbers(report: dict[str, Any]) -> dict[str, float]:
    """The numbers of a report by name: of the run, and estimated class shares."""
    parts = {**report.get("info", {}), **{f"share of {k}": v for k, v in report.get("shares", {}).items()}}
    if expected := report.get("adapt", {}).get("expected"):
        parts["expected accuracy"] = expected["value"]
    return {k: float(v) for k, v in parts.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}


def words(report: dict[str, Any]) -> dict[str, str]:
    """What a report says in words."""
    parts = {"warnings": report.get("warnings"), "findings": report.get("findings"), **report.get("versions", {})}
    return {k: v if isinstance(v, str) else json.dumps(v, default=str) for k, v in parts.items() if v}


def _block(parts: dict[str, str]) -> str:
    return "\n".join(f"    {k}: {v}" for k, v in parts.items())


def _key(name: str) -> str:
    """A name as MLflow takes it."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)


def _missing(package: str) -> DazooError:
    return DazooError(f"this tracker needs {package}; install it with: pip install {package}")
