"""What quantifiers share: a classifier trained once, an estimate of the target's shares, and corrected answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod
from dazoo.methods.reweighting._label_shift import confusion, corrected, shares_of
from dazoo.methods.reweighting.bbse import solve_bbse
from dazoo.methods.shallow import fit_classifier, pair, source_of
from dazoo.ops.classwise import one_hot
from dazoo.shallow.steps import Head


class Quantifier(ShallowMethod):
    """A method that estimates the target's class shares q (C,) and classifies by

        argmax_c  log p(c|x) + log q_c - log p_c

    with the probabilities of the suite's classifier, trained on the source, whose class shares are p_c.
    """

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Train once, estimate the shares, correct by them."""
        (xs, xt), y = pair(seen), source_of(seen).y
        head = self.calibrated(seen, ctx, fit_classifier(seen, ctx, xs, y))
        share = source_shares(seen).to(xs)
        found = self.shares(seen, ctx, head(xt))
        return corrected(self.name, head, found.to(xs), share, ctx)

    def shares(self, seen: Seen, ctx: Context, scores: Tensor) -> Tensor:
        """The target's class shares (C,), by the classifier's ``scores`` (n_t, C) of its samples."""
        raise NotImplementedError(f"{self.name} does not define shares")

    def calibrated(self, seen: Seen, ctx: Context, head: Head) -> Head:
        """The classifier whose probabilities count. Default: as it is."""
        return head


def source_shares(seen: Seen) -> Tensor:
    """The source's class shares (C,)."""
    return one_hot(source_of(seen).y, seen.n_classes).double().mean(0)


def adjusted(name: str, seen: Seen, ctx: Context, folds: int, soft: bool) -> Tensor:
    """Shares (C,) that explain how often the target is predicted as which class, by the source's confusions."""
    found = confusion(seen, ctx, folds, soft)
    return shares_of(solve_bbse(found, ctx, name), found.share)


def in_classes(found: Tensor, present: Tensor) -> Tensor:
    """``found`` (k,) of the classes that are ``present`` (C,) bool, and 0 for the others."""
    whole = torch.zeros(len(present), dtype=found.dtype, device=found.device)
    whole[present] = found
    return whole


@dataclass(frozen=True, eq=False)
class Calibrated(Head):
    """``log softmax(scale * s + bias)`` of the log-probabilities s of ``head``; both (C,)."""

    head: Head
    scale: Tensor
    bias: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        scores = torch.log_softmax(self.head(z), 1)
        return torch.log_softmax(self.scale.to(scores) * scores + self.bias.to(scores), 1)
