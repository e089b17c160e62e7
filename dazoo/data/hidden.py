"""What a task hides: the samples it is tested on, and their labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dazoo.core.types import Labeled


@dataclass(frozen=True)
class Hidden:
    """The test part: samples and their labels. Opened by ``dazoo.bench.execute.evaluate`` only.

    Labels of classes that no source has are K, the number of the source's; ``fine`` (n,) tells them apart.
    ``at`` (n,) are the places of the samples in the stream, where the target is one; ``member`` (n,) says of which
    target they are, where there are several. ``source`` are the source's samples with their labels, where no method
    sees them. ``n_classes`` is K, 0 for values.
    """

    x: Tensor
    y: Tensor | None
    fine: Tensor | None = None
    at: Tensor | None = None
    member: Tensor | None = None
    source: Labeled | None = None
    n_classes: int = 0

    @property
    def prior(self) -> Tensor | None:
        """The exact shares (K,) of the source's classes among the samples; None for values and without labels."""
        if self.y is None or not self.n_classes:
            return None
        known = self.y[self.y < self.n_classes]
        return torch.bincount(known, minlength=self.n_classes).double() / max(len(self.y), 1)
