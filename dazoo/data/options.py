"""Options of tasks that say nothing where they are given: a sentence instead of silence."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from dazoo.core.errors import DazooError, DazooWarning, UnknownName, nearest
from dazoo.core.setting import Setting

FOR_STREAMS = ("batch", "episodic", "order", "mixed", "rounds", "delta")
FOR_QUESTIONS = ("budget", "ask_rounds", "asked_holdout")


def check_fields(options: Iterable[str], known: Sequence[str]) -> None:
    """An error where an option is no field of a task.

    Raises:
        UnknownName: with the nearest names.
        DazooError: ``prior``, which changes a task that is there.
    """
    for option in options:
        if option == "prior" and option not in known:
            raise DazooError(
                "prior leaves out samples of a task that is there: dazoo.with_prior(task, prior); it is an option of "
                "load_task and of suites only"
            )
        if option not in known:
            raise UnknownName(f"a task has no field {option!r}: {nearest(option, known)}")


def point_out_idle(options: dict[str, Any], setting: Any) -> None:
    """Warn of options that play no part in a setting."""
    setting = Setting.of(setting)
    idle = [
        *((o, "streams, as setting='test_time'") for o in FOR_STREAMS if o in options and setting.target != "stream"),
        *((o, "setting='active'") for o in FOR_QUESTIONS if o in options and setting.marked != "query"),
    ]
    for option, where in idle:
        warnings.warn(
            f"{option}={options[option]!r} is for {where}, and plays no part in the setting {setting.name!r}",
            DazooWarning,
            stacklevel=4,
        )
