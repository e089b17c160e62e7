"""One way of writing in method files and in ``dazoo.ops``: what a page may leave out and where each fact stands."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

from dazoo.methods.base import METHODS

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


@pytest.mark.parametrize("name", METHODS.names())
def test_class_names_write_acronyms_in_capitals(name):
    """``tca`` is ``TCA``, not ``Tca``."""
    cls = METHODS.get(name)
    acronym = re.sub(r"[^a-z]", "", name)
    if len(acronym) <= 4:
        assert cls.__name__ != acronym.capitalize(), f"{cls.__name__} is an acronym: {acronym.upper()}"
