"""Groups of runs that train as one batched model: the same records as one at a time, whatever happens to a group."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from dazoo.bench.execute import runner
from dazoo.bench.execute.executor import execute
from dazoo.bench.execute.grouping import grouped
from dazoo.bench.execute.observer import Observer
from dazoo.bench.execute.place import Place
from dazoo.bench.plan.plan import RunSpec, make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.bench.records.store import records
from dazoo.bench.suite_run import prepare, run_suite
from dazoo.core.errors import DazooError

DANN = {"name": "dann", "disc_width": 16}
WHAT: dict[str, Any] = {
    "dataset": "digits", "tasks": ["upright->rotated"], "methods": [DANN, "mean_teacher", "coral"], "seeds": 2,
    "trials": 2, "recipe": {"name": "digits", "steps": 12, "batch": 8, "bottleneck": 8}, "checkpoints": 2,
    "keep": "0",
}  # fmt: skip


def by_key(folder: Path) -> dict[str, Any]:
    return {r["key"]: r for r in records(folder)}


def alike(mine: Any, other: Any) -> None:
    """Everything a record says about the result, up to rounding."""
    assert mine["status"] == other["status"] and mine["spec"] == other["spec"] and mine["variant"] == other["variant"]
    for one, two in zip(mine["checkpoints"], other["checkpoints"], strict=True):
        assert one["step"] == two["step"] and one["scores"].keys() == two["scores"].keys()
        assert one["scores"] == pytest.approx(two["scores"], abs=1e-5, rel=1e-5)
        assert one["target"] == pytest.approx(two["target"], abs=1e-5)
    assert mine.get("curves", {}).keys() == other.get("curves", {}).keys()
    for name, curve in mine.get("curves", {}).items():
        assert [s for s, _ in curve] == [s for s, _ in other["curves"][name]]
        assert [v for _, v in curve] == pytest.approx([v for _, v in other["curves"][name]], abs=1e-5, rel=1e-4)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("alone")
    run_suite(WHAT, out=folder)
    return by_key(folder)


@pytest.fixture
def specs() -> list[RunSpec]:
    return [s for s in make_plan(Suite.of({**WHAT, "methods": WHAT["methods"][:1]})).specs]


def test_only_runs_that_may_train_together_form_a_group() -> None:
    plan = make_plan(Suite.of(WHAT))
    groups = grouped(plan.specs, 3)
    assert sorted(len(g) for g in groups if g[0].method == "dann") == [1, 3]
    assert all(len(g) == 1 for g in groups if g[0].method != "dann")  # a teacher moves after steps; coral is shallow
    assert all(len(g) == 1 for g in grouped(plan.specs, 1))
    one = plan.specs[0]
    wide = dataclasses.replace(one, hparams={**one.hparams, "disc_width": 33})
    assert len(grouped([one, wide], 8)) == 2  # another network
    assert len(grouped([one, dataclasses.replace(one, hparams={**one.hparams, "trade_off": 0.5})], 8)) == 1
    with pytest.raises(DazooError, match="at least one run"):
        prepare(WHAT, stack=0)


def test_groups_leave_the_records_that_single_runs_leave(alone: dict[str, Any], tmp_path: Path) -> None:
    run_suite(WHAT, out=tmp_path, stack=8)
    stacked = by_key(tmp_path)
    assert stacked.keys() == alone.keys()
    for key, record in stacked.items():
        alike(record, alone[key])
    sizes = {r["spec"]["label"]: r["info"].get("stacked") for r in stacked.values()}
    assert sizes["dann"] > 1 and sizes["mean_teacher"] == 1
    assert {r["info"].get("stacked") for r in alone.values()} == {1, None}


def test_a_failing_member_leaves_the_others_as_they_are(
    alone: dict[str, Any], specs: list[RunSpec], tmp_path: Path
) -> None:
    bad = dataclasses.replace(specs[-1], hparams={**specs[-1].hparams, "trade_off": 1e39}, seed=7)
    execute([*specs[:2], bad], Place(str(tmp_path), stack=8, keep=0))
    found = by_key(tmp_path)
    assert found[bad.key]["status"] == "failed" and "non-finite" in found[bad.key]["error"]["message"]
    for spec in specs[:2]:
        alike(found[spec.key], alone[spec.key])
        assert any("trained alone, since its group of 3 failed" in w for w in found[spec.key]["warnings"])
    assert not list((tmp_path / "state").glob("*"))


def test_a_group_too_large_for_the_device_is_halved(
    alone: dict[str, Any], specs: list[RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(methods: Any, *args: Any, **options: Any) -> Any:
        if len(methods) > 2:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return genuine(methods, *args, **options)

    genuine = runner.fit_group
    monkeypatch.setattr(runner, "fit_group", small)
    execute(specs, Place(str(tmp_path), stack=8, keep=0))
    found = by_key(tmp_path)
    for spec in specs:
        alike(found[spec.key], alone[spec.key])
        assert found[spec.key]["info"]["stacked"] == 2
        assert any(f"a group of {len(specs)}, which was halved" in w for w in found[spec.key]["warnings"])


def test_a_killed_group_goes_on_from_its_state(
    alone: dict[str, Any], specs: list[RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, look = runner.options_of, Observer.look
    monkeypatch.setattr(runner, "options_of", lambda p, d: dataclasses.replace(options(p, d), save_every=0.0))
    looks: list[int] = []

    def stopped(self: Observer, point: Any) -> None:
        looks.append(point.step)
        if len(looks) == len(specs) + 2:  # in the middle of the second checkpoint
            raise KeyboardInterrupt
        look(self, point)

    monkeypatch.setattr(Observer, "look", stopped)
    with pytest.raises(KeyboardInterrupt):
        execute(specs, Place(str(tmp_path), stack=8, keep=0))
    assert not by_key(tmp_path) and len(list((tmp_path / "state").glob("*.pt"))) == 1
    execute(specs, Place(str(tmp_path), stack=8, keep=0))
    assert looks[len(specs) + 2 :] == [12] * len(specs)  # the first checkpoint was not made again
    found = by_key(tmp_path)
    for spec in specs:
        alike(found[spec.key], alone[spec.key])
