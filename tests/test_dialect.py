"""One way of writing in method files and in ``dazoo.ops``: what a page may leave out and where each fact stands."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest
import torch

from dazoo.methods.base import METHODS
from dazoo.ops.linalg.linear import distances_between

ROOT = pathlib.Path(__file__).parent.parent / "dazoo"
METHOD_FILES = sorted(p for p in (ROOT / "methods").rglob("*.py") if "paper = Paper(" in p.read_text())


@pytest.mark.parametrize("path", METHOD_FILES, ids=lambda p: p.stem)
def test_link_and_deviations_stand_in_the_paper_alone(path):
    tree = ast.parse(path.read_text())
    text = ast.get_docstring(tree) or ""
    assert not re.search(r"\b(Source|Deviations):", text), "the link and the deviations belong to Paper"
    for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Paper"):
        assert not call.args, "the fields of Paper are given by keyword"
    for node in (n for n in tree.body if isinstance(n, ast.ClassDef)):
        assert "See the module's docstring" not in (ast.get_docstring(node) or ""), "say in one line what the class is"


@pytest.mark.parametrize("path", METHOD_FILES, ids=lambda p: p.stem)
def test_papers_are_compact_and_knobs_stand_apart(path):
    """One layout: a citation in few lines (``# fmt: skip``), an empty line, then the hyper-parameters."""
    text = path.read_text()
    for paper in re.findall(r"^    paper = Paper\(\n.*?^    \).*?$", text, re.M | re.S):
        assert paper.endswith(")  # fmt: skip"), (
            "write title, authors, year, url and venue in as few lines as they take"
        )
    assert not re.search(r"^    (settings|handles|targets|start)\b.*\n    \w+: .* = hp\(", text, re.M), (
        "an empty line before"
    )


def test_evidence_names_tests_that_exist():
    """A line ``Evidence:`` that leads nowhere proves nothing."""
    tests = {
        path.name: {n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)}
        for path in pathlib.Path(__file__).parent.glob("test_*.py")
    }
    lost = []
    for path in METHOD_FILES:
        here: set[str] = set()
        _, _, said = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("Evidence:")
        for file, test in re.findall(r"tests/(test_\w+\.py)|\b(test_\w+)\b(?!\.py)", said):
            here = tests.get(file, set()) if file else here
            lost += [f"{path.stem}: {file or test}"] if file not in tests and test not in here else []
    assert not lost


@pytest.mark.parametrize("name", METHODS.names())
def test_class_names_write_acronyms_in_capitals(name):
    """``tca`` is ``TCA``, not ``Tca``."""
    cls = METHODS.get(name)
    acronym = re.sub(r"[^a-z]", "", name)
    if len(acronym) <= 4:
        assert cls.__name__ != acronym.capitalize(), f"{cls.__name__} is an acronym: {acronym.upper()}"


def test_a_public_name_of_methods_and_what_they_use_is_defined_once():
    """Two functions of one name differ in signature or precision, and a reader takes one for the other."""
    places: dict[str, list[str]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    layers = ("ops", "methods", "nets", "shallow")  # validators are functions named as what they measure
    for name, found in places.items():
        mine = [f for f in found if f.startswith(layers)]
        if not all(f.startswith("nets/backbones") for f in mine):  # each of which has its ``build``
            assert len(mine) < 2, f"{name} is defined in {mine}"


@pytest.mark.parametrize("rows", [80, 30])
def test_distances_between_keep_precision_at_a_common_offset(rows):
    """Uncentred inner products err by thousands at 1.6e9."""
    x, y = (torch.randn(rows, 70, dtype=torch.float64, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    x, y = x + 1.6e9, y + 1.6e9
    for other in (x, y):
        expected = (x[:, None] - other).square().sum(2)
        torch.testing.assert_close(distances_between(x, other), expected, rtol=0, atol=1e-5)
