"""A domain: samples of one distribution, with labels where they are known."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.blocks import Blocks
from dazoo.core.errors import DazooError
from dazoo.data.raw import RAW_KINDS, Raw
from dazoo.data.samples import Schema

KINDS = tuple(dict.fromkeys(("vector", "image", "series", *RAW_KINDS)))


@dataclass(frozen=True, repr=False)
class Domain:
    """Samples of one domain.

    Attributes:
        name: short name, e.g. ``"amazon"``.
        x: ``vector`` (n, d) float; ``image`` (n, height, width, channels) uint8, possibly memory-mapped;
            ``series`` (n, channels, length) float; or raw samples (``data.raw``): texts, tables, sparse rows,
            series and recordings of unlike length, of which an encoder makes numbers; or what stays on disk
            (``data.blocks``), whose values are checked when they are first read.
        y: class indices (n,) int64, regression targets (n,) float, or None where unknown.
        classes: class names in index order; empty for regression or unlabelled data.
        kind: one of ``KINDS``.
        test: the official test part, where a dataset has one; else the domain is used transductively.
        known: which samples (n,) bool have a label, where it is only a part of them; ``y`` counts nowhere else. None
            where all or none have one.
        few: rows (k,) int64 whose labels are for methods that learn from few target labels, and so are never tested
            on; None where nobody chose them.
        member: which of several pooled targets (n,) int64 a sample is from; None where there is one.
        schema: how the samples looked when they came through ``data.samples``: names of features and the like.
    """

    name: str
    x: Any  # Tensor | Raw | Blocks
    y: Tensor | None
    classes: tuple[str, ...]
    kind: str = "vector"
    test: Domain | None = None
    known: Tensor | None = None
    few: Tensor | None = None
    schema: Schema | None = None
    member: Tensor | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DazooError(f"domain {self.name!r}: kind must be one of {list(KINDS)}, not {self.kind!r}")
        if len(self.x) == 0:
            raise DazooError(f"domain {self.name!r} is empty; give it at least one sample")
        if self.raw and (problem := self.x.problem()):
            raise DazooError(f"domain {self.name!r}: {problem}")
        if not self.raw and 0 in self.x.shape[1:]:
            raise DazooError(
                f"domain {self.name!r}: its samples have no features (shape {tuple(self.x.shape)}); give at least one"
            )
        if self.y is not None and len(self.y) != len(self.x):
            raise DazooError(f"domain {self.name!r} has {len(self.x)} samples but {len(self.y)} labels")
        if len(set(self.classes)) != len(self.classes):
            raise DazooError(f"domain {self.name!r} names a class twice: {list(self.classes)}; rename one")
        if self.known is not None:
            self._check_known(self.known)
        if self.y is not None:
            self._check_labels(self.y if self.known is None else self.y[self.known])
        if self.few is not None:
            self._check_few(self.few)
        if self._dense and self.x.is_floating_point() and not bool(torch.isfinite(self.x).all()):
            bad = int((~torch.isfinite(self.x)).flatten(1).any(1).sum()) if self.x.ndim > 1 else 1
            raise DazooError(
                f"domain {self.name!r}: {bad} of {len(self.x)} samples hold NaN or infinite values; "
                "remove or impute them before adapting"
            )

    def _check_known(self, known: Tensor) -> None:
        if known.dtype != torch.bool or known.shape != (len(self.x),):
            raise DazooError(f"domain {self.name!r}: known must be a mask ({len(self.x)},), not {tuple(known.shape)}")
        if self.y is None or not bool(known.any()):
            object.__setattr__(self, "y", None)
        if self.y is None or bool(known.all()):
            object.__setattr__(self, "known", None)

    def _check_few(self, few: Tensor) -> None:
        labelled = self.labelled
        if (
            few.ndim != 1
            or not len(few)
            or len(torch.unique(few)) < len(few)
            or not bool(torch.isin(few, labelled).all())
        ):
            raise DazooError(
                f"domain {self.name!r}: few must name rows that have a label, at least one and each once, not "
                f"{few.tolist()[:8]}"
            )

    def _check_labels(self, y: Tensor) -> None:
        if y.ndim != 1:
            raise DazooError(f"domain {self.name!r}: labels must be (n,), not {tuple(y.shape)}; flatten them")
        if y.is_floating_point():
            if self.classes:
                raise DazooError(
                    f"domain {self.name!r} names classes, but its labels are floats; make them int64 indices, or leave "
                    "classes empty for regression targets"
                )
            if not bool(torch.isfinite(y).all()):
                raise DazooError(f"domain {self.name!r}: the targets hold NaN or infinite values; remove these samples")
        elif y.dtype != torch.int64:
            raise DazooError(f"domain {self.name!r}: class labels must be int64, not {y.dtype}; convert them")
        elif int(y.min()) < 0 or int(y.max()) >= len(self.classes):
            raise DazooError(
                f"domain {self.name!r}: labels run from {int(y.min())} to {int(y.max())}, but there are "
                f"{len(self.classes)} class names; labels are indices into classes"
            )

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        shape = "x".join(str(k) for k in self.x.shape[1:]) if hasattr(self.x, "shape") else ""
        what = "values" if self.regression else f"{len(self.classes)} classes"
        n = len(self.labelled)
        known = "no labels" if not n else what if n == len(self) else f"{n} labels of {what}"
        return f"<domain {self.name}: {len(self)} {self.kind} samples{f' ({shape})' if shape else ''}, {known}>"

    @property
    def raw(self) -> bool:
        """Whether an encoder has to make numbers of the samples first."""
        return isinstance(self.x, Raw)

    @property
    def on_disk(self) -> bool:
        """Whether the samples are read block by block."""
        return isinstance(self.x, Blocks)

    @property
    def _dense(self) -> bool:
        return not self.raw and not self.on_disk

    @property
    def regression(self) -> bool:
        return self.y is not None and self.y.is_floating_point()

    @cached_property
    def labelled(self) -> Tensor:
        """Rows (k,) int64, ascending, that have a label."""
        if self.y is None:
            return torch.empty(0, dtype=torch.int64)
        return torch.arange(len(self)) if self.known is None else torch.nonzero(self.known)[:, 0]

    def coded_as(self, classes: tuple[str, ...]) -> Domain:
        """The same labels as indices into ``classes``, which hold every class that occurs here."""
        if self.y is None or self.regression or classes == self.classes:
            return self
        place = {c: i for i, c in enumerate(classes)}
        y = torch.full_like(self.y, -1)
        y[self.labelled] = torch.tensor([place[self.classes[int(c)]] for c in self.y[self.labelled]], dtype=torch.int64)
        test = None if self.test is None else self.test.coded_as(classes)
        return replace(self, y=y, classes=classes, test=test)

    @property
    def occurring(self) -> set[str]:
        """Names of the classes that labelled samples have, those of the test part included."""
        if self.y is None or self.regression:
            return set()
        found = {self.classes[int(c)] for c in torch.unique(self.y[self.labelled])}
        return found if self.test is None else found | self.test.occurring

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the content (samples, labels, classes, kind); names of domains do not enter."""
        digest = hashlib.sha256()
        if not self._dense:
            digest.update(repr((self.classes, self.kind)).encode() + self.x.digest())
        else:
            digest.update(repr((tuple(self.x.shape), str(self.x.dtype), self.classes, self.kind)).encode())
            flat = self.x.detach().cpu()
            step = max(1, (1 << 24) // max(1, flat[0].numel() * flat.element_size()))
            for start in range(0, len(flat), step):
                digest.update(np.ascontiguousarray(flat[start : start + step].numpy()).data)
        if self.y is not None:
            rows = [self.y] if self.known is None else [self.y[self.labelled], self.labelled]
            for part in rows if self.few is None else [*rows, self.few]:
                digest.update(np.ascontiguousarray(part.detach().cpu().numpy()).data)
        if self.test is not None:
            digest.update(self.test.fingerprint.encode())
        return digest.hexdigest()

    def with_x(self, x: Tensor, kind: str = "vector", test: Domain | None = None) -> Domain:
        """The same labels over another representation of the samples."""
        return replace(self, x=x, kind=kind, test=test, schema=None)
