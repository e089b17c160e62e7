"""How many lines a reader of a method meets: ``python -m benchmarks.reading [--root TREE] [--depth 2] [NAME ...]``.

Own lines are those of the method's file. Lines beyond are those of the functions, classes and constants of dazoo that
the file uses, of what these use, and so on to ``--depth`` steps; each counts once, classes and functions as a whole.
What lies in ``dazoo/core``, the words that all files share (fields, papers, settings, types), is counted apart.
``--root`` is a checkout of another version, for a comparison: nothing of it is imported, only parsed.
"""

from __future__ import annotations

import argparse
import ast
from functools import cache
from pathlib import Path

METHODS = ("dann", "cdan", "coral", "tca", "shot")
Place = tuple[Path, str]


@cache
def definitions(path: Path) -> dict[str, ast.stmt]:
    """The functions, classes and constants of a file by name."""
    found: dict[str, ast.stmt] = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = node
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found |= {t.id: node for t in targets if isinstance(t, ast.Name)}
    return found


@cache
def imports(path: Path) -> dict[str, tuple[str, str]]:
    """(module, name) of dazoo behind every imported name of a file, wherever in it the import stands."""
    return {
        a.asname or a.name: (node.module, a.name)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dazoo")
        for a in node.names
    }


def file_of(root: Path, module: str) -> Path | None:
    base = root / module.replace(".", "/")
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


def resolve(root: Path, path: Path, name: str) -> Place | None:
    """Where ``name`` of a file is defined, also through modules that hand it on; None where that is not in dazoo."""
    if name in definitions(path):
        return path, name
    if name not in imports(path):
        return None
    module, original = imports(path)[name]
    home = file_of(root, module)
    return None if home is None or home == path else resolve(root, home, original)


def used(root: Path, path: Path, node: ast.AST) -> set[Place]:
    """The definitions of dazoo that a piece of a file names, also as ``module.name``."""
    found: set[Place | None] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            found.add(resolve(root, path, part.id))
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in imports(path):
            home = file_of(root, ".".join(imports(path)[part.value.id]))
            found.add(home and resolve(root, home, part.attr))
    return {place for place in found if place}


def beyond(root: Path, path: Path, depth: int) -> tuple[int, int]:
    """Lines of what the file uses outside of itself, to ``depth`` steps: outside of ``dazoo/core``, and in it."""
    seen: set[Place] = set()
    todo = used(root, path, ast.parse(path.read_text()))
    for _ in range(depth):
        todo = {place for place in todo - seen if place[0] != path}
        seen |= todo
        todo = set().union(*(used(root, p, definitions(p)[name]) for p, name in todo))
    nodes = {(p, id(n)): n for p, n in ((p, definitions(p)[name]) for p, name in seen)}
    lines = [0, 0]
    for (home, _), node in nodes.items():
        lines["core" in home.relative_to(root).parts] += (node.end_lineno or node.lineno) - node.lineno + 1
    return lines[0], lines[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=METHODS, metavar="NAME")
    parser.add_argument("--root", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--depth", type=int, default=2)
    given = parser.parse_args()
    print(f"{'method':12}{'own':>6}{'beyond':>8}{'core':>6}   (lines; {given.depth} steps from the file)")
    for name in given.names:
        path = next((given.root / "dazoo" / "methods").rglob(f"{name}.py"))
        lines, core = beyond(given.root, path, given.depth)
        print(f"{name:12}{len(path.read_text().splitlines()):6}{lines:8}{core:6}")


if __name__ == "__main__":
    main()
