"""The command ``check``: every contract on one class, each failure explained."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from dazoo.core.errors import DazooError, nearest

MARKS = {"passed": "[green]ok  [/green]", "failed": "[red]FAIL[/red]", "skipped": "[dim]-   [/dim]"}


def run_check(target: str, as_json: bool) -> bool:
    """Check the class that ``target`` names, print what came out, and say whether every promise is kept."""
    import torch

    from dazoo.contracts import check_method

    torch.set_num_threads(1)  # bits are compared
    cls = find_class(target)
    if as_json:
        outcomes = check_method(cls)
        print(json.dumps(_as_json(cls, outcomes), indent=1))
        return _kept(outcomes)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(f"[bold]{escape(cls.name)}[/bold] ({escape(cls.__module__)}:{escape(cls.__qualname__)})")
    outcomes = check_method(cls, lambda outcome: _show(console, outcome))
    failed = [o.contract.name for o in outcomes if o.status == "failed"]
    passed = sum(o.status == "passed" for o in outcomes)
    if failed:
        console.print(f"[red]{len(failed)} of {passed + len(failed)} contracts are broken:[/red] {', '.join(failed)}")
    else:
        console.print(f"[green]all {passed} contracts that concern {escape(cls.name)} hold[/green]")
    return not failed


def find_class(target: str) -> Any:
    """The registered method class of ``module:Class``, ``path/to/file.py:Class``, a file with one method, or a name.

    Raises:
        DazooError: nothing of that name, a module that cannot be imported, or a class that is no registered method.
    """
    from dazoo.methods.base import METHODS, Method

    place, colon, name = target.rpartition(":")
    if target.endswith(".py") or place.endswith(".py"):
        found = {METHODS.get(n).__name__: METHODS.get(n) for n in METHODS.load_file(place or target)}
        if not colon and len(found) == 1:
            return next(iter(found.values()))
        if name not in found:
            raise DazooError(f"{place or target} has no method class {name!r}: {nearest(name, found)}")
        return found[name]
    if not colon:
        return METHODS.get(target)
    cls = getattr(_imported(place), name, None)
    if cls is None:
        raise DazooError(f"the module {place} has no {name!r}: {nearest(name, vars(sys.modules[place]))}")
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        raise DazooError(f"{target} is no method; derive the class from GradientMethod or ShallowMethod")
    if cls.__dict__.get("name") is None or METHODS.get(cls.name) is not cls:
        raise DazooError(f"{target} is not registered; decorate the class with @register")
    return cls


def _imported(module: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module)
    except DazooError:
        raise
    except Exception as error:  # a stranger's module may fail in any way
        raise DazooError(f"{module} cannot be imported: {type(error).__name__}: {error}") from error


def _kept(outcomes: list[Any]) -> bool:
    return all(o.status != "failed" for o in outcomes)


def _as_json(cls: Any, outcomes: list[Any]) -> dict[str, Any]:
    return {
        "method": cls.name,
        "class": f"{cls.__module__}:{cls.__qualname__}",
        "passed": _kept(outcomes),
        "contracts": [
            {
                "name": o.contract.name,
                "promise": o.contract.promise,
                "status": o.status,
                "message": o.message,
                "seconds": round(o.seconds, 3),
            }
            for o in outcomes
        ],
    }


def _show(console: Console, outcome: Any) -> None:
    time = f" [dim]{outcome.seconds:.1f} s[/dim]" if outcome.status != "skipped" else ""
    why = f" [dim](skipped: {escape(outcome.message)})[/dim]" if outcome.status == "skipped" else ""
    console.print(f"{MARKS[outcome.status]} {outcome.contract.name:14} {outcome.contract.promise}{time}{why}")
    if outcome.status == "failed":
        console.print(Padding(f"[yellow]{escape(outcome.message)}[/yellow]", (0, 0, 0, 5)))
