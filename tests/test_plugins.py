"""Plug-ins: the example package in an environment of its own, and broken ones that harm nothing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sysconfig
import textwrap
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from dazoo.core.errors import UnknownName
from dazoo.core.registry import Registry
from dazoo.data.registry import DATASETS
from dazoo.methods.base import METHODS
from dazoo.nets.backbones.base import BACKBONES
from dazoo.validators.base import VALIDATORS

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs" / "examples" / "dazoo_example_plugin"


@dataclass(frozen=True)
class Fresh:
    """An environment that has what this one has, and the example package."""

    python: Path
    home: Path

    def __call__(self, *commands: str) -> subprocess.CompletedProcess[str]:
        """Run commands of dazoo one after the other, in one process: most of the time goes into importing torch."""
        code = "import sys\nfrom dazoo.cli import app\nfor c in sys.argv[1:]: app(c.split(), standalone_mode=False)"
        env = {**os.environ, "DAZOO_CACHE": str(self.home / "cache"), "COLUMNS": "200"}
        run = [self.python, "-c", code, *commands]
        done = subprocess.run(run, capture_output=True, text=True, env=env, cwd=self.home)
        assert done.returncode == 0, done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """A new virtual environment; dazoo and what it needs are seen through a path file, nothing is downloaded."""
    home = tmp_path_factory.mktemp("fresh")
    venv.create(home / "env", with_pip=False, symlinks=True)
    python = home / "env" / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip())
    own = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(ROOT)})
    (site / "dazoo_and_its_needs.pth").write_text("\n".join(own) + "\n")
    shutil.copytree(EXAMPLE, home / "package")
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "./package"]
    try:
        subprocess.run([python, *install], cwd=home, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        pytest.fail(error.stdout + error.stderr)
    return Fresh(python, home)


def test_the_example_package_is_installed_found_checked_and_run(fresh: Fresh) -> None:
    code = "import dazoo_example; print(dazoo_example.__file__)"
    where = subprocess.run([fresh.python, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout
    assert str(fresh.home / "env") in where
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("dazoo-example-plugin")
    shown = fresh(
        "list methods mean_shift",
        "list datasets two_moons",
        "list validators margin",
        "run package/suite.yaml --out out",
        "check dazoo_example.mean_shift:MeanShift --json",
    ).stdout
    assert all(text in shown for text in ("mean_shift  example", "two half circles", "two largest class probabilities"))
    assert "page: out/leaderboard.html" in shown
    lines = [line for p in (fresh.home / "out" / "records").glob("*.jsonl") for line in p.read_text().splitlines()]
    records = [json.loads(line) for line in lines]
    assert len(records) == 6 and {r["status"] for r in records} == {"ok"}
    assert {r["spec"]["method"] for r in records} == {"source_only", "coral", "mean_shift"}
    assert all(p["scores"]["margin"] is not None for r in records for p in r["checkpoints"])
    found = json.loads(shown[shown.index("\n{") :])
    assert found["passed"] and found["method"] == "mean_shift"
    skipped = {c["name"] for c in found["contracts"] if c["status"] != "passed"}
    others = {"all_classes", "unknown", "source_gone", "black_box", "unseen_target", "source_labels", "budget"}
    others |= {"later_batches", "episodes", "still", "stream_continues"}
    assert skipped == others, "all that concern a plain gradient method"


# -- broken ones --------------------------------------------------------------------------------------------------

BROKEN = {
    "no_such_module": ("nowhere_at_all.thing:Thing", "ModuleNotFoundError"),
    "raises": ("stranger_raises:Thing", "RuntimeError: the licence has run out"),
    "leaves": ("stranger_leaves:Thing", "SystemExit"),
    "no_entry": ("math:pi", "register it"),
    "plain_class": ("fractions:Fraction", "register it"),
    "no_attribute": ("math:no_such_name", "AttributeError"),
}


@pytest.mark.parametrize("registry", [METHODS, DATASETS, BACKBONES, VALIDATORS], ids=lambda r: r.kind)
def test_broken_plugins_are_listed_and_harm_nothing(registry, tmp_path, monkeypatch) -> None:
    registry.discover()
    (tmp_path / "stranger_raises.py").write_text("raise RuntimeError('the licence has run out')\n")
    (tmp_path / "stranger_leaves.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [importlib.metadata.EntryPoint(n, value, registry.group) for n, (value, _) in BROKEN.items()]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == registry.group else [])
    mine = Registry(registry.kind, registry.package, registry.group)
    for name, item in registry.items():
        mine.add(name, item)
    assert mine.names() == registry.names()
    assert mine.broken.keys() == BROKEN.keys()
    for name, (value, reason) in BROKEN.items():
        assert mine.broken[name].startswith(value) and reason in mine.broken[name]
        with pytest.raises(UnknownName, match="a plug-in of that name is broken"):
            mine.get(name)


def test_the_command_line_names_a_broken_plugin_and_goes_on(fresh: Fresh) -> None:
    site = next((fresh.home / "env" / "lib").glob("python*/site-packages"))
    info = site / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        textwrap.dedent(
            """
            [dazoo.methods]
            stranger = nowhere_at_all:Thing
            [dazoo.validators]
            strange_score = math:pi
            """
        )
    )
    try:
        done = fresh("list methods", "list validators")
        assert "the plug-in 'stranger' is broken: nowhere_at_all:Thing: ModuleNotFoundError" in done.stderr
        assert "the plug-in 'strange_score' is broken: math:pi: DazooError" in done.stderr
        assert all(name in done.stdout for name in ("mean_shift", "dann", "margin", "info_max"))
    finally:
        shutil.rmtree(info)
