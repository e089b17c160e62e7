"""What a record must look like to be read: the fields that any reader opens, with their types.

A field that is missing where it may be missing, or unknown here, is no fault: records of older and newer versions are
read. Curves are not looked at; damaged ones cost the curves alone (``runs.idle_terms``, ``curves``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from dazoo.core.errors import DazooError
from dazoo.data.names import split_name

Whole = Annotated[int, Field(ge=0, lt=2**53)]
Number = float | None


@lru_cache(maxsize=4096)
def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a name with control characters")
    return text


@lru_cache(maxsize=4096)
def _task(name: str) -> str:
    try:
        split_name(name)
    except DazooError as error:
        raise ValueError(str(error)) from None
    return _printable(name)


Text = Annotated[str, AfterValidator(_printable)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class _Protocol(_Part):
    dataset: str = ""
    transform: list[str] | None = None
    backbone: str | None = None
    recipe: dict[str, Any] | None = None
    classifier: dict[str, Any] | None = None
    represent: dict[str, Any] | None = None
    encoder: dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    validators: list[str] | None = None


class _Spec(_Part):
    label: Text
    method: Text
    family: Text
    task: Annotated[str, AfterValidator(_task)]
    setting: Text
    seed: Whole
    trial: Whole
    hparams: dict[str, Any] | None = None
    overrides: dict[str, Any] | None = None
    code: str | None = None
    revision: Whole = 0
    baseline: bool = False
    reads_source: bool = False
    protocol: _Protocol | None = None


class _Point(_Part):
    step: Whole = 0
    fraction: Number = None
    scores: dict[Text, Number]
    target: dict[Text, Number]
    predicted: dict[str, Number] | None = None


class _Flag(_Part):
    kind: Text
    subject: str
    text: str


class _Info(_Part):
    findings: list[_Flag] | None = None


class _Error(_Part):
    type: str | None = None
    message: str | None = None


class Record(_Part):
    """The fields of a record; only its validation is used, never an instance."""

    key: str
    status: Literal["ok", "failed"]
    variant: str
    started: str
    spec: _Spec
    checkpoints: list[_Point] | None = None
    seconds: Number = None
    info: _Info | None = None
    error: _Error | None = None
    warnings: list[str] | None = None
    device: str | None = None
    machine: dict[str, Any] | None = None
    versions: dict[str, str] | None = None
    peak_memory_mb: Number = None
    kept: dict[str, Any] | None = None


_VALIDATOR = Record.__pydantic_validator__


def fault(record: Mapping[str, Any]) -> str:
    """What is wrong with a parsed record, in words that follow "the record of run K"; empty where nothing is."""
    try:
        _VALIDATOR.validate_python(dict(record))
    except ValidationError as error:
        return _told(error)
    return ""


def fault_of_line(line: bytes) -> str:
    """``fault`` of a line of JSON."""
    try:
        _VALIDATOR.validate_json(line)
    except ValidationError as error:
        return _told(error)
    return ""


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        return "is no valid JSON"
    if first["type"] == "missing":
        return f"lacks {place}"
    message = first["msg"].removeprefix("Value error, ")
    return f"holds a value of a wrong type ({place}: {message[:1].lower()}{message[1:]})"
