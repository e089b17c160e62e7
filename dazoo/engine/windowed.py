"""Training on domains that stay on disk: a window of each is in memory at a time (``data.windows``).

Batches, passes over the data and what methods remember of every sample (banks, pseudo-labels) are those of the window,
so that memory is bounded by it. Windows change where an epoch ends, before methods look at the data anew. Which window
a run is in follows from its step, and the samples are read again after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dazoo.core.blocks import Blocks
from dazoo.core.errors import DazooError
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.data.windows import Windows, windows_of
from dazoo.nets.net import part_seed


@dataclass(frozen=True)
class Windowed:
    """What is visible, and the windows of the domains on disk by their letter, ``s`` and ``t``."""

    whole: Seen
    windows: dict[str, Windows]

    @staticmethod
    def of(seen: Seen, seed: int, size: int | None) -> Windowed:
        """``size``: rows of a window; None is what ``WINDOW_BYTES`` hold."""
        found: dict[str, Windows] = {}
        for key, word, part in (("s", "source", seen.source), ("t", "target", seen.target)):
            if part is not None and isinstance(part.x, Blocks):
                wide = 1 if part.x.dtype == torch.uint8 else 4
                row = wide * int(torch.Size(part.x.shape[1:]).numel())
                found[key] = windows_of(part.x, part_seed(seed, f"windows {word}"), row, size)
        if seen.few is not None and isinstance(seen.few.x, Blocks):
            seen = replace(seen, few=replace(seen.few, x=seen.few.x.tensor()))
        return Windowed(seen, found)

    @property
    def moving(self) -> set[str]:
        """The domains of which no window holds everything."""
        return {key for key, w in self.windows.items() if not w.whole}

    def rows(self, key: str, n: int) -> int:
        """How many samples a domain has in all, of which ``n`` are in memory."""
        return self.windows[key].n if key in self.windows else n

    def seen(self, number: int, before: Seen | None = None) -> Seen:
        """What is visible in a window; domains that have one window are those of ``before``."""
        source, target = self.whole.source, self.whole.target
        for key, windows in self.windows.items():
            if before is not None and windows.whole:
                source, target = (before.source, target) if key == "s" else (source, before.target)
                continue
            rows = windows.rows(number)
            if key == "s":
                assert source is not None
                source = Labeled(_read(source.x, rows, "source"), source.y[rows], source.domain[rows])
            else:
                domain = None if target.domain is None else target.domain[rows]
                target = Unlabeled(_read(target.x, rows, "target"), domain)
        return replace(self.whole, source=source, target=target)


def _read(x: Any, rows: Tensor, whose: str) -> Tensor:
    found: Tensor = x.take(rows)
    if not found.is_floating_point():
        return found
    found = found.to(torch.float32)
    if not bool(torch.isfinite(found).all()):
        bad = rows[~torch.isfinite(found.flatten(1)).all(1)]
        raise DazooError(f"row {int(bad[0])} of the {whose} on disk holds NaN or infinite values; remove such samples")
    return found
