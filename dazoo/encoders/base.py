"""What an encoder is: options that, fitted to what a task shows, make numbers of raw samples.

An encoder sees the samples of the source and the unlabelled samples of the target, and no label. What it has learned is
a ``Fitted``, which travels with the model. Adding one touches one file: a class below ``dazoo.encoders`` under
``@register``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, dataclass_transform

from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.hparam import configure, hp
from dazoo.core.portable import Portable
from dazoo.core.registry import Registry

ENCODERS: Registry[type[Encoder]] = Registry("encoder", "dazoo.encoders", "dazoo.encoders")
E = TypeVar("E", bound="Encoder")


class Fitted(Portable):
    """Makes numbers of samples.

    Attributes:
        makes: the kind of what comes out, of ``Domain.kind``.
        alike: whether what comes out has one unit by itself, so that no column is standardised or judged for its scale.
        key: names the map where it is dear to compute, so that results are kept on disk by content; empty otherwise.
    """

    makes: ClassVar[str] = "vector"
    alike: ClassVar[bool] = False

    @property
    def key(self) -> str:
        return ""

    @property
    def backbone(self) -> str:
        """The backbone that reads what comes out, where not just any does."""
        return ""

    def __call__(self, x: Any) -> Tensor:
        """Samples (n, ...), raw or dense, as floating-point numbers (n, ...).

        Raises:
            DazooError: samples unlike those it was fitted to.
        """
        raise NotImplementedError

    def outputs(self) -> tuple[str, ...]:
        """Names of the k numbers of a sample, where they have names."""
        return ()

    def ignored(self) -> tuple[str, ...]:
        """Names of what is left out of the samples."""
        return ()

    def of_names(self, classes: tuple[str, ...]) -> Tensor | None:
        """Features (K, d) of names of classes in the space of the samples, where texts have such."""
        return None

    def said(self) -> list[str]:
        """What a person should know of how samples were understood, in sentences."""
        return []


class Encoder:
    """Base of all encoders; fields made with ``hp`` are options.

    Attributes:
        takes: kinds of samples it can read.
        default_for: kinds of samples that it encodes where nobody names an encoder.
        vectors_for: kinds of dense samples of which it makes vectors for a method that takes nothing else.
        gives_names: whether it gives features of class names too (``Fitted.of_names``).
    """

    name: ClassVar[str] = ""
    takes: ClassVar[tuple[str, ...]] = ()
    default_for: ClassVar[tuple[str, ...]] = ()
    vectors_for: ClassVar[tuple[str, ...]] = ()
    gives_names: ClassVar[bool] = False

    def fit(self, source: Any, target: Any) -> Fitted:
        """Learn from the samples of the source and of the target, which may be none (0 rows).

        Raises:
            DazooError: there is nothing to learn from them.
        """
        raise NotImplementedError

    def for_vectors(self) -> Encoder:
        """This encoder where what comes out has to be vectors."""
        return self


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(hp,))
def register(cls: type[E]) -> type[E]:
    """Make ``cls`` a frozen keyword-only dataclass and enter it in the registry under its file's stem."""
    made = dataclass(frozen=True, kw_only=True)(cls)
    made.name = cls.__module__.split(".")[-1]
    if not (sys.modules[cls.__module__].__doc__ or cls.__doc__):
        raise DazooError(f"encoder {made.name!r} has no docstring; say there what it computes")
    ENCODERS.add(made.name, made)
    return made


def create_encoder(name: str, **options: Any) -> Encoder:
    """An encoder by name with checked options."""
    made: Encoder = configure(ENCODERS.get(name), options)
    return made


def default_for(kind: str, vectors: bool = False) -> str | None:
    """The name of the encoder of a kind of samples where nobody names one; None for numbers that stay what they are.

    ``vectors``: where a method takes nothing but vectors.
    """
    for name, cls in ENCODERS.items():
        if vectors and kind in cls.vectors_for:
            return name
    return next((name for name, cls in ENCODERS.items() if kind in cls.default_for), None)
