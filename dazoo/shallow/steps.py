"""The pieces fitted shallow models are made of: portable maps of samples (steps) and scorers (heads).

Every piece casts its input to the device and dtype of its own tensors, so a model loaded on the CPU accepts any input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dazoo.core.blocks import Blocks
from dazoo.core.errors import DazooError, NonFiniteError
from dazoo.core.portable import Portable
from dazoo.core.types import Prediction, Predictor
from dazoo.ops.linalg.blas import all_finite, product
from dazoo.ops.linalg.linear import distances_between, gram, rows_per_block, unit_rows
from dazoo.ops.linalg.neighbours import nearest, suited

EPS_VOTE = 1e-3


class Step(Portable):
    """A map of samples (n, d) to (n, k)."""

    def __call__(self, x: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} is not defined on samples")


class Head(Portable):
    """A map of features (n, k) to scores (n, C), or (n, 1) values."""

    def __call__(self, z: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} is not defined on features")


@dataclass(frozen=True, eq=False)
class Affine(Step):
    """x W + b with ``weight`` (d, k) and ``bias`` (k,)."""

    weight: Tensor
    bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        z = product(_fit_width(x, self.weight, self.weight.shape[0]), self.weight)
        return z if self.bias is None else z + self.bias


@dataclass(frozen=True, eq=False)
class Center(Step):
    """x - mean, ``mean`` (d,)."""

    mean: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return _fit_width(x, self.mean, len(self.mean)) - self.mean


@dataclass(frozen=True, eq=False)
class Standardise(Step):
    """(x - mean) / scale, both (d,); a scale of 0 (a constant feature) counts as 1."""

    mean: Tensor
    scale: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        scale = torch.where(self.scale > 0, self.scale, torch.ones_like(self.scale))
        return (_fit_width(x, self.mean, len(self.mean)) - self.mean) / scale


@dataclass(frozen=True, eq=False)
class UnitNorm(Step):
    """x / ||x|| per sample; zero samples stay zero."""

    def __call__(self, x: Tensor) -> Tensor:
        return unit_rows(x.to(torch.float64))


@dataclass(frozen=True, eq=False)
class Columns(Step):
    """The chosen columns of x; ``index`` (k,) of ``width`` input columns. NaN in the others is an error too."""

    index: Tensor
    width: int

    def __call__(self, x: Tensor) -> Tensor:
        if not all_finite(x):
            raise NonFiniteError("the samples hold NaN or infinite values; remove or impute them first")
        return _fit_width(x, self.index, self.width).to(torch.float64)[:, self.index]


@dataclass(frozen=True, eq=False)
class Copies(Step):
    """[c_1 x, c_2 x, ...]: x, or zeros, side by side; ``keep`` (k,) of 0 and 1, ``width`` features of x."""

    keep: Tensor
    width: int

    def __call__(self, x: Tensor) -> Tensor:
        x = _fit_width(x, self.keep, self.width)
        z = x.new_zeros(len(x), len(self.keep), self.width, dtype=torch.float64)
        z[:, self.keep.bool()] = x[:, None].to(torch.float64)
        return z.flatten(1)


@dataclass(frozen=True, eq=False)
class Tanh(Step):
    """tanh(x) entry by entry."""

    def __call__(self, x: Tensor) -> Tensor:
        return torch.tanh(x)


@dataclass(frozen=True, eq=False)
class Append(Step):
    """[x, steps(x)]: the samples followed by what ``steps`` make of them."""

    steps: tuple[Step, ...]

    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([x, run_steps(self.steps, x)], dim=1)


@dataclass(frozen=True, eq=False)
class KernelMap(Step):
    """k(x, anchors) coef (+ bias): ``anchors`` (m, d), ``coef`` (m, k), ``gamma`` () and ``kind`` as in ``gram``."""

    kind: str
    anchors: Tensor
    coef: Tensor
    gamma: Tensor
    bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        x = _fit_width(x, self.anchors, self.anchors.shape[1])
        z = _in_blocks(x, len(self.anchors), lambda b: product(gram(self.kind, b, self.anchors, self.gamma), self.coef))
        return z if self.bias is None else z + self.bias


@dataclass(frozen=True, eq=False)
class NearestShift(Step):
    """x + shift of its nearest anchor: carries a map known on ``anchors`` (m, d) over to new samples."""

    anchors: Tensor
    shifts: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        x = _fit_width(x, self.anchors, self.anchors.shape[1])
        return x + self.shifts[nearest_rows(x, self.anchors, 1)[:, 0]]


@dataclass(frozen=True, eq=False)
class NearestImage(Step):
    """The image (k,) of the nearest anchor: carries a map between spaces, known on ``anchors`` (m, d), over to new
    samples; ``images`` (m, k)."""

    anchors: Tensor
    images: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        x = _fit_width(x, self.anchors, self.anchors.shape[1])
        return self.images[nearest_rows(x, self.anchors, 1)[:, 0]]


@dataclass(frozen=True, eq=False)
class LinearScores(Head):
    """z W + b for the classes in ``classes`` (k,), of ``n_classes``.

    ``kind``: ``logits`` (scores become log-probabilities), ``decision`` (decision values) or ``values`` (regression).
    Classes without a column score 30 below the best (logits) or 1 below the worst (decision) of the others.
    """

    weight: Tensor
    bias: Tensor
    classes: Tensor
    n_classes: int
    kind: str

    def __call__(self, z: Tensor) -> Tensor:
        raw = product(_fit_width(z, self.weight, self.weight.shape[0]), self.weight) + self.bias
        if self.kind == "values":
            return raw
        if len(self.classes) == self.n_classes:
            return torch.log_softmax(raw, dim=1) if self.kind == "logits" else raw
        low = raw.amax(1, keepdim=True) - 30 if self.kind == "logits" else raw.amin(1, keepdim=True) - 1
        scores = low.repeat(1, self.n_classes)
        scores[:, self.classes] = raw
        return torch.log_softmax(scores, dim=1) if self.kind == "logits" else scores


@dataclass(frozen=True, eq=False)
class PairwiseVotes(Head):
    """One-against-one: ``steps`` give a decision value per pair of ``classes`` (k,), positive for the pair's first.

    Scores are votes plus squashed summed decision values, so that values break ties of votes; classes that were not
    fitted score -1.
    """

    steps: tuple[Step, ...]
    classes: Tensor
    n_classes: int

    def __call__(self, z: Tensor) -> Tensor:
        decision = run_steps(self.steps, z)
        k = len(self.classes)
        first, second = torch.triu_indices(k, k, offset=1, device=decision.device)
        votes = torch.zeros(len(decision), k, dtype=decision.dtype, device=decision.device)
        trust = votes.clone()
        votes.index_add_(1, first, (decision >= 0).to(votes)).index_add_(1, second, (decision < 0).to(votes))
        trust.index_add_(1, first, decision).index_add_(1, second, -decision)
        scores = torch.full((len(votes), self.n_classes), -1.0, dtype=votes.dtype, device=votes.device)
        scores[:, self.classes] = votes + trust / (3 * (trust.abs() + 1))
        return scores


@dataclass(frozen=True, eq=False)
class NearestNeighbors(Head):
    """Votes of the ``k`` nearest of ``x`` (m, d) with labels ``y`` (m,): log((1 - eps) share + eps / C), eps = 0.001.

    With ``n_classes`` 0 the mean of the neighbours' values. Ties in distance go to the lower row, as in scikit-learn;
    ties of votes to the lower class.
    """

    x: Tensor
    y: Tensor
    n_classes: int
    k: int = 1

    def __call__(self, z: Tensor) -> Tensor:
        z = _fit_width(z, self.x, self.x.shape[1])
        near = self.y[nearest_rows(z, self.x, min(self.k, len(self.x)))]
        if self.n_classes == 0:
            return near.to(z.dtype).mean(dim=1, keepdim=True)
        share = torch.zeros(len(z), self.n_classes, dtype=z.dtype, device=z.device)
        share.scatter_add_(1, near, torch.full(near.shape, 1.0 / near.shape[1], dtype=z.dtype, device=z.device))
        return torch.log((1 - EPS_VOTE) * share + EPS_VOTE / self.n_classes)


@dataclass(frozen=True, eq=False)
class NearestScores(Head):
    """The scores (m, C) of the nearest of ``x`` (m, d): makes a transductive answer usable on new samples."""

    x: Tensor
    scores: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        z = _fit_width(z, self.x, self.x.shape[1])
        return self.scores[nearest_rows(z, self.x, 1)[:, 0]]


@dataclass(frozen=True, eq=False)
class CentreScores(Head):
    """offset_c - ||z - centre_c||: ``centres`` (k, d) and ``offsets`` (k,) of the classes ``classes`` (k,).

    Classes without a centre score 1 below the worst of the others.
    """

    centres: Tensor
    offsets: Tensor
    classes: Tensor
    n_classes: int

    def __call__(self, z: Tensor) -> Tensor:
        z = _fit_width(z, self.centres, self.centres.shape[1])
        raw = self.offsets - distances_between(z, self.centres).sqrt()
        scores = (raw.amin(1, keepdim=True) - 1).repeat(1, self.n_classes)
        scores[:, self.classes] = raw
        return scores


@dataclass(frozen=True, eq=False)
class AsScores(Head):
    """The features are the scores already; ``temperature`` divides them."""

    temperature: float = 1.0

    def __call__(self, z: Tensor) -> Tensor:
        return z / self.temperature


@dataclass(frozen=True, eq=False)
class StepsThenHead(Head):
    """A head with preprocessing of its own, e.g. the standardisation a classifier was fitted with."""

    steps: tuple[Step, ...]
    head: Head

    def __call__(self, z: Tensor) -> Tensor:
        return self.head(run_steps(self.steps, z))


@dataclass(frozen=True, eq=False)
class Pipeline(Predictor):
    """Target samples pass ``target_steps``, source samples ``source_steps`` (None: the same), then ``head`` scores.

    ``prior`` (C,) are the target's class shares, where they were estimated.
    """

    target_steps: tuple[Step, ...]
    source_steps: tuple[Step, ...] | None
    head: Head
    prior: Tensor | None = None

    def predict(self, x: Tensor) -> Prediction:
        z = run_steps(self.target_steps, x)
        return Prediction(self.head(z), z, prior=self.prior)

    def predict_source(self, x: Tensor) -> Prediction:
        z = run_steps(self.target_steps if self.source_steps is None else self.source_steps, x)
        return Prediction(self.head(z), z)


def run_steps(steps: tuple[Step, ...], x: Tensor) -> Tensor:
    """``x`` (n, ...) flattened to float64 rows and passed through ``steps``; what is on disk, whenever it is read."""
    if isinstance(x, Blocks):
        return x.through(partial(run_steps, steps)) if steps else x
    z = x.flatten(1).to(torch.float64)
    for step in steps:
        z = step(z)
    return z


def nearest_rows(x: Tensor, anchors: Tensor, k: int) -> Tensor:
    """Rows (n, k) of the ``k`` nearest anchors by Euclidean distance, nearest first, ties to the lower row.

    Works in blocks; an (n, m) matrix is never held at once. Samples that are not finite have no nearest anchor and
    raise ``NonFiniteError``.
    """
    if not all_finite(x):
        raise NonFiniteError("the samples hold NaN or infinite values; clean them before predicting")
    if k == 1 and suited(x, anchors):
        return nearest(x, anchors)[:, None]
    half = anchors.square().sum(1) / 2
    rows = min(len(x), rows_per_block(len(anchors)))
    # one buffer for all blocks: fresh ones of this size fragment the heap until it holds all pairs after all
    buffer = x.new_empty(rows, len(anchors))

    def block(b: Tensor) -> Tensor:
        rank = torch.addmm(half, b, anchors.T, alpha=-1.0, out=buffer[: len(b)])
        if k == 1:
            return rank.argmin(dim=1, keepdim=True)
        return rank.sort(dim=1, stable=True).indices[:, :k]

    return _in_blocks(x, len(anchors), block)


def _in_blocks(x: Tensor, columns: int, make: Callable[[Tensor], Tensor]) -> Tensor:
    size = rows_per_block(columns)
    if len(x) <= size:
        return make(x)
    return torch.cat([make(x[i : i + size]) for i in range(0, len(x), size)])


def _fit_width(x: Tensor, like: Tensor, width: int) -> Tensor:
    if x.ndim != 2 or x.shape[1] != width:
        raise DazooError(f"the model takes samples of {width} features, but got shape {tuple(x.shape)}")
    dtype = like.dtype if like.is_floating_point() else x.dtype
    return x.to(device=like.device, dtype=dtype)
