"""Commands on result folders that may be on object stores."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def mirrored(command: Callable[P, R]) -> Callable[P, R]:
    """``command`` with the mirror of every result folder that is on an object store in its place; what the command
    writes there goes to the store at its end."""

    @wraps(command)
    def call(*args: P.args, **options: P.kwargs) -> R:
        from dazoo.bench.records.stores import at_hand, is_remote

        with ExitStack() as stack:

            def here(value: Any) -> Any:
                if isinstance(value, list):
                    return [here(v) for v in value]
                asked = isinstance(value, (str, Path)) and is_remote(value)
                return stack.enter_context(at_hand(value)) if asked else value

            return command(*map(here, args), **options)  # type: ignore[arg-type]

    return call
