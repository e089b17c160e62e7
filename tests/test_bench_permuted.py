"""The target's labels are permuted: everything but the target metrics and the oracle column stays byte for byte."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dazoo.bench.records.store import records
from dazoo.bench.report.model import Report, load_report
from dazoo.bench.suite_run import run_suite
from dazoo.data import registry
from dazoo.data.domain import Domain

SUITE: dict[str, Any] = {
    "name": "permuted",
    "dataset": "digits",
    "tasks": ["upright->rotated"],
    "methods": ["source_only", "coral", "sa", "target_oracle", "dan"],
    "seeds": 2,
    "trials": 2,
    "checkpoints": 2,
    "recipe": {"name": "digits", "steps": 8},
    "classifier": {"name": "1nn"},
    "source_holdout": 0.2,
    "validators": ["source_validation", "entropy", "info_max", "snd", "class_cluster"],
}
TIMES = ("started", "seconds", "seconds_evaluation", "seconds_keeping", "peak_memory_mb", "cpu_seconds", "load")
TIMES_OF_FIT = ("fit_seconds", "samples_per_second")


def run(folder: Path, suite: dict[str, Any]) -> Report:
    return run_suite(copy.deepcopy(suite), out=folder, device="cpu")


def without_target(folder: Path) -> list[str]:
    """Records in canonical form, without target metrics and times; methods that see target labels are left out."""
    found = []
    for record in records(folder):
        if record["spec"]["setting"] == "oracle":
            continue
        for name in TIMES:
            record.pop(name, None)
        for name in TIMES_OF_FIT:
            record["info"].pop(name, None)
        for point in record["checkpoints"]:
            assert point.pop("target")
        found.append(json.dumps(record, sort_keys=True))
    return sorted(found)


def test_permuting_target_labels_moves_only_target_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(tmp_path / "plain", SUITE)
    load, moved = registry.load_domain, []

    def permuted(dataset: str, name: str, *args: Any, **options: Any) -> Domain:
        domain = load(dataset, name, *args, **options)
        if name != "rotated":
            return domain
        assert domain.y is not None and domain.test is None
        moved.append(name)
        order = torch.randperm(len(domain.y), generator=torch.Generator().manual_seed(7))
        return replace(domain, y=domain.y[order])

    monkeypatch.setattr("dazoo.bench.execute.tasks.load_domain", permuted)
    run(tmp_path / "permuted", SUITE)
    assert moved
    plain = without_target(tmp_path / "plain")
    assert len(plain) >= 10 and plain == without_target(tmp_path / "permuted")
    keys = [json.loads(line)["key"] for line in plain]
    kept = [[(tmp_path / f / "kept" / f"{key}.npz").read_bytes() for key in keys] for f in ("plain", "permuted")]
    assert kept[0] == kept[1], "what is kept holds no label of the target"
    changed = False
    for rule in (*SUITE["validators"], "last"):
        one, two = (load_report(tmp_path / f, rule).board.cells for f in ("plain", "permuted"))
        assert one.keys() == two.keys()
        for key, cell in one.items():
            if cell.setting == "oracle":
                continue
            other = two[key]
            assert (cell.trial, cell.picks, cell.seeds) == (other.trial, other.picks, other.seeds)
            assert cell.selected_by == other.selected_by
            changed = changed or cell.mean != other.mean
    assert changed and len(made.board.rows) == 5
