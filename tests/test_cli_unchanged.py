"""``dazoo run`` with everything stored answers from what it said before, and finds out where anything has changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from dazoo.cli import unchanged
from dazoo.cli.commands import app
from dazoo.data.registry import DATASETS
from tests.bench_tools import SMALL


def run(folder: Path, *more: str) -> str:
    result = CliRunner().invoke(app, ["run", str(folder / "s.yaml"), "--out", str(folder / "o"), *more])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a suite that was run until it said that nothing is left."""
    monkeypatch.setattr(unchanged, "SETTLED", 0.0)
    suite = SMALL | {"tasks": ["upright->rotated"], "methods": ["source_only"], "seeds": 1}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(suite))
    run(tmp_path)
    assert not (tmp_path / "o" / unchanged.FILE).exists()  # something was run
    run(tmp_path)
    assert (tmp_path / "o" / unchanged.FILE).exists()
    monkeypatch.setattr(unchanged, "_fresh", lambda: True)
    return tmp_path


def test_the_same_is_said_again_without_finding_out(answered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as loaded:
        loaded.setattr(unchanged, "_fresh", lambda: False)
        found = run(answered)

    def never(*args: Any, **options: Any) -> None:
        raise AssertionError("found out again")

    with monkeypatch.context() as forbidden:
        forbidden.setattr("dazoo.cli.run.run_suite", never)
        assert run(answered) == found
    assert run(answered, "--seeds", "2").count("2 runs, 1 stored, 1 to do") == 1


@pytest.mark.parametrize("what", ["record", "suite", "page", "answer", "copy", "data root", "score", "package"])
def test_whatever_changes_is_found_out(answered: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = answered / "o"
    (shard,) = (out / "records").glob("*.jsonl")
    changes: dict[str, Callable[[], object]] = {
        "record": lambda: shard.write_bytes(shard.read_bytes() * 2),
        "suite": lambda: (answered / "s.yaml").write_text((answered / "s.yaml").read_text() + "description: new\n"),
        "page": lambda: (out / "leaderboard.html").unlink(),
        "answer": lambda: (out / unchanged.FILE).write_text('{"hash": 1}'),
        "copy": lambda: (out / "suite.yaml").write_text("name: other"),
        "data root": lambda: monkeypatch.setenv("DAZOO_DATA", str(answered)),
        "score": lambda: ((out / "scores").mkdir(), (out / "scores" / "x.jsonl").write_text("")),
        "package": lambda: monkeypatch.setattr(unchanged, "VERSION", "9"),
    }
    options: Any = {"data_root": None, "out": out, "methods": [], "tasks": None, "seeds": None, "jobs": 1}
    options |= {
        "device": "auto",
        "retry_failed": False,
        "keep": None,
        "stack": None,
        "processes": 1,
        "executor": "processes",
        "options": {},
    }
    assert unchanged.told_again(str(answered / "s.yaml"), options)
    changes[what]()
    assert not unchanged.told_again(str(answered / "s.yaml"), options)


def test_suites_on_files_of_data_are_planned_every_time() -> None:
    def job(name: str) -> Any:
        part = SimpleNamespace(dataset=SimpleNamespace(name=name))
        return SimpleNamespace(suite=SimpleNamespace(parts=lambda: [part]))

    assert not unchanged._depends_on_data(job("digits"))
    assert {n for n, d in DATASETS.items() if callable(d.domains)} <= {
        n for n in DATASETS.names() if unchanged._depends_on_data(job(n))
    }
    assert unchanged._depends_on_data(job("folder"))


def test_the_answer_needs_no_torch() -> None:
    code = "import sys, dazoo.cli.unchanged; print(sorted({'torch', 'numpy', 'pandas', 'pyarrow'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
