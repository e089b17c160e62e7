"""Choosing where the target is unseen: held-out rows, and sources left out of training in turn; the data set PACS."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import dazoo
from dazoo.bench.analysis.select import read_runs
from dazoo.bench.analysis.table import leaderboard
from dazoo.bench.execute.left_out import inner_specs
from dazoo.bench.execute.runner import options_of
from dazoo.bench.execute.tasks import Tasks
from dazoo.bench.metrics.registry import WORST
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import LAST, Suite
from dazoo.bench.suite_run import run_suite
from dazoo.core.errors import DazooError, DazooWarning
from dazoo.core.hparam import configure
from dazoo.core.setting import Setting
from dazoo.data.registry import load_domain, load_task
from dazoo.engine.fit import fit
from dazoo.methods.base import METHODS
from dazoo.validators.base import VALIDATORS, admission

SUITE = {
    "name": "left_out",
    "dataset": "digits",
    "tasks": ["upright+noisy+blurred->scaled", "upright+noisy+scaled->blurred"],
    "setting": "generalisation",
    "backbone": "mlp",
    "methods": ["erm", "vrex"],
    "recipe": {"name": "digits", "steps": 8, "batch": 12, "bottleneck": 8},
    "checkpoints": 2,
    "validators": ["source_validation", "leave_one_domain_out"],
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("left_out")
    (folder / "suite.yaml").write_text(json.dumps(SUITE))
    return run_suite(folder / "suite.yaml", out=folder / "out").folder


# -- what may choose --------------------------------------------------------------------------------------------------


def test_rules_that_need_the_target_have_no_value_and_are_told() -> None:
    rules = admission(Setting.of("generalisation"))
    assert rules.able == ("leave_one_domain_out", "source_validation")
    assert rules.hidden == "target" and "entropy" in rules.without
    assert "leave_one_domain_out" not in admission(Setting.of("multi_source")).able
    assert admission(Setting.of("unseen")).able == ("source_validation",)


def test_suites_of_unseen_targets_choose_by_held_out_rows() -> None:
    assert Suite.of(SUITE).select_by == "source_validation"
    assert Suite.of({**SUITE, "source_holdout": 0.0}).select_by == LAST
    with pytest.raises(DazooError, match="since the target is hidden"):
        make_plan(Suite.of({**SUITE, "select_by": "info_max"}))
    with pytest.raises(DazooError, match="generalisation is for"):
        make_plan(Suite.of({**SUITE, "setting": "auto", "select_by": "leave_one_domain_out"}))
    with pytest.raises(DazooError, match="zscore_source"):
        make_plan(Suite.of({**SUITE, "transform": ["zscore"]}))


def test_the_score_is_the_mean_accuracy_over_left_out_sources() -> None:
    scores = [torch.eye(3), torch.eye(3)[[0, 0]]]
    labels = [torch.tensor([0, 1, 0]), torch.tensor([0, 1])]
    fn = VALIDATORS.get("leave_one_domain_out").fn
    assert float(fn(scores, labels, 3)) == pytest.approx((2 / 3 + 1 / 2) / 2)
    values = [torch.tensor([[1.0], [3.0]])]
    assert float(fn(values, [torch.tensor([0.0, 1.0])], 0)) == pytest.approx(-2.5)


# -- the further runs -------------------------------------------------------------------------------------------------


def test_inner_runs_are_those_of_a_suite_that_asks_for_their_tasks() -> None:
    outer = make_plan(Suite.of(SUITE)).specs[0]
    inner = inner_specs(outer)
    assert list(inner) == ["upright", "noisy", "blurred"]
    tasks = ["noisy+blurred->upright", "upright+blurred->noisy", "upright+noisy->blurred"]
    planned = {s.task: s.key for s in make_plan(Suite.of({**SUITE, "tasks": tasks})).specs if s.label == outer.label}
    assert {s.task: s.key for s in inner.values()} == planned
    plain = make_plan(Suite.of({**SUITE, "validators": ["source_validation"]})).specs[0]
    assert not inner_specs(plain)


def test_records_name_the_inner_runs_and_what_they_said(ran: Path) -> None:
    run = next(r for r in read_runs(ran).runs if r.label == "vrex" and r.task.endswith("->scaled"))
    spec = next(s for s in make_plan(Suite.of(SUITE)).specs if s.key == run.key)
    record = next(
        r for shard in (ran / "records").glob("*.jsonl") for r in map(json.loads, shard.open()) if r["key"] == run.key
    )
    told = record["info"]["left_out"]
    inner = inner_specs(spec)
    assert {k: v["key"] for k, v in told.items()} == {k: s.key for k, s in inner.items()}
    score = [c["scores"]["leave_one_domain_out"] for c in record["checkpoints"]]
    assert score == pytest.approx(np.mean([v["accuracy"] for v in told.values()], axis=0), abs=1e-5)
    task, points = Tasks()(inner["noisy"]), []
    method = configure(METHODS.get("vrex"), spec.hparams)
    fit(method, task.seen(), seed=0, options=options_of(spec.protocol), on_checkpoint=points.append)
    noisy = load_domain("digits", "noisy")
    again = [float((p.predictor.predict(noisy.x).labels == noisy.y).double().mean()) for p in points]
    assert told["noisy"]["accuracy"] == pytest.approx(again, abs=1e-6)


def test_the_page_shows_both_rules_and_the_worst_task(ran: Path) -> None:
    page = (ran / "leaderboard.html").read_text()
    assert "leave_one_domain_out" in page and "source_validation" in page
    board = leaderboard(read_runs(ran).runs, "leave_one_domain_out")
    assert board.beside[-1] == WORST
    for row in board.rows:
        assert row.beside[-1] == min(board.cells[row.label, t].mean for t in board.tasks)
    assert WORST in (ran / "leaderboard.md").read_text()


def test_no_run_leaves_out_its_own_target(ran: Path) -> None:
    for shard in (ran / "records").glob("*.jsonl"):
        for record in map(json.loads, shard.open()):
            target = record["spec"]["task"].partition("->")[2]
            assert target not in record["info"]["left_out"]


def test_fit_chooses_by_left_out_sources() -> None:
    task = load_task("digits/upright+noisy+blurred->scaled", setting="generalisation")
    options = {"recipe": dazoo.engine.recipe.Recipe.named("digits", steps=8, batch=12, bottleneck=8), "backbone": "mlp"}
    model = dazoo.fit("erm", task, select_by="leave_one_domain_out", checkpoints=2, **options)
    assert model.report.settings["select_by"] == "leave_one_domain_out"
    single = load_task("digits/upright->scaled", setting="unseen")
    with pytest.raises(DazooError, match="no value in the setting"):
        dazoo.fit("erm", single, select_by="leave_one_domain_out", **options)


def test_a_method_for_unseen_targets_runs_on_a_task_that_shows_one() -> None:
    task = load_task("digits/upright+noisy->scaled", setting="multi_source")
    recipe = dazoo.engine.recipe.Recipe.named("digits", steps=2, batch=12, bottleneck=8)
    with pytest.warns(dazoo.DazooWarning, match="'generalisation', where no target label is shown"):
        model = dazoo.fit("irm", task, recipe=recipe, backbone="mlp")
    assert 0 <= dazoo.evaluate(model, task)["accuracy"] <= 1


# -- PACS -------------------------------------------------------------------------------------------------------------


def test_pacs_reads_the_canonical_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    from dazoo.data import image_sets
    from dazoo.data.sets import pacs

    monkeypatch.setenv("DAZOO_CACHE", str(tmp_path / "cache"))
    for d, domain in enumerate(pacs.DOMAINS):
        for c, name in enumerate(pacs.CLASSES):
            folder = tmp_path / "pacs" / domain / name
            folder.mkdir(parents=True)
            for i in range(1 + (c == 2)):
                Image.new("RGB", (12, 9), (20 * d, 10 * c, i)).save(folder / f"pic_{i:03d}.jpg")
    monkeypatch.setattr(image_sets, "_TOLD", set())
    with pytest.warns(DazooWarning, match="8 of 3929 images"):
        found = load_domain("pacs", "sketch", tmp_path, image_size=8)
    assert found.x.shape == (8, 8, 8, 3) and found.y.tolist() == [0, 1, 2, 2, 3, 4, 5, 6]
    assert found.classes == pacs.CLASSES
    whole = pacs.content(tmp_path)
    (tmp_path / "pacs" / "photo" / "giraffe" / "pic_001.jpg").unlink()
    assert pacs.content(tmp_path) != whole
    with pytest.raises(DazooError, match="class folder"):
        (tmp_path / "pacs" / "photo" / "dog" / "pic_000.jpg").unlink()
        (tmp_path / "pacs" / "photo" / "dog").rmdir()
        load_domain("pacs", "photo", tmp_path)
