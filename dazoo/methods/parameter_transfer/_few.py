"""What the files here share: the labelled target samples and the source's model."""

from __future__ import annotations

from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.types import Seen
from dazoo.methods.base import Context
from dazoo.methods.shallow import pair, source_inner, source_of, trained
from dazoo.shallow.steps import Head


def few_of(seen: Seen) -> tuple[Tensor, Tensor]:
    """Labelled target samples (n_f, d), float64, and their labels (n_f,)."""
    if seen.few is None or len(seen.few) == 0:
        raise DazooError("this method needs labelled target samples; run it in the few_labels setting")
    xs, _ = pair(seen)
    return seen.few.x.flatten(1).to(xs), seen.few.y


def source_head(seen: Seen, ctx: Context) -> Head:
    """The suite's classifier fitted on the source alone."""
    xs, _ = pair(seen)
    return trained(seen, ctx, xs, source_of(seen).y, known=lambda: source_inner(seen, ctx))
