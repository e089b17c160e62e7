"""What the boosting methods share: pooled labelled samples and committees of fitted models."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dazoo.core.errors import DazooError, NonFiniteError
from dazoo.core.types import Seen
from dazoo.methods.shallow import source_of, source_x
from dazoo.ops.classwise import one_hot
from dazoo.shallow.steps import EPS_VOTE, Head


def both(seen: Seen) -> tuple[Tensor, Tensor, int]:
    """Source samples followed by the labelled target samples (n, d), their labels (n,), and how many are source."""
    if seen.few is None or len(seen.few) == 0:
        raise DazooError("this method needs labelled target samples; run it in the few_labels setting")
    xs, ys = source_x(seen), source_of(seen).y
    return torch.cat([xs, seen.few.x.flatten(1).to(xs)]), torch.cat([ys, seen.few.y.to(ys)]), len(xs)


@dataclass(frozen=True, eq=False)
class Committee(Head):
    """Weighted majority: log((1 - eps) share + eps / C), share_c = sum of ``votes`` (k,) of the members that say c, or
    where ``soft`` of the votes times the members' probabilities of c."""

    members: tuple[Head, ...]
    votes: Tensor
    soft: bool = False

    def __call__(self, z: Tensor) -> Tensor:
        share: Tensor | None = None
        for member, vote in zip(self.members, self.votes / self.votes.sum()):
            scores = member(z)
            if not bool(torch.isfinite(scores).all()):
                raise NonFiniteError(
                    "a member of the committee scores NaN or infinite; check the samples for such values"
                )
            said = scores.softmax(1) if self.soft else one_hot(scores.argmax(1), scores.shape[1]).to(scores)
            said = vote.to(scores) * said
            share = said if share is None else share + said
        assert share is not None
        return torch.log((1 - EPS_VOTE) * share + EPS_VOTE / share.shape[1])


@dataclass(frozen=True, eq=False)
class WeightedMedian(Head):
    """The weighted median of the members' values: the smallest one up to which half of ``votes`` (k,) lies."""

    members: tuple[Head, ...]
    votes: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        values, order = torch.cat([member(z) for member in self.members], 1).sort(dim=1, stable=True)
        mass = self.votes.to(values)[order].cumsum(1)
        row = (mass >= mass[:, -1:] / 2 * (1 - 1e-12)).to(torch.int64).argmax(1)
        return values.gather(1, row[:, None])
