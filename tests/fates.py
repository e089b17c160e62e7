"""A method whose process meets a fate in the middle of a run, once: killed, or told to go by its queue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEXT = '''
"""Source-only whose process gets a signal in its first run on a task. y = f(x)."""
import os, pathlib, signal, time
from dazoo.core.paper import Paper
from dazoo.methods.base import METHODS, ShallowMethod, register


@register
class Fate(ShallowMethod):
    paper = Paper("none", "nobody", 2024, "https://example.org")

    def fit(self, seen, ctx):
        name = f"{{float(seen.target.x.float().mean()):.6f}}"
        mark = pathlib.Path({folder!r}) / name
        number = {fates}.get(len(list(mark.parent.glob("0.*"))))
        if number and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), number)
            time.sleep(60)
        mark.touch()
        return METHODS.get("source_only")().fit(seen, ctx)
'''


def fateful(folder: Path, *fates: int) -> str:
    """A file with the method ``fate``: the first task that it sees brings it the first signal, and so on."""
    path = folder / "fate.py"
    path.write_text(TEXT.format(folder=str(folder), fates=dict(enumerate(map(int, fates)))))
    return str(path)


def suite(**more: Any) -> dict[str, Any]:
    """Three tasks, quick."""
    tasks = ["upright->rotated", "upright->noisy", "noisy->blurred"]
    methods = ["source_only", "coral"]
    return {"name": "fates", "dataset": "digits", "tasks": tasks, "methods": methods, "seeds": 1,
            "classifier": {"name": "1nn"}, **more}  # fmt: skip
