"""What a method is: a frozen dataclass of hyper-parameters that turns ``Seen`` into a ``Predictor``."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, dataclass_transform

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.hparam import configure, hp
from dazoo.core.paper import Paper
from dazoo.core.registry import Registry
from dazoo.core.setting import Setting

METHODS: Registry[type[Method]] = Registry("method", "dazoo.methods", "dazoo.methods")
M = TypeVar("M", bound="Method")


class Method:
    """Base of all methods. The attributes are what a method declares of itself."""

    name: ClassVar[str] = ""  # in the registry: the stem of the file, set by ``register``
    family: ClassVar[str] = ""  # the folder of the file, set by ``register`` unless the class says it
    paper: ClassVar[Paper]
    handles: ClassVar[Handles] = Handles()  # the answers of a setting with which it can run
    settings: ClassVar[frozenset[Setting]] = Handles().settings  # the named ones among them; may be said instead
    targets: ClassVar[frozenset[str]] = frozenset({"classes"})  # "classes", "values" (regression), or both
    start: ClassVar[str | None] = None  # name of a method from whose fitted model this one starts (a warm start)
    # whether it does something else where it is told that the target is partial, as its page says; all others give the
    # closed model where a partial target holds all classes
    told_partial: ClassVar[bool] = False
    reads_names: ClassVar[bool] = False  # features of class names (``Seen.words``); suites plan it where there are such
    # raised by one whenever what the method computes changes under the same hyper-parameters, so that runs of before
    # and after never share a key
    revision: ClassVar[int] = 0


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(hp,))
def register(cls: type[M]) -> type[M]:
    """Make ``cls`` a frozen keyword-only dataclass and enter it in the registry under its file's stem."""
    module = cls.__module__.split(".")
    made = dataclass(frozen=True, kw_only=True)(cls)
    made.name = module[-1]
    if "family" not in cls.__dict__:
        inherited = next((f for b in cls.__mro__[1:] if (f := getattr(b, "family", ""))), "")
        made.family = module[-2] if module[:2] == ["dazoo", "methods"] and len(module) > 3 else inherited or "custom"
    if not made.__dict__.get("paper") and not getattr(made, "paper", None):
        raise DazooError(f"method {made.name!r} has no paper; give the class a Paper(...) with a link")
    if not (sys.modules[cls.__module__].__doc__ or cls.__doc__):
        raise DazooError(f"method {made.name!r} has no docstring; state its formula there")
    if "settings" in cls.__dict__:
        made.handles = Handles.of(cls.settings)
    made.settings = made.handles.settings
    METHODS.add(made.name, made)
    return made


def create_method(name: str, **hparams: Any) -> Method:
    """An instance of the method ``name`` with checked hyper-parameters."""
    made: Method = configure(METHODS.get(name), hparams)
    return made


def hparams_as(method: Method, **fields: Any) -> Method:
    """A copy of ``method`` with other field values (tensors included, for stacked runs)."""
    return dataclasses.replace(method, **fields)  # type: ignore[type-var]
