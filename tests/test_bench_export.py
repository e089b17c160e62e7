"""The winner of a suite as a file: kept or fitted again, it predicts what the record says."""

from __future__ import annotations

from pathlib import Path

import pytest

import dazoo
from dazoo.bench.export import export_model
from dazoo.bench.suite_run import run_suite
from dazoo.core.errors import DazooError
from dazoo.data.registry import load_task
from tests.bench_tools import SMALL

RECIPE = {"name": "frozen", "steps": 20, "bottleneck": 8}


@pytest.mark.parametrize("extra", [{"methods": ["source_only", "coral"]}, {"methods": ["dann"], "recipe": RECIPE}])
def test_the_winner_scores_as_its_record_says(tmp_path: Path, extra: dict[str, object]) -> None:
    suite = {**SMALL, "seeds": 1, **extra}
    made = run_suite(suite, out=tmp_path / "out")
    task = "digits/upright->noisy"
    found = export_model(made.folder, tmp_path / "model.safetensors", task="upright->noisy")
    best = max(cell.mean for (_, at), cell in made.board.cells.items() if at == task)
    model = dazoo.load(found.path)
    score = dazoo.evaluate(model, load_task(task))["accuracy"]
    assert score == pytest.approx(best, abs=1e-9) and found.task == task


def test_what_cannot_be_exported_is_named(tmp_path: Path) -> None:
    made = run_suite({**SMALL, "seeds": 1, "methods": ["coral"], "keep": 0}, out=tmp_path / "out")
    out = tmp_path / "model"
    with pytest.raises(DazooError, match="name one of the 2 tasks"):
        export_model(made.folder, out)
    with pytest.raises(DazooError, match="no selected model on digits/upright->noisy"):
        export_model(made.folder, out, task="upright->noisy", method="corall")
    with pytest.raises(DazooError, match="has no seed 7: 0"):
        export_model(made.folder, out, task="upright->noisy", seed=7)
    assert export_model(made.folder, out, task="upright->noisy").again
