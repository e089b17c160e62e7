"""The pages of kinds of samples: their lines run on tiny data, and the costs they state are measured ones."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dazoo.engine.recipe import RECIPES
from tests.test_awkward_series import sounds
from tests.test_docs import ROOT, blocks
from tests.test_encoder_series import save
from tests.test_windows import long_table


def stage_series(folder: Path) -> None:
    table = long_table(n=300, at=150).replace({"subject": {"a": "anna", "b": "bela"}}).drop(columns="row")
    table.to_csv(folder / "recordings.csv", index=False)


def stage_audio(folder: Path) -> None:
    for i, signal in enumerate(sounds(16)):
        save(folder / "my_sounds" / "studio" / ("yes", "no")[i % 2] / f"{i}.wav", signal)
        save(folder / "my_sounds" / "street" / f"{i}.wav", np.float32(0.5) * signal)


@pytest.mark.parametrize(("name", "stage"), [("series", stage_series), ("audio", stage_audio)])
def test_the_lines_of_the_page_run(name, stage, tmp_path, monkeypatch):
    stage(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(RECIPES, "series", replace(RECIPES["series"], steps=3, batch=8))
    names: dict[str, object] = {}
    found = blocks(f"{name}.md")
    assert len(found) >= 2
    for i, block in enumerate(found):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(block, f"{name}.md block {i}", "exec"), names)
    assert len(set(names["names"])) == 2


@pytest.mark.parametrize("name", ["series", "audio"])
def test_costs_of_encoders_are_those_that_were_measured(name):
    measured = (ROOT / "results" / "encoders" / "encoders.md").read_text(encoding="utf-8").splitlines()
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8").splitlines()
    stated = [line for line in page if line.startswith(("| watch/", "| audio_folder/"))]
    assert len(stated) == 2 and set(stated) <= set(measured)
