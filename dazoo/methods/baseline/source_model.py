"""The source model as it is: what adaptation without the source begins from, and has to beat.

    F_0, C_0 = argmin source loss (the source-only model of the same seed and recipe);   predict C_0(F_0(x))

Where the source is hidden, source_only cannot run, since it is trained on the source's samples; this is the same model.
Several sources that are told apart each have a model, whose probabilities are averaged.

Evidence: tests/test_source_free.py (equals source_only bit for bit).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.source_free._source_free import SourceFree
from dazoo.nets.net import Net


@register
class SourceModel(SourceFree):
    """No adaptation of a fitted source model."""

    paper = Paper(
        title="The Nature of Statistical Learning Theory", authors="Vladimir N. Vapnik", year=1995,
        url="https://doi.org/10.1007/978-1-4757-2440-0", venue="Springer (Book)",
    )  # fmt: skip
    targets = frozenset({"classes", "values"})
    family = "baseline"
    idle = True  # type: ignore[assignment]

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        return {}
