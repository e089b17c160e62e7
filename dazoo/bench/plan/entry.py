"""Entries of a suite's lists: methods, recipes and datasets, each a name with options."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Budget = Annotated[float, Field(gt=0.0, le=1.0)]
RESERVED = ("name", "as", "solver")
OWN = ("tasks", "transform", "backbone", "frozen", "encoder", "few_labels", "stream", "budget")
"""Keys of a suite that each entry of ``datasets`` may have for itself; its other keys are the dataset's options."""


def listed(value: Any) -> Any:
    """One entry as a list of one."""
    return [value] if isinstance(value, (str, dict)) else value


def entry(
    name: str, label: str | None = None, options: dict[str, Any] | None = None, solver: str | None = None
) -> Entry:
    """A name with its options, from code."""
    return Entry.model_validate({"name": name, "as": label, "solver": solver, "options": options or {}})


def short(dumped: dict[str, Any]) -> Any:
    """A dumped entry as people write it: its name alone where there is nothing else."""
    options = dumped.pop("options", {})
    return {**dumped, **options} if options or len(dumped) > 1 else dumped["name"]


def _entry(value: Any) -> Any:
    return _parted(value, RESERVED)


def _data(value: Any) -> Any:
    return _parted(value, ("name", "as", *OWN))


def _parted(value: Any, reserved: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and "options" not in value:
        rest = {k: v for k, v in value.items() if k not in reserved}
        return {**{k: v for k, v in value.items() if k in reserved}, "options": rest}
    if not isinstance(value, (dict, BaseModel)):
        raise ValueError("an entry is a name, or a mapping with the key 'name'")
    return value


def _one_line(label: str) -> str:
    if not label.strip() or len(label) > 200 or not label.isprintable():
        raise ValueError("a label is one line of at most 200 visible characters")
    return label


def _prefix(label: str) -> str:
    if not re.fullmatch(r"[\w.-]{1,100}", label):
        raise ValueError("the label of a dataset begins the names of tasks: letters, digits, '_', '.' and '-' only")
    return label


def _counts(value: Any) -> Any:
    """One number, or several that differ, as a list in ascending order."""
    found = list(value) if isinstance(value, (list, tuple)) else [value]
    if not found:
        raise ValueError("the list is empty; give at least one number")
    for k in found:
        if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k < 2**31:
            raise ValueError(f"a number of labels is whole, at least 1 and below {2**31}; {k!r} is not")
    if len(set(found)) < len(found):
        raise ValueError("a number of labels is listed twice; numbers must differ")
    return tuple(sorted(found))


Counts = Annotated[tuple[int, ...], BeforeValidator(_counts)]


class Frozen(BaseModel):
    """A part of a suite: no unknown keys, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Entry(Frozen):
    """A name with options, written as ``name`` or ``{name: ..., option: value}``; ``as`` gives methods a label.

    ``solver: shallow`` fits a method that could also be trained by gradients with the suite's classifier: the
    source-only row that shallow methods are to be compared with.
    """

    name: str
    label: Annotated[str, AfterValidator(_one_line)] | None = Field(None, alias="as")
    solver: Literal["shallow"] | None = None
    options: dict[str, Any] = {}


Named = Annotated[Entry, BeforeValidator(_entry)]
Names = Annotated[tuple[str, ...], BeforeValidator(listed)]


class DataEntry(Frozen):
    """One of several datasets: its options, and those keys of ``OWN`` that differ from the suite's."""

    name: str
    label: Annotated[str, AfterValidator(_prefix)] | None = Field(None, alias="as")
    tasks: Names = ()
    transform: Names | None = None
    backbone: str | None = None
    frozen: bool | None = None
    encoder: Named | None = None
    stream: dict[str, Any] | None = None
    few_labels: Counts | None = None
    budget: Budget | None = None
    options: dict[str, Any] = {}

    @property
    def own(self) -> dict[str, Any]:
        """The keys of the suite that it has for itself."""
        said = {key: getattr(self, key) for key in OWN}
        return {k: v for k, v in said.items() if v is not None and (k != "tasks" or v)}


Data = Annotated[DataEntry, BeforeValidator(_data)]
