"""Runs with the real engine: complete records, failures that stay where they happen, and nothing run twice."""

from __future__ import annotations

import ast
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from dazoo.bench.execute import observer, tasks
from dazoo.bench.execute import runner as run
from dazoo.bench.execute.evaluate import evaluate
from dazoo.bench.execute.executor import execute
from dazoo.bench.execute.grouping import in_order
from dazoo.bench.execute.place import Place
from dazoo.bench.execute.runner import Runner
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.bench.records.store import records
from dazoo.bench.suite_run import prepare, run_suite
from dazoo.core.memo import Memo
from dazoo.core.types import Prediction, Predictor
from dazoo.data.registry import load_task
from dazoo.engine.fit import Options
from dazoo.methods import shallow
from dazoo.methods.base import METHODS
from dazoo.validators.base import score_all
from tests.bench_tools import SMALL

PLUGIN = '''
"""{name}: made to misbehave. y = f(x)."""
import os, signal
from dazoo.core.paper import Paper
from dazoo.methods.base import METHODS, ShallowMethod, register

calls = 0

@register
class {cls}(ShallowMethod):
    paper = Paper("none", "nobody", 2024, "https://example.org")

    def fit(self, seen, ctx):
        global calls
        calls += 1
        {body}
        return METHODS.get("source_only")().fit(seen, ctx)
'''


def plugin(folder: Path, name: str, body: str) -> str:
    path = folder / f"{name}.py"
    cls = "".join(w.capitalize() for w in name.split("_"))
    path.write_text(PLUGIN.format(name=name, cls=cls, body=body))
    return str(path)


@pytest.fixture(autouse=True)
def forget_plugins():  # type: ignore[no-untyped-def]
    METHODS.discover()
    before = dict(METHODS._items)
    yield
    METHODS._items.clear()
    METHODS._items.update(before)


def test_a_record_says_everything_about_a_run(tmp_path: Path) -> None:
    suite = {**SMALL, "methods": ["source_only"], "tasks": "upright->noisy", "seeds": 1, "backbone": "none",
             "recipe": {"name": "digits", "steps": 20}, "checkpoints": 4}  # fmt: skip
    run_suite(suite, out=tmp_path, device="cpu")
    (record,) = records(tmp_path)
    assert record["format"] == 1 and record["status"] == "ok"
    spec = record["spec"]
    assert (spec["method"], spec["task"], spec["setting"], spec["seed"], spec["trial"]) == (
        "source_only", "digits/upright->noisy", "unsupervised", 0, 0,
    )  # fmt: skip
    assert spec["protocol"]["options"] == {"kind": "vector", "data_seed": 0}
    assert spec["protocol"]["recipe"]["steps"] == 20 and spec["protocol"]["recipe"]["hash"]
    points = record["checkpoints"]
    assert [p["step"] for p in points] == [5, 10, 15, 20] and points[-1]["fraction"] == 1.0
    assert set(points[0]["scores"]) == {"source_validation", "entropy", "info_max"}
    assert set(points[0]["target"]) == {"accuracy", "balanced_accuracy", "macro_f1"}
    assert record["curves"] and record["warnings"] == [] and record["info"]["solver"] == "gradient"
    assert record["seconds"] > 0 and record["peak_memory_mb"] > 10 and record["device"] == "cpu"
    assert {"python", "torch", "numpy"} <= set(record["versions"]) and record["machine"]["cpus"] >= 1
    assert record["started"].startswith("20")


