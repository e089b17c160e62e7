"""The functions people call from Python; ``import dazoo`` loads this module on first use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dazoo.adaptation import adapt
from dazoo.core.errors import DazooError, DazooWarning, UnknownName
from dazoo.core.portable import load, save
from dazoo.core.types import Predictor
from dazoo.data.block_files import open_blocks
from dazoo.data.leaks import copies_of_labels
from dazoo.data.prior_shift import with_prior
from dazoo.data.registry import DATASETS, load_task
from dazoo.data.task import Task
from dazoo.encoders.encode import encoded
from dazoo.engine.callbacks import Callback
from dazoo.engine.device import require_device
from dazoo.fitting import fit
from dazoo.methods.base import METHODS, create_method

if TYPE_CHECKING:
    import pandas as pd

    from dazoo.deploy.onnx import Exported
    from dazoo.diagnosis import Diagnosis
    from dazoo.engine.model import Model

__all__ = [
    "Callback",
    "DazooError",
    "DazooWarning",
    "Task",
    "UnknownName",
    "adapt",
    "create_method",
    "diagnose",
    "evaluate",
    "export_onnx",
    "fit",
    "from_hub",
    "list_datasets",
    "list_methods",
    "load",
    "load_records",
    "load_task",
    "open_blocks",
    "push_to_hub",
    "report",
    "run_suite",
    "save",
    "with_prior",
]


def list_methods(pattern: str = "*", family: str | None = None) -> list[str]:
    """Names of the registered methods, e.g. ``list_methods("ot_*")`` or ``list_methods(family="adversarial")``."""
    return [n for n in METHODS.names(pattern) if family is None or METHODS.get(n).family == family]


def list_datasets(pattern: str = "*") -> list[str]:
    """Names of the registered datasets."""
    return DATASETS.names(pattern)


def evaluate(model: Predictor, task: Task) -> dict[str, float]:
    """Metrics of a fitted model on the task's hidden target labels: accuracy and the like, or errors for regression.

    Target samples whose labels the model was shown are left out, and so are their copies.

    Raises:
        DazooError: the target has no labels to compare with, or none that were not shown.
    """
    from dazoo.bench.execute.evaluate import evaluate as metrics_of

    return metrics_of(task, model)


def diagnose(
    task: Task,
    *,
    backbone: str | None = None,
    image_size: int | None = None,
    device: str = "auto",
    limit: int = 2000,
    seed: int = 0,
) -> Diagnosis:
    """Measure, before any training, how the domains of a task differ, and say which families of methods should help.

    Hidden labels play no part. ``dazoo diagnose TASK`` prints the same.

    Args:
        backbone: look at frozen features of this network; needed for images, where ``"none"`` takes raw pixels.
        limit: at most so many samples of each domain are looked at, drawn at random with ``seed``.

    Raises:
        DazooError: samples that are no vectors, too few of them, or none that vary.
    """
    from dazoo.diagnosis import diagnose as measure
    from dazoo.diagnosis.diagnose import with_features

    if backbone is not None:
        task = with_features(task, backbone, image_size=image_size, device=require_device(device))
        return measure(task, limit=limit, seed=seed)
    numbers, encoding = encoded(task, vectors=True)
    found = measure(numbers, limit=limit, seed=seed)
    if encoding is None:
        return found
    copies = copies_of_labels(task.sources, encoding.fitted.ignored())
    return replace(found, notes=(*encoding.fitted.said(), *copies, *found.notes))


def export_onnx(model: Predictor, path: str | Path, *, numbers: bool = False, double: bool = False) -> Exported:
    """Write a fitted model as an ONNX file, which answers the same without dazoo; arguments in ``deploy.onnx``.

    Raises:
        DazooError: the package onnx is missing, or a part of the model has no form in ONNX.
    """
    from dazoo.deploy.onnx import export_onnx as export

    return export(model, path, numbers=numbers, double=double)


def push_to_hub(model: Model, place: str | Path, **options: Any) -> str:
    """Put a model with its card on the Hugging Face hub (``"name/repository"``) or into a folder (a ``Path``).

    Options as of ``deploy.hub.push_to_hub``: ``private``, ``token``, ``licence``. Returns the address or the folder.

    Raises:
        DazooError: a model that cannot be saved, or a hub that cannot be reached.
    """
    from dazoo.deploy.hub import push_to_hub as push

    return push(model, place, **options)


def from_hub(place: str | Path, *, revision: str | None = None, token: str | None = None) -> Predictor:
    """The model in a repository of the hub or a folder that ``push_to_hub`` wrote; nothing in it is executed.

    Raises:
        DazooError: there is none, it is damaged, or the hub cannot be reached.
    """
    from dazoo.deploy.hub import from_hub as fetch

    return fetch(place, revision=revision, token=token)


def run_suite(path: str | Path, **options: Any) -> Path:
    """Run what is missing of a suite (a file or a name); returns the folder of results. Options as of ``dazoo run``."""
    from dazoo.bench.suite_run import run_suite as run

    return run(path, **options).folder


def report(folder: str | Path) -> Path:
    """Rebuild leaderboard and tables of a results folder from its records alone; returns the HTML page's path."""
    from dazoo.bench.report.build import report as write

    return write(folder).folder / "leaderboard.html"


def load_records(folder: str | Path) -> pd.DataFrame:
    """The runs of a results folder as a tidy table, one row per run and checkpoint (columns: docs/results.md).

    Raises:
        DazooError: the folder holds no usable record.
    """
    from dazoo.bench.analysis.frame import load_records as read

    return read(folder)
