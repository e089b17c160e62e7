"""What lies beside the records of a result folder: the copy of the suite, ``plan.json``, ``environment.json`` and
``scatter.json``. A damaged one costs what it holds, and is named in a sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dazoo.bench.plan.suite import Suite
from dazoo.core.errors import DazooError

SUITE, PLAN, ENVIRONMENT, SCATTER = "suite.yaml", "plan.json", "environment.json", "scatter.json"
SCATTER_FORMAT = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Skip(_Part):
    label: str
    reason: str
    task: str = ""


class _Plan(_Part):
    runs: Annotated[int, Field(ge=0, lt=2**53)]
    skipped: list[_Skip] = []


Place = Annotated[int, Field(ge=0, le=1000)]
Class = Annotated[int, Field(ge=0, lt=2**31)]
Points = list[Annotated[list[Place], Field(min_length=2, max_length=2)]]


class _Panel(_Part):
    source: Points
    target: Points
    source_class: list[Class]
    target_class: list[Class]
    of: Annotated[list[Annotated[int, Field(ge=0, lt=2**53)]], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def _fits(self) -> _Panel:
        for points, classes in ((self.source, self.source_class), (self.target, self.target_class)):
            if classes and len(classes) != len(points):
                raise ValueError("another number of classes than of points")
        return self


@dataclass(frozen=True)
class Beside:
    """What lies there, empty where it is absent or damaged; ``problems`` are sentences about what is damaged."""

    suite: Suite | None
    suite_text: str
    plan: dict[str, Any]
    environment: dict[str, Any]
    problems: list[str]


def read_beside(folder: Path, *, needs_suite: bool) -> Beside:
    """Read what lies beside the records.

    Args:
        needs_suite: whether a damaged copy of the suite is an error, as where it alone says which rule chooses.

    Raises:
        DazooError: the copy of the suite is damaged, and needed.
    """
    problems: list[str] = []
    suite, problem = suite_of(folder)
    if problem and needs_suite:
        raise DazooError(
            f"{problem}; which rule chooses is not known without it: name one with --select-by, or run the suite again"
        )
    problems += [problem] if problem else []
    plan, environment = _read(folder / PLAN, problems), _read(folder / ENVIRONMENT, problems)
    try:
        plan = _Plan.model_validate(plan).model_dump() if plan else {}
    except ValidationError as error:
        problems.append(f"{folder / PLAN} is damaged ({_why(error)}) and left out; run the suite again to restore it")
        plan = {}
    text = (folder / SUITE).read_text(encoding="utf-8") if suite is not None else ""
    return Beside(suite, text, plan, environment, problems)


def suite_of(folder: Path) -> tuple[Suite | None, str]:
    """The suite a folder's runs are of, and what is wrong with its copy; both empty where there is none."""
    copy = folder / SUITE
    if not copy.is_file():
        return None, ""
    try:
        return Suite.load(copy), ""
    except DazooError as error:
        return None, f"the copy of the suite is damaged ({error})"


def held_panels(folder: Path, problems: list[str]) -> dict[str, dict[str, Any]]:
    """The panels that ``scatter.json`` holds, by name; damaged ones are left out, and counted in ``problems``."""
    data = _read(folder / SCATTER, problems)
    if not data or data.get("format") != SCATTER_FORMAT:
        return {}
    panels = data.get("panels")
    found = {}
    for name, panel in panels.items() if isinstance(panels, dict) else ():
        try:
            found[name] = _Panel.model_validate(panel).model_dump()
        except ValidationError as error:
            problem = f"{folder / SCATTER} is damaged ({_why(error)}); the panels concerned are made anew, or left out"
            problems += [problem] if not any(str(folder / SCATTER) in p for p in problems) else []
    return found


def _read(path: Path, problems: list[str]) -> dict[str, Any]:
    """The mapping in a JSON file, empty where there is no file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise TypeError(f"a {type(found).__name__} where a mapping should be")
        json.dumps(found)  # what is nested too deeply to be shown
        return found
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        problems.append(f"{path} is damaged ({why}) and left out; run the suite again to restore it")
        return {}


def _why(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
