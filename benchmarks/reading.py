"""How many lines a reader of a method meets: ``python -m benchmarks.reading [--against REVISION] [NAME ...]``.

Own lines are those of the method's file. Lines beyond are those of the functions, classes and constants of dazoo that
the file uses, of what these use, and so on to ``--depth`` steps; each counts once, classes and functions as a whole.
What lies in ``dazoo/core``, the words that all files share (fields, papers, settings, types), is counted apart.
``--against`` names a revision of the repository (0.1.0 is 847d2a0), whose counts and the differences are printed beside
these; ``--root`` a checkout to count in place of this one. Nothing of either is imported, only parsed.
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


def counts(root: Path, name: str, depth: int) -> tuple[int, int, int]:
    """Lines of the method's own file, beyond it, and in ``core``."""
    path = next((root / "dazoo" / "methods").rglob(f"{name}.py"))
    return len(path.read_text().splitlines()), *beyond(root, path, depth)


@contextmanager
def revision(root: Path, name: str) -> Iterator[Path]:
    """A copy of ``dazoo`` at a revision of the repository in ``root``, for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["git", "archive", name, "dazoo"], cwd=root, capture_output=True)
        if done.returncode:
            raise SystemExit(f"git does not give revision {name!r}: {done.stderr.decode().strip()}")
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
            tar.extractall(folder, filter="data")
        yield Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=METHODS, metavar="NAME")
    parser.add_argument("--root", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--against", metavar="REVISION")
    parser.add_argument("--depth", type=int, default=2)
    given = parser.parse_args()
    rows = {name: counts(given.root, name, given.depth) for name in given.names}
    print(f"{'method':12}{'own':>6}{'beyond':>8}{'core':>6}{'all':>6}   (lines; {given.depth} steps from the file)")
    if given.against is None:
        for name, row in rows.items():
            print(f"{name:12}{row[0]:6}{row[1]:8}{row[2]:6}{sum(row):6}")
        return
    with revision(given.root, given.against) as other:
        for name, row in rows.items():
            old = counts(other, name, given.depth)
            gap = [a - b for a, b in zip((*row, sum(row)), (*old, sum(old)))]
            print(f"{name:12}{row[0]:6}{row[1]:8}{row[2]:6}{sum(row):6}")
            print(f"{'  ' + given.against[:8]:12}{old[0]:6}{old[1]:8}{old[2]:6}{sum(old):6}")
            print(f"{'  change':12}{gap[0]:+6}{gap[1]:+8}{gap[2]:+6}{gap[3]:+6}")


if __name__ == "__main__":
    main()