def test_an_interrupted_training_run_goes_on_from_its_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = {**SMALL, "methods": ["dann"], "tasks": "upright->noisy", "seeds": 1, "backbone": "mlp", "checkpoints": 4,
             "recipe": {"name": "digits", "steps": 40}}  # fmt: skip
    run_suite(suite, out=tmp_path / "whole", device="cpu")
    looks = []

    def score_and_stop(names: Any, evidence: Any) -> Any:
        looks.append(names)
        if len(looks) == 3:
            raise KeyboardInterrupt
        return score_all(names, evidence)

    with monkeypatch.context() as patch:
        patch.setattr(run, "Options", partial(Options, save_every=0.0))
        patch.setattr(observer, "score_all", score_and_stop)
        with pytest.raises(KeyboardInterrupt):
            run_suite(suite, out=tmp_path / "cut", device="cpu")
    assert len(list((tmp_path / "cut" / "state").iterdir())) == 1 and not list(records(tmp_path / "cut"))
    monkeypatch.setattr(
        observer, "score_all", lambda names, evidence: (looks.append(names), score_all(names, evidence))[1]
    )
    run_suite(suite, out=tmp_path / "cut", device="cpu")
    assert len(looks) == 5, "the two checkpoints before the cut are not computed again"
    (whole,), (cut,) = records(tmp_path / "whole"), records(tmp_path / "cut")
    assert cut["checkpoints"] == whole["checkpoints"] and cut["curves"] == whole["curves"]
    assert not (tmp_path / "cut" / "state").exists()


def test_finished_runs_are_not_run_again(tmp_path: Path) -> None:
    first = prepare(SMALL, out=tmp_path, device="cpu", methods=["coral"])
    assert len(first.missing) == 4 and first.narrowed
    run_suite(SMALL, out=tmp_path, device="cpu", methods=["coral"])
    second = prepare(SMALL, out=tmp_path, device="cpu")
    assert len(second.plan.specs) == 12 and len(second.missing) == 8
    run_suite(SMALL, out=tmp_path, device="cpu")
    assert not prepare(SMALL, out=tmp_path, device="cpu").missing
    assert len(list(records(tmp_path))) == 12
    assert json.loads((tmp_path / "environment.json").read_text())["versions"]["torch"]
    assert Suite.load(tmp_path / "suite.yaml").to_json() == Suite.of(SMALL).to_json()


def test_a_failing_method_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    path = plugin(tmp_path, "fails_sometimes", 'if calls % 2 == 0: raise ValueError("every second time")')
    made = run_suite(SMALL, out=tmp_path / "out", device="cpu", methods=["coral", path])
    rows = {r.label: r for r in made.board.rows}
    assert rows["coral"].mean > 0.5
    assert rows["fails_sometimes"].problem == "failed 2 of 4 runs"
    bad = [r for r in records(tmp_path / "out") if r["status"] == "failed"]
    assert len(bad) == 2 and bad[0]["error"]["type"] == "ValueError"
    assert bad[0]["error"]["message"] == "every second time" and "in fit" in bad[0]["error"]["traceback"]
    told = bad[0]["error"]["traceback"]
    assert 'File "dazoo/bench/execute/runner.py"' in told or 'File "dazoo/engine/fit.py"' in told
    assert str(tmp_path) not in told and 'File "/' not in told, "records are published: no path of this machine"
    again = prepare(SMALL, out=tmp_path / "out", device="cpu", methods=["coral", path])
    assert not again.missing and again.failed == 2
    retry = prepare(SMALL, out=tmp_path / "out", device="cpu", methods=["coral", path], retry_failed=True)
    assert len(retry.missing) == 2


def test_a_file_adds_its_method_to_all_others_and_its_code_is_part_of_the_key(tmp_path: Path) -> None:
    path = plugin(tmp_path, "mine", "pass")
    job = prepare(SMALL, out=tmp_path / "out", device="cpu", methods=[path])
    assert {s.label for s in job.plan.specs} == {"source_only", "coral", "sa", "mine"}
    assert all((s.code is not None) == (s.label == "mine") for s in job.plan.specs)


@pytest.mark.slow
def test_workers_give_the_same_numbers_and_survive_a_death(tmp_path: Path) -> None:
    deadly = plugin(tmp_path, "kills_itself", "if seen.target.x.mean() > 0.33: os.kill(os.getpid(), signal.SIGKILL)")
    suite = {**SMALL, "tasks": ["upright->rotated", "upright->inverted"], "seeds": 1}
    assert (
        load_task("digits/upright->inverted").target.x.mean()
        > 0.33
        > load_task("digits/upright->rotated").target.x.mean()
    )
    one = run_suite(suite, out=tmp_path / "one", device="cpu")
    two = run_suite(suite, out=tmp_path / "two", device="cpu", jobs=2, methods=["source_only", "coral", "sa", deadly])
    for key, cell in one.board.cells.items():
        assert two.board.cells[key].values.tolist() == cell.values.tolist()
    assert two.board.cells["kills_itself", "digits/upright->rotated"].failed == 0
    dead = two.board.cells["kills_itself", "digits/upright->inverted"]
    assert dead.failed == 1 and dead.errors[0].startswith("WorkerDied: the worker process died in this run, twice")
    assert len(list(records(tmp_path / "two"))) == 8


