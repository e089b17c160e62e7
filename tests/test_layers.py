"""Imports point down the layers only; the harness names no method; heavy packages load late."""

from __future__ import annotations

import ast
import pathlib
import re
import subprocess
import sys

import pytest

from dazoo.methods.base import METHODS
from dazoo.validators.base import VALIDATORS

ROOT = pathlib.Path(__file__).parent.parent / "dazoo"
LAYERS = {
    "core": 0,
    "ops": 1,
    "data": 2,
    "nets": 3,
    "shallow": 3,
    "methods": 4,
    "encoders": 4,
    "engine": 5,
    "validators": 5,
    "diagnosis": 5,
    "adaptation": 6,
    "bench": 6,
    "deploy": 6,
    "contracts": 6,
    "cli": 7,
    "sklearn": 7,
}
FILES = sorted(ROOT.rglob("*.py"))
ROOMS = ("metrics", "records", "plan", "analysis", "execute", "published", "report", "suite_run", "export")
"""Rooms of ``bench``, lowest first."""


def layer_of(path: pathlib.Path) -> int:
    parts = path.relative_to(ROOT).parts
    return LAYERS[parts[0]] if len(parts) > 1 else 7


def imported(path: pathlib.Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return {name for name in found if name.startswith("dazoo.")}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    mine = layer_of(path)
    for name in imported(path):
        head = name.split(".")[1]
        other = LAYERS.get(head, 7)
        if head in LAYERS or (ROOT / f"{head}.py").exists():
            assert other <= mine, f"{path.relative_to(ROOT)} (layer {mine}) imports {name} (layer {other})"


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if p.relative_to(ROOT).parts[0] == "bench" and p.parent.name + p.stem != "bench__init__"],
    ids=lambda p: str(p.relative_to(ROOT / "bench")),
)
def test_imports_inside_bench_point_down(path):
    room = path.relative_to(ROOT / "bench").with_suffix("").parts[0]
    for name in imported(path):
        if name.startswith("dazoo.bench."):
            other = name.split(".")[2]
            assert ROOMS.index(other) <= ROOMS.index(room), f"{path.relative_to(ROOT)} imports {name}"


def module_of(path: pathlib.Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


def imports_of_files(paths: list[pathlib.Path]) -> dict[str, set[str]]:
    """Which files each file imports, those imported late or for type checkers alone too.

    ``from dazoo.a import b`` is an import of the file ``dazoo/a/b.py`` where there is one, else of ``dazoo/a``.
    """
    modules = {module_of(p) for p in paths}
    found = {}
    for path in paths:
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {a.name for a in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports by a relative name"
                parts = {f"{node.module}.{a.name}" for a in node.names}
                names |= {p if p in modules else str(node.module) for p in parts}
        found[module_of(path)] = (names & modules) - {module_of(path)}
    return found


def circle_in(imports: dict[str, set[str]]) -> list[str]:
    """What is left when all that imports nothing else is taken away again and again: empty where there is no circle."""
    left = {name: set(others) for name, others in imports.items()}
    while leaves := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in leaves}
    return sorted(left)


def test_no_files_import_each_other_in_a_circle():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]
    assert not circle_in(imports_of_files(FILES))


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.parts[-2] != "methods" and "methods" in p.parts], ids=lambda p: p.stem
)
def test_methods_know_only_core_ops_and_parts(path):
    allowed = (
        "dazoo.core",
        "dazoo.ops",
        "dazoo.shallow",
        "dazoo.methods",
        "dazoo.nets.parts",
        "dazoo.nets.net",
        "dazoo.nets.augment",
    )
    for name in imported(path):
        assert name.startswith(allowed), f"{path.relative_to(ROOT)} imports {name}"


def test_the_harness_names_no_method():
    """No file of the engine, the validators, the harness or the command line holds a method's name as a string."""
    names = set(METHODS.names()) - set(VALIDATORS.names())
    projections = {(f, "pca") for f in ("scatter.py", "build.py", "commands.py", "report.py")}  # how a figure is drawn
    folders = [p for folder in ("engine", "validators", "bench", "cli") for p in (ROOT / folder).rglob("*.py")]
    for path in folders:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                allowed = node.value not in names or (path.name, node.value) in projections
                assert allowed, f"{path.relative_to(ROOT)}:{node.lineno} names the method {node.value!r}"


def test_help_needs_no_torch():
    code = (
        "import sys, dazoo, dazoo.cli.commands; print(sorted({'torch', 'sklearn', 'ot', 'pandas'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


@pytest.mark.parametrize(
    "module",
    [
        "bench.records.compact",
        "bench.report.build",
        "bench.analysis.frame",
        "cli.report",
        "cli.unchanged",
        "bench.execute.executors.processes",
        "bench.execute.remote",
    ],
)
def test_records_reports_and_what_starts_workers_need_no_torch(module):
    code = f"import sys, dazoo.{module}; print(sorted({{'torch', 'sklearn', 'timm', 'matplotlib'}} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_heavy_packages_load_late():
    late = "{'ot', 'timm', 'sklearn', 'peft'}"
    code = f"import sys, dazoo.api; dazoo.api.list_methods(); print(sorted({late} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_no_file_is_too_long_to_read():
    files = [*FILES, *pathlib.Path(__file__).parent.glob("*.py")]
    long = {p.name: n for p in files if (n := len(p.read_text().splitlines())) > 400}
    assert not long


def test_no_pickle_loading():
    """Weights load with weights_only or safetensors."""
    for path in FILES:
        text = path.read_text()
        own = path.parent.name == "contracts"  # they pickle a model themselves to see that it survives
        assert (own or "pickle.load" not in text) and "weights_only=False" not in text, path
        for call in re.findall(r"torch\.load\((?:[^()]|\([^()]*\))*\)", text):
            assert "weights_only=True" in call, f"{path}: {call}"
