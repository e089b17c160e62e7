"""A task of raw samples as one of numbers, and the fitted encoder that does the same to new samples."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from dazoo.core import hparam
from dazoo.core.errors import DazooError
from dazoo.core.portable import Portable
from dazoo.data.domain import Domain
from dazoo.data.raw import Raw, joined
from dazoo.data.registry import cache_root
from dazoo.data.samples import Schema
from dazoo.data.task import Task
from dazoo.encoders.base import ENCODERS, Encoder, Fitted, create_encoder, default_for
from dazoo.nets.frozen import read, write


@dataclass(frozen=True)
class Encoding(Portable):
    """A fitted encoder with its name and options; ``source`` is that of source samples where they have features, and so
    an encoder, of their own."""

    name: str
    fitted: Fitted
    options: dict[str, Any] = field(default_factory=dict)
    source: Encoding | None = None

    def of_source(self, x: Any) -> Tensor:
        """Source samples as numbers."""
        return self(x) if self.source is None else self.source(x)

    def __call__(self, x: Any) -> Tensor:
        """Samples as numbers; what is dear to compute is kept on disk by content."""
        if not self.fitted.key:
            return self.fitted(x)
        content = x.digest() if isinstance(x, Raw) else repr((tuple(x.shape), x.sum().item())).encode()
        name = hashlib.sha256(content + self.fitted.key.encode()).hexdigest()
        path = cache_root() / "encoded" / f"{name}.safetensors"
        made = read(path, len(x))
        if made is None:
            made = self.fitted(x)
            write(path, made)
        return made


@dataclass(frozen=True)
class AsTheyAre(Fitted):
    """Leaves dense samples what they are."""

    def __call__(self, x: Any) -> Tensor:
        found: Tensor = x
        return found


def chosen(encoder: Any, kind: str, vectors: bool = False) -> Encoder | None:
    """The encoder that somebody means: a name, a mapping with ``name`` and options, an encoder, or ``auto``.

    ``vectors``: whether ``auto`` has to make vectors.

    Raises:
        UnknownName: there is no such encoder, or it has no such option.
        DazooError: it does not take such samples.
    """
    if encoder is None or encoder == "auto":
        name = default_for(kind, vectors)
        if name is None:
            return None
        usual = create_encoder(name)
        return usual.for_vectors() if vectors else usual
    if isinstance(encoder, Mapping):
        options = dict(encoder)
        name = options.pop("name", None) or default_for(kind)
        if name is None:
            raise DazooError("an encoder as a mapping needs the key name, e.g. {name: tfidf, dims: 50}")
        encoder = create_encoder(str(name), **options)
    made = create_encoder(encoder) if isinstance(encoder, str) else encoder
    if not isinstance(made, Encoder):
        raise DazooError(f"an encoder is a name, a mapping or an Encoder, not {type(made).__name__}")
    if kind not in made.takes:
        able = [n for n, cls in ENCODERS.items() if kind in cls.takes]
        raise DazooError(
            f"the encoder {made.name!r} reads {' and '.join(made.takes)} samples, not {kind} samples; "
            + (f"take one of {', '.join(able)}" if able else "leave it out")
        )
    return made


def encoded(task: Task, encoder: Any = "auto", vectors: bool = False) -> tuple[Task, Encoding | None]:
    """``task`` with numbers for samples, and the fitted encoder; dense samples stay what they are under ``auto``.

    ``vectors``: whether a method takes nothing but vectors, which ``auto`` minds.

    Fitted to what the task shows: the samples of the source and the visible ones of the target, labels aside; where the
    source is hidden or the target unseen, to the source alone, as what is fitted before the target is there.

    Raises:
        UnknownName, DazooError: as ``chosen``, or samples that the encoder cannot read.
    """
    if task.setting.spaces == "own":
        return _each_side(task, encoder, vectors)
    made = None if encoder is None and not task.target.raw else chosen(encoder, task.target.kind, vectors)
    if made is None:
        return task, None
    seen = task.seen()
    origin = seen if seen.origin is None else seen.origin
    if origin.source is None:
        raise DazooError(f"task {task.name!r} shows no source that an encoder could be fitted to; encode it first")
    parts = [seen.target.x, *([] if seen.few is None else [seen.few.x])] if origin is seen else [seen.target.x[:0]]
    with torch.random.fork_rng(devices=[]):
        try:
            fitted = made.fit(origin.source.x, joined(parts))
        except DazooError as error:
            raise DazooError(f"task {task.name!r}: {error}") from None
    encoding = Encoding(made.name, fitted, hparam.values(made))
    sources = tuple(_mapped(d, encoding) for d in task.sources)
    words = fitted.of_names(task.classes[: task.n_classes]) if task.words is None and task.n_classes else task.words
    return replace(task, sources=sources, target=_mapped(task.target, encoding), words=words), encoding


def _each_side(task: Task, encoder: Any, vectors: bool) -> tuple[Task, Encoding | None]:
    """``encoded`` where source and target have different features: an encoder for each raw side, fitted to it alone."""
    if not task.target.raw and not any(s.raw for s in task.sources):
        return task, None
    seen = task.seen()
    if seen.source is None:
        raise DazooError(f"task {task.name!r} shows no source that an encoder could be fitted to; encode it first")
    shown = [seen.target.x, *([] if seen.few is None else [seen.few.x])]
    found = []
    for domain, x in ((task.sources[0], seen.source.x), (task.target, joined(shown))):
        made = chosen(encoder, domain.kind, vectors) if domain.raw else None
        if made is None:
            found.append(Encoding("as they are", AsTheyAre()))
            continue
        with torch.random.fork_rng(devices=[]):
            try:
                found.append(Encoding(made.name, made.fit(x, x[:0]), hparam.values(made)))
            except DazooError as error:
                raise DazooError(f"task {task.name!r}: {error}") from None
    sources = tuple(_mapped(d, found[0]) if d.raw else d for d in task.sources)
    target = _mapped(task.target, found[1]) if task.target.raw else task.target
    return replace(task, sources=sources, target=target), replace(found[1], source=found[0])


def _mapped(domain: Domain, encoding: Encoding) -> Domain:
    test = None if domain.test is None else _mapped(domain.test, encoding)
    try:
        x = encoding(domain.x)
        names = encoding.fitted.outputs()
        schema = Schema(encoding.fitted.makes, tuple(x.shape[1:]), names) if names else None
        return replace(domain.with_x(x, kind=encoding.fitted.makes, test=test), schema=schema)
    except DazooError as error:
        raise DazooError(f"domain {domain.name!r}: {error}") from None
