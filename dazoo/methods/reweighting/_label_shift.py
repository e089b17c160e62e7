"""Label shift: p(y) changes, p(x|y) does not. What the classifier's confusions on the source say about the target."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.types import Prediction, Predictor, Seen
from dazoo.methods.base import Context
from dazoo.methods.shallow import Aligned, Reweighting, finished, inner_of, pair, source_of
from dazoo.ops.classwise import one_hot
from dazoo.shallow.classifiers import Classifier
from dazoo.shallow.steps import Head, run_steps

LOST = 0.1
UNEXPLAINED = 0.1
FLOOR = 1e-12


class LabelShift(Reweighting):
    """A method whose weights depend on the class alone."""

    def class_weights(self, seen: Seen, ctx: Context) -> Tensor:
        """Estimates of p_t(c) / p_s(c), (C,); 0 for classes without source samples."""
        raise NotImplementedError(f"{self.name} does not define class_weights")

    def weights(self, seen: Seen, ctx: Context) -> Tensor:
        """The weight of each sample's class."""
        return self.class_weights(seen, ctx)[source_of(seen).y]

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Weigh, then train ``ctx.classifier``; the model says the class shares that the weights stand for."""
        (xs, _), y = pair(seen), source_of(seen).y
        ratio = self.class_weights(seen, ctx)
        share = one_hot(y, seen.n_classes).to(ratio).mean(0)
        note_lost(self.name, ratio, share, ctx)
        made = finished(self.name, seen, ctx, Aligned(xs, (), None, ratio[y], lambda: inner_of(seen, ctx)))
        return replace(made, prior=shares_of(ratio, share))


def shares_of(ratio: Tensor, share: Tensor) -> Tensor:
    """The target's class shares (C,) by estimates ``ratio`` of p_t(c) / p_s(c) and the source's ``share``; the source's
    where no class is left."""
    found = share * ratio.clamp(min=0)
    return found / found.sum() if bool(found.sum() > 0) else share


def note_lost(name: str, ratio: Tensor, share: Tensor, ctx: Context) -> None:
    """Warn of classes that estimates ``ratio`` (C,) of p_t(c) / p_s(c) all but remove; ``share`` (C,) is p_s."""
    lost = torch.nonzero((share > 0) & (ratio < LOST))[:, 0].tolist()
    if lost:
        ctx.warn(
            f"{name}: {len(lost)} of {int((share > 0).sum())} classes are estimated to be at most {LOST:.0%} as "
            "frequent in the target as in the source. Unless they are missing there, p(x|y) has changed too, which "
            "class weights cannot undo and make worse: compare with source_only, or use a method that moves features"
        )


def note_unexplained(name: str, c: Confusion, ratio: Tensor, ctx: Context) -> None:
    """Warn where class proportions in the ``ratio`` (C,) do not explain how often the target is predicted as which."""
    total = (c.share * ratio).sum()
    if bool(total > 0):
        gap = float((c.joint @ (ratio / total) - c.target).abs().sum() / 2)
        if gap > UNEXPLAINED:
            ctx.warn(
                f"{name}: no class proportions explain the predictions on the target ({gap:.0%} of them are left "
                "over), so it is not the proportions alone that changed; compare with source_only"
            )


@dataclass(frozen=True)
class Confusion:
    """Means of a classifier's predictions h(x) (C,), one-hot or probabilities.

    Attributes:
        joint: (C, C), E_s[h_i(x) 1(y = j)] on held-out source samples.
        target: (C,), E_t[h_i(x)].
        share: (C,), the source's class shares; the joint's column sums.
    """

    joint: Tensor
    target: Tensor
    share: Tensor


def held_out(seen: Seen, ctx: Context, folds: int) -> Tensor:
    """Scores (n_s, C) of the suite's classifier for every source sample, by a model that has not seen it.

    Raises:
        DazooError: fewer than two folds.
    """
    return out_of_fold(seen, ctx, folds)[0]


def confusion(seen: Seen, ctx: Context, folds: int, soft: bool) -> Confusion:
    """Confusions of the suite's classifier: every source sample is predicted by a model that has not seen it, the
    target by the mean over the ``folds`` models.

    Raises:
        DazooError: fewer than two folds.
    """
    held, target = out_of_fold(seen, ctx, folds)
    belongs = one_hot(source_of(seen).y, seen.n_classes).to(held)
    found = torch.stack([_predicted(scores, soft).mean(0) for scores in target]).mean(0)
    return Confusion(_predicted(held, soft).T @ belongs / len(held), found, belongs.mean(0))


def out_of_fold(seen: Seen, ctx: Context, folds: int) -> tuple[Tensor, list[Tensor]]:
    """Scores (n_s, C) of source samples by the model of the other folds, and of the target (n_t, C) by every model.

    Fitted once for all runs on the same folds.

    Raises:
        DazooError: fewer than two folds.
    """
    if folds < 2:
        raise DazooError(f"at least two folds are needed, not {folds}")
    (x, xt), y = pair(seen), source_of(seen).y
    fold = stratified_folds(y, folds, ctx)

    def make() -> tuple[Tensor, list[Tensor], list[str]]:
        notes: list[str] = []
        held, target = torch.zeros(len(x), seen.n_classes, dtype=x.dtype, device=x.device), []
        for f in range(folds):
            out = fold == f
            if bool(out.any()):
                head = ctx.classifier.fit(x[~out], y[~out], seen.n_classes, gen=ctx.gen, warn=notes.append)
                held[out] = head(x[out])
                target.append(head(xt))
        return held, target, notes

    # other classifiers may draw from the run's generator, which a shared result would leave where it was
    drawn = not isinstance(ctx.classifier, Classifier)
    key = ("out_of_fold", ctx.classifier, folds, fold.cpu().numpy().tobytes())
    held, target, notes = make() if drawn else ctx.memo(key, make)
    for note in notes:
        ctx.warn(note)
    return held, target


def stratified_folds(y: Tensor, folds: int, ctx: Context) -> Tensor:
    """A fold index (n,) such that every class is spread evenly over the folds."""
    fold = torch.empty(len(y), dtype=torch.int64)
    begin = 0
    for c in torch.unique(y.cpu()):
        rows = torch.nonzero(y.cpu() == c)[:, 0]
        rows = rows[torch.randperm(len(rows), generator=ctx.gen)]
        fold[rows] = (torch.arange(len(rows)) + begin) % folds
        begin += len(rows)
    return fold.to(y.device)


def _predicted(scores: Tensor, soft: bool) -> Tensor:
    return torch.softmax(scores, 1) if soft else one_hot(scores.argmax(1), scores.shape[1]).to(scores)


@dataclass(frozen=True, eq=False)
class PriorCorrected(Predictor):
    """``head`` on the raw features; target samples' log-probabilities are moved by the priors' ``log_ratio`` (C,).

    ``prior`` (C,) are the target's class shares.
    """

    head: Head
    log_ratio: Tensor
    prior: Tensor | None = None

    def predict(self, x: Tensor) -> Prediction:
        z = run_steps((), x)
        scores = torch.log_softmax(torch.log_softmax(self.head(z), 1) + self.log_ratio.to(z), 1)
        return Prediction(scores, z, prior=self.prior)

    def predict_source(self, x: Tensor) -> Prediction:
        z = run_steps((), x)
        return Prediction(self.head(z), z)


def corrected(name: str, head: Head, found: Tensor, prior: Tensor, ctx: Context) -> PriorCorrected:
    """``head``, trained under the class shares ``prior`` (C,), for a target of the shares ``found`` (C,)."""
    ratio = torch.where(prior > 0, found.clamp(min=FLOOR) / prior.clamp(min=FLOOR), torch.full_like(prior, FLOOR))
    note_lost(name, ratio, prior, ctx)
    return PriorCorrected(head, ratio.log(), found)
