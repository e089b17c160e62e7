"""Records as a table for notebooks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import dazoo
from dazoo.bench.records.store import Writer
from dazoo.cli.commands import app
from tests.bench_tools import write_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    writer = Writer(tmp_path)
    scores, target = [{"v": 0.5, "w": None}, {"v": 0.25, "w": 2.0}], [{"accuracy": 0.125}, {"accuracy": 1 / 3}]
    write_run(
        writer, "a", "toy/x+y->z", 1, scores=scores, target=target, predicted=[{"target": 1.5, "source": 2.0}] * 2
    )
    write_run(writer, "a", "toy/x+y->z", 2, status="failed")
    write_run(writer, "b", "toy/y->z", scores=[{"u": 1e-300}], target=[{"accuracy": 1.0}], started="2023")
    write_run(writer, "b", "toy/y->z", scores=[{"u": 7.0}], target=[{"accuracy": 0.0}], variant="older", started="2022")
    writer.close()
    return tmp_path


def test_one_row_per_run_and_checkpoint(folder: Path) -> None:
    runs = dazoo.load_records(folder)
    assert list(runs.label) == ["a", "a", "a", "b"] and list(runs.status) == ["ok", "ok", "failed", "ok"]
    assert list(runs.checkpoint[:2]) == [0, 1] and list(runs.step[:2]) == [1, 2] and list(runs.fraction[:2]) == [0.5, 1]
    assert list(runs["score.v"][:2]) == [0.5, 0.25] and runs["score.w"][1] == 2.0
    assert runs["metric.accuracy"][1] == 1 / 3 and runs["score.u"][3] == 1e-300
    assert list(runs["classes.target"][:2]) == [1.5, 1.5]
    assert (runs.dataset == "toy").all() and list(runs.source) == ["x+y"] * 3 + ["y"] and (runs.target == "z").all()
    assert runs.error[2] == "ValueError: it broke" and runs.error.isna().sum() == 3
    assert runs.loc[2, ["checkpoint", "step", "fraction", "score.v", "metric.accuracy"]].isna().all()
    assert json.loads(runs.hparams[0]) == {}


def test_every_column_is_documented(folder: Path) -> None:
    text = (Path(__file__).parent.parent / "docs" / "results.md").read_text()
    for name in dazoo.load_records(folder):
        head, dot, _ = name.partition(".")
        shown = name if not dot or head == "classes" else f"{head}.NAME"
        assert f"`{shown}`" in text, name


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_export_reads_back_the_same(folder: Path, tmp_path: Path, kind: str) -> None:
    result = CliRunner().invoke(app, ["export", str(folder), f"--{kind}"])
    assert result.exit_code == 0, result.output
    path = folder / f"runs.{kind}"
    assert str(path) in result.output.replace("\n", "")
    back = pd.read_parquet(path) if kind == "parquet" else pd.read_csv(path)
    runs = dazoo.load_records(folder)
    assert list(back) == list(runs) and len(back) == len(runs)
    for name in runs.select_dtypes("number"):
        np.testing.assert_array_equal(
            back[name].to_numpy(dtype=float, na_value=np.nan), runs[name].to_numpy(dtype=float, na_value=np.nan)
        )
    assert list(back.error.fillna("")) == list(runs.error.fillna(""))


def test_what_cannot_be_exported_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(dazoo.DazooError, match="dazoo run"):
        dazoo.load_records(tmp_path / "nothing")
    with pytest.raises(dazoo.DazooError, match="one of"):
        CliRunner().invoke(app, ["export", str(folder), "--csv", "--parquet"], catch_exceptions=False)
