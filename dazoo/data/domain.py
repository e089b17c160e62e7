"""A domain: samples of one distribution, with labels where they are known."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError

KINDS = ("vector", "image", "series", "text", "audio")


@dataclass(frozen=True)
class Domain:
    """Samples of one domain.

    Attributes:
        name: short name, e.g. ``"amazon"``.
        x: ``vector`` (n, d) float; ``image`` (n, height, width, channels) uint8, possibly memory-mapped;
            ``series`` (n, channels, length) float.
        y: class indices (n,) int64, regression targets (n,) float, or None where unknown.
        classes: class names in index order; empty for regression or unlabelled data.
        kind: one of ``KINDS``.
        test: the official test part, where a dataset has one; else the domain is used transductively.
    """

    name: str
    x: Tensor
    y: Tensor | None
    classes: tuple[str, ...]
    kind: str = "vector"
    test: Domain | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DazooError(f"domain {self.name!r}: kind must be one of {list(KINDS)}, not {self.kind!r}")
        if len(self.x) == 0:
            raise DazooError(f"domain {self.name!r} is empty; give it at least one sample")
        if self.y is not None and len(self.y) != len(self.x):
            raise DazooError(f"domain {self.name!r} has {len(self.x)} samples but {len(self.y)} labels")
        if len(set(self.classes)) != len(self.classes):
            raise DazooError(f"domain {self.name!r} names a class twice: {list(self.classes)}; rename one")
        if self.y is not None:
            self._check_labels(self.y)
        if self.x.is_floating_point() and not bool(torch.isfinite(self.x).all()):
            bad = int((~torch.isfinite(self.x)).flatten(1).any(1).sum()) if self.x.ndim > 1 else 1
            raise DazooError(
                f"domain {self.name!r}: {bad} of {len(self.x)} samples hold NaN or infinite values; "
                "remove or impute them before adapting"
            )

    def _check_labels(self, y: Tensor) -> None:
        if y.ndim != 1:
            raise DazooError(f"domain {self.name!r}: labels must be (n,), not {tuple(y.shape)}; flatten them")
        if y.is_floating_point():
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

    @property
    def regression(self) -> bool:
        return self.y is not None and self.y.is_floating_point()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the content (samples, labels, classes, kind); names of domains do not enter."""
        digest = hashlib.sha256(repr((tuple(self.x.shape), str(self.x.dtype), self.classes, self.kind)).encode())
        flat = self.x.detach().cpu()
        step = max(1, (1 << 24) // max(1, flat[0].numel() * flat.element_size()))
        for start in range(0, len(flat), step):
            digest.update(np.ascontiguousarray(flat[start : start + step].numpy()).data)
        if self.y is not None:
            digest.update(np.ascontiguousarray(self.y.detach().cpu().numpy()).data)
        if self.test is not None:
            digest.update(self.test.fingerprint.encode())
        return digest.hexdigest()

    def with_x(self, x: Tensor, kind: str = "vector", test: Domain | None = None) -> Domain:
        """The same labels over another representation of the samples."""
        return replace(self, x=x, kind=kind, test=test)
