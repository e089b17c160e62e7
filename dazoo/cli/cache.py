"""Listings are kept on disk: importing torch alone takes longer than a listing should."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dazoo.core.files import write_text
from dazoo.core.paths import cache_root

Row = dict[str, Any]
REGISTRIES = {
    "methods": ("dazoo.methods.base", "METHODS"),
    "datasets": ("dazoo.data.registry", "DATASETS"),
    "backbones": ("dazoo.nets.backbones.base", "BACKBONES"),
    "encoders": ("dazoo.encoders.base", "ENCODERS"),
    "validators": ("dazoo.validators.base", "VALIDATORS"),
}


def remembered(kind: str, make: Callable[[], list[Row]], of: str = "") -> list[Row]:
    """``make()``, from the cache while no file of the package and no plug-in has changed; ``of`` names an entry."""
    if kind not in REGISTRIES:
        return make()
    stem = f"of-{kind}-{hashlib.sha256(of.encode()).hexdigest()[:12]}" if of else kind
    path = cache_root() / "lists" / f"{stem}-{_state(kind)}.json"
    try:
        kept: list[Row] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    except (OSError, ValueError):
        rows = make()
    module, name = REGISTRIES[kind]
    broken = getattr(importlib.import_module(module), name).broken
    for plugin, reason in broken.items():
        print(f"warning: the plug-in {plugin!r} is broken: {reason}", file=sys.stderr)
    if not broken and (rows or not of):
        with contextlib.suppress(OSError):
            _keep(path, stem, rows)
    return rows


def _state(kind: str) -> str:
    """Hash of the package's files and of the installed plug-ins of this kind."""
    package = Path(__file__).resolve().parents[1]
    files = [(str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(package.rglob("*.py"))]
    points = importlib.metadata.entry_points(group=f"dazoo.{kind}")
    plugins = sorted((p.name, p.value, p.dist.version if p.dist else "") for p in points)
    return hashlib.sha256(repr((files, plugins)).encode()).hexdigest()[:24]


def _keep(path: Path, stem: str, rows: list[Row]) -> None:
    for old in path.parent.glob(f"{stem}-*.json"):
        old.unlink(missing_ok=True)
    write_text(path, json.dumps(rows))
