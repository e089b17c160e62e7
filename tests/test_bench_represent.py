"""Suites whose methods all start from one learned representation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.represent import feature_map, represented
from dazoo.bench.plan.suite import Suite
from dazoo.bench.records.store import records
from dazoo.bench.suite_run import run_suite
from dazoo.core.errors import DazooError
from dazoo.core.setting import FEW_LABELS
from dazoo.data.registry import load_task

TASK = "shifts/subspace_source->subspace_target"


def suite(**more) -> Suite:
    base = {"dataset": "shifts", "tasks": ["subspace_source->subspace_target"], "methods": ["source_only"]}
    return Suite.of({**base, "classifier": "logistic", "select_by": "last", **more})


def test_all_parts_are_mapped_and_splits_stay():
    task = load_task(TASK, n=80)
    mapped = represented(task, feature_map("pca", dim=3), 0)
    assert mapped.sources[0].x.shape == (80, 3) and mapped.target.x.shape == (80, 3)
    assert torch.equal(mapped.sources[0].y, task.sources[0].y)
    assert mapped.seen().source.x.dtype == torch.float32


def test_the_map_does_not_depend_on_hidden_rows():
    """With a part of the target held out, other values in it leave the representation of the rest as it was."""
    from dataclasses import replace

    task = replace(load_task(TASK, n=80), target_holdout=0.5)
    hidden = task.hidden().x
    changed = task.target.x.clone()
    rows = [i for i, row in enumerate(changed) if (hidden == row).all(1).any()]
    changed[rows] = 100.0
    other = replace(task, target=task.target.with_x(changed))
    a, b = (represented(t, feature_map("pca", dim=2), 0) for t in (task, other))
    assert len(rows) == 40
    torch.testing.assert_close(a.sources[0].x, b.sources[0].x)
    assert torch.equal(a.seen().target.x, b.seen().target.x)


def test_a_represented_suite_equals_the_map_before_the_classifier(tmp_path: Path):
    """source_only over PCA is what the method pca does; without representation its keys stay as they were."""
    run_suite(suite(represent={"name": "pca", "dim": 3}, source_holdout=0), out=tmp_path / "a")
    run_suite(suite(methods=[{"name": "pca", "dim": 3}], source_holdout=0), out=tmp_path / "b")
    a, b = (next(records(tmp_path / k))["checkpoints"][-1]["target"]["accuracy"] for k in "ab")
    assert a == pytest.approx(b, abs=0.011)  # float32 here, float64 there
    assert "represent" not in make_plan(suite()).specs[0].protocol.plain
    assert make_plan(suite()).specs[0].key != make_plan(suite(represent="pca")).specs[0].key


def test_what_is_no_feature_map_is_refused():
    with pytest.raises(DazooError, match="'kmm' learns no representation"):
        make_plan(suite(represent="kmm"))
    with pytest.raises(DazooError, match="no hyper-parameter 'layer'"):
        make_plan(suite(represent={"name": "msda", "layer": 2}))


def test_few_labelled_samples_keep_their_place():
    from dataclasses import replace

    task = replace(load_task(TASK, n=80), setting=FEW_LABELS)
    mapped = represented(task, feature_map("pca", dim=3), 0)
    assert torch.equal(mapped.seen().few.y, task.seen().few.y)
