"""What comes with the package is found wherever one works: suites by name, and by the paths of version 0.1.0."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.shipped import SUITES, find_suite, suite_files
from dazoo.bench.plan.suite import Suite
from dazoo.bench.suite_run import prepare
from dazoo.cli import cache
from dazoo.core.errors import DazooError
from tests.test_cli import dazoo

ROOT = Path(__file__).parent.parent


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_suite_loads_by_name_and_is_called_like_its_file(elsewhere: Path) -> None:
    assert len(suite_files()) >= 16
    for name in suite_files():
        assert Suite.load(find_suite(name)).name == name


def test_suites_that_readme_and_docs_name_exist(elsewhere: Path) -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    named = {n for p in pages for n in re.findall(r"dazoo run ([a-z]\w*)(?![\w./])", p.read_text(encoding="utf-8"))}
    assert "digits" in named and named <= set(suite_files())


def test_committed_results_hold_runs_of_the_suite_of_today() -> None:
    """Keys did not move with the files: the plan of the committed copy is that of the packaged suite."""
    copy = Suite.load(ROOT / "results" / "digits" / "suite.yaml")
    keys = [s.key for s in make_plan(Suite.load(find_suite("digits")), None, {}).specs]
    assert keys and keys == [s.key for s in make_plan(copy, None, {}).specs]


@pytest.mark.parametrize("path", ["benchmarks/digits.yaml", "/somewhere/benchmarks/digits.yaml"])
def test_a_path_of_the_former_place_works_with_a_note(elsewhere: Path, path: str) -> None:
    with pytest.warns(DeprecationWarning, match="now the suite 'digits' of the package"):
        assert find_suite(path) == SUITES / "digits.yaml"


def test_the_command_says_the_note_in_one_line(elsewhere: Path) -> None:
    done = dazoo("run", "benchmarks/digits.yaml", "--methods", "nothing_*", ok=False)
    assert done.stderr.splitlines()[0] == "note: benchmarks/digits.yaml is now the suite 'digits' of the package"


def test_files_here_go_first_and_need_no_package(elsewhere: Path) -> None:
    (elsewhere / "benchmarks").mkdir()
    mine = elsewhere / "benchmarks" / "digits.yaml"
    mine.write_text("dataset: digits\nmethods: [source_only]\n", encoding="utf-8")
    assert find_suite("digits") == mine.relative_to(elsewhere)
    assert find_suite("benchmarks/digits.yaml") == mine.relative_to(elsewhere)
    assert find_suite("regret_digits") == SUITES / "regret_digits.yaml"


@pytest.mark.parametrize("name", ["digit", "digit.yaml", "benchmarks/digit.yaml", "other/digits.yaml", ""])
def test_what_is_no_suite_is_refused_with_what_comes_near(elsewhere: Path, name: str) -> None:
    with pytest.raises(DazooError, match="no suite file .*digits" if name else "no suite file ''"):
        find_suite(name)


def test_python_takes_names_too(elsewhere: Path) -> None:
    assert prepare("digits", methods=["coral"], seeds=1).suite.name == "digits"


def test_listing_shows_the_package_s_suites(elsewhere: Path) -> None:
    rows = json.loads(dazoo("list", "suites", "--json").stdout)
    assert {"digits", "office_caltech10_surf"} <= {r["name"] for r in rows}
    assert all(Path(r["file"]).is_file() and r["description"] for r in rows)


def test_listings_are_made_anew_when_any_file_of_the_package_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: seen.append(self) or [])
    cache._state("methods")
    assert seen == [ROOT / "dazoo"]


def test_every_file_of_the_package_is_declared_as_its_data() -> None:
    """``make wheel-test`` builds and tries a wheel; this says at once what it would lack."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    package = ROOT / "dazoo"
    data = {p for pattern in declared["package-data"]["dazoo"] for p in package.glob(pattern)}
    inside = {p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts and p.suffix != ".py"}
    assert inside and inside <= data
