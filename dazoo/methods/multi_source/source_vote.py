"""Source vote: a model of each source by itself, and the mean of what they say. No adaptation.

    p(x) = 1/N sum_k softmax(C_k(F_k(x))),    F_k, C_k = argmin CE over the samples of source k

The row that methods for several sources have to beat beside ``source_only``, which learns from all sources pooled.
For values the mean of the values. With one source it is ``source_only``.

Evidence: tests/test_multi_source.py (test_source_vote_is_the_mean_of_single_models).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net


@register
class SourceVote(GradientMethod):
    """One model per source; they vote."""

    paper = Paper(
        title="Do We Really Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised Domain "
        "Adaptation",
        authors="Jian Liang, Dapeng Hu, Jiashi Feng",
        year=2020, url="https://arxiv.org/abs/2002.08546", venue="ICML",
        deviations="the paper's baseline for several sources, without its adaptation",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    targets = frozenset({"classes", "values"})
    uses_target = False
    one_by_one = True

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        return {"cls": net.criterion(net.head(net.body(b.xs)), b.ys)}
