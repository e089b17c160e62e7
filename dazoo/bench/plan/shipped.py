"""Suites by name: those that come with the package, and those in a folder ``benchmarks/`` here."""

from __future__ import annotations

import warnings
from pathlib import Path

from dazoo.core.errors import DazooError, nearest

SUITES = Path(__file__).resolve().parents[2] / "suites"
HERE = "benchmarks"


def suite_files() -> dict[str, Path]:
    """Suite files by name; a file in ``benchmarks/`` of the working directory goes before one of the package."""
    return {path.stem: path for folder in (SUITES, Path(HERE)) for path in sorted(folder.glob("*.yaml"))}


def find_suite(name: str | Path) -> Path:
    """The file of a suite given by path or by name.

    Warns:
        DeprecationWarning: a path ``benchmarks/NAME.yaml`` of version 0.1.0, whose file is now in the package.

    Raises:
        DazooError: there is neither such a file nor such a name; the message says what comes near.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = suite_files()
    if str(name) in known:
        return known[str(name)]
    moved = SUITES / path.name
    if path.parent.name == HERE and path.suffix == ".yaml" and moved.is_file():
        warnings.warn(f"{path} is now the suite {path.stem!r} of the package", DeprecationWarning, stacklevel=2)
        return moved
    raise DazooError(f"no suite file {str(name)!r}: {nearest(path.stem, known)}")