def test_runs_on_the_same_data_follow_each_other_and_share_a_memo(tmp_path: Path) -> None:
    specs = make_plan(Suite.of({**SMALL, "source_holdout": 0.0})).specs
    keys = [s.data_key for s in in_order(specs)]
    assert len(set(keys)) == 2 and keys == sorted(keys, key=str)
    split = make_plan(Suite.of(SMALL)).specs
    assert len({s.data_key for s in split}) == 4
    used: list[Memo] = []

    class Spy(Runner):
        def run(self, spec: Any, memo: Memo) -> tuple[str, dict[str, Any]]:
            used.append(memo)
            return "ok", {}

    Spy(Place(str(tmp_path)))(specs)
    assert len({id(m) for m in used}) == 2
    Spy(Place(str(tmp_path)))(split)
    assert len({id(m) for m in used}) == 6


@pytest.mark.parametrize("small", [False, True])
def test_only_the_data_of_two_tasks_is_kept_where_it_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    monkeypatch.setattr(tasks, "KEPT_BYTES", (1 << 30) if small else 0)
    runner = Runner(Place(str(tmp_path)))
    specs = make_plan(Suite.of({**SMALL, "methods": ["source_only"], "tasks": "upright->*", "seeds": 1})).specs
    sources = {id(runner.tasks(s).sources[0]) for s in specs}
    assert len(specs) > 2 and len(runner.tasks._domains) == (len(specs) if small else 2)
    assert len(sources) == 1, "a domain that stays in use is loaded once"


def test_what_belongs_to_a_domain_is_computed_once_for_all_of_its_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []
    whole = shallow.principal_components
    monkeypatch.setattr(shallow, "principal_components", lambda *a: found.append(1) or whole(*a))
    suite = {**SMALL, "methods": ["sa"], "tasks": "upright->*", "seeds": 1, "source_holdout": 0.0, "recipe": None}
    specs = make_plan(Suite.of(suite)).specs
    Runner(Place(str(tmp_path)))(specs)
    assert len({s.task for s in specs}) == len(specs) > 2 and len(found) == len(specs) + 1


class Fixed(Predictor):
    calls = 0

    def predict(self, x: torch.Tensor) -> Prediction:
        type(self).calls += 1
        return Prediction(torch.eye(10)[torch.zeros(len(x), dtype=torch.int64)])


def test_a_prediction_on_the_same_samples_is_reused() -> None:
    task = load_task("digits/upright->noisy")
    seen, fixed = task.seen(), Fixed()
    known = fixed.predict(seen.target.x)
    assert evaluate(task, fixed, (seen.target.x, known)) == evaluate(task, fixed)
    assert Fixed.calls == 2
    other = task.change(target_holdout=0.3)
    evaluate(other, fixed, (other.seen().target.x, fixed.predict(other.seen().target.x)))
    assert Fixed.calls == 4, "a held-out test part needs a prediction of its own"


def test_hidden_labels_are_opened_in_one_module_only() -> None:
    package = Path(__file__).parent.parent / "dazoo"
    users = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) and not node.args else None
            if isinstance(called, ast.Attribute) and called.attr == "hidden":
                users.add(path.relative_to(package).as_posix())
    assert users == {"bench/execute/evaluate.py"}


def test_progress_counts_every_run(tmp_path: Path) -> None:
    specs = make_plan(Suite.of({**SMALL, "methods": ["source_only"]})).specs
    seen: list[int] = []
    execute(specs, Place(str(tmp_path)), 1, seen.append)
    assert sum(seen) == len(specs) == 4
