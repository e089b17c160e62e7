"""``dazoo run`` on a target that was labelled in part, and on files that change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dazoo.bench.records.store import records
from dazoo.bench.suite_run import prepare, run_suite
from dazoo.core.errors import DazooError

RNG = np.random.default_rng(0)
Y = np.arange(24) % 2
X = RNG.standard_normal((24, 3)) + Y[:, None]


def suite(path: Path, **changes: Any) -> dict[str, Any]:
    return {
        "dataset": {"name": "npz", "path": str(path)},
        "tasks": ["old->new"],
        "methods": ["source_only", "easyadapt"],
        "classifier": "ridge",
        "source_holdout": 0.0,
        **changes,
    }


def save(path: Path, y: np.ndarray, **more: np.ndarray) -> None:
    np.savez(path, old_x=X, old_y=Y, new_x=X[:, ::-1], new_y=y, **more)


def ran(folder: Path) -> dict[str, dict[str, Any]]:
    return {r["spec"]["method"]: r for r in records(folder)}


@pytest.mark.parametrize("named", [False, True])
def test_few_label_methods_see_the_labels_that_are_there(tmp_path: Path, named: bool):
    """Named rows are tested on by nobody; labels that are only there are tested on by who does not see them."""
    part = np.where(np.arange(24) < 10, Y, np.nan)
    save(tmp_path / "a.npz", part, **({"new_few": np.array([0, 3, 4, 5])} if named else {}))
    run_suite(suite(tmp_path / "a.npz", seeds=2), out=tmp_path / "o")
    found = list(records(tmp_path / "o"))
    assert {r["status"] for r in found} == {"ok"}
    few = [r for r in found if r["spec"]["method"] == "easyadapt"]
    plain = [r for r in found if r["spec"]["method"] == "source_only"]
    assert [r["few"] for r in few] == [{"rows": 4 if named else 10, "drawn": False}] * len(few)
    assert all("few" not in r and r["checkpoints"][-1]["target"] for r in plain)
    # sixths: the labels of six rows are left to test on; tenths: of ten
    shares = [r["checkpoints"][-1]["target"]["accuracy"] * (6 if named else 10) for r in plain]
    assert np.allclose(shares, np.round(shares))
    told = [any("none is left to test on" in w for w in r["warnings"]) for r in few]
    assert told == [not named] * len(few) and [bool(r["checkpoints"][-1]["target"]) for r in few] == [named] * len(few)


def test_drawn_labels_are_recorded_as_drawn(tmp_path: Path):
    save(tmp_path / "a.npz", Y)
    run_suite(suite(tmp_path / "a.npz", methods=["easyadapt"], few_labels=4), out=tmp_path / "o")
    record = ran(tmp_path / "o")["easyadapt"]
    assert record["few"] == {"rows": 8, "drawn": True} and record["checkpoints"][-1]["target"]


def test_runs_on_a_file_that_changed_are_to_do(tmp_path: Path):
    path, out = tmp_path / "a.npz", tmp_path / "o"
    save(path, np.where(np.arange(24) < 10, Y, np.nan))
    run_suite(suite(path), out=out)
    assert not prepare(suite(path), out=out).missing
    save(path, np.where(np.arange(24) < 12, Y, np.nan))  # two more were labelled
    job = prepare(suite(path), out=out)
    assert len(job.missing) == len(job.plan.specs) == 2
    path.unlink()
    with pytest.raises(DazooError, match=r"a\.npz"):
        prepare(suite(path), out=out)


@pytest.mark.parametrize("how", ["fractions", "whole", "asked"])
def test_a_suite_knows_whether_files_hold_classes_or_values(tmp_path: Path, how: str):
    y = X[:, 0] if how == "fractions" else Y
    np.savez(tmp_path / "a.npz", old_x=X, old_y=y, new_x=X, new_y=np.where(np.arange(24) < 10, y, np.nan))
    made = suite(tmp_path / "a.npz", methods=["source_only", "tradaboost", "tradaboost_r2"])
    made["dataset"]["targets"] = "values" if how == "asked" else "auto"
    plan = prepare(made, out=tmp_path / "o").plan
    skipped = "tradaboost_r2" if how == "whole" else "tradaboost"
    assert [s.label for s in plan.skipped] == [skipped]
    run_suite(made, out=tmp_path / "o", methods=["source_only"])
    metric = "accuracy" if how == "whole" else "rmse"
    assert metric in ran(tmp_path / "o")["source_only"]["checkpoints"][-1]["target"]


def test_keys_know_content_only_of_files_of_ones_own(tmp_path: Path):
    """Keys of other datasets stay what they were, and an option that says nothing stands in no key."""
    save(tmp_path / "a.npz", Y)
    protocol = prepare(suite(tmp_path / "a.npz"), out=tmp_path / "o").plan.specs[0].protocol
    assert protocol.content and protocol.plain["content"] == protocol.content and "unlabelled" not in protocol.options
    digits = {"dataset": "digits", "tasks": ["upright->rotated"], "methods": ["source_only"], "classifier": "ridge"}
    assert "content" not in prepare(digits, out=tmp_path / "o").plan.specs[0].protocol.plain
