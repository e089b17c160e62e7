"""dazoo: a zoo of transfer-learning and domain-adaptation methods, and a harness that compares them fairly.

The public names load on first use, so that ``import dazoo`` and ``dazoo --help`` cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dazoo.core.version import VERSION

if TYPE_CHECKING:
    from dazoo.api import (
        Callback,
        DazooError,
        DazooWarning,
        Task,
        adapt,
        create_method,
        diagnose,
        evaluate,
        export_onnx,
        fit,
        from_hub,
        list_datasets,
        list_methods,
        load,
        load_records,
        load_task,
        open_blocks,
        push_to_hub,
        report,
        run_suite,
        save,
        with_prior,
    )

__version__ = VERSION
__all__ = [
    "Callback",
    "DazooError",
    "DazooWarning",
    "Task",
    "adapt",
    "create_method",
    "diagnose",
    "evaluate",
    "export_onnx",
    "fit",
    "from_hub",
    "list_datasets",
    "list_methods",
    "load",
    "load_records",
    "load_task",
    "open_blocks",
    "push_to_hub",
    "report",
    "run_suite",
    "save",
    "with_prior",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        import dazoo.api

        return getattr(dazoo.api, name)
    raise AttributeError(f"module 'dazoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
