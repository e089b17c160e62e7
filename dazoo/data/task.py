"""A task: these labelled sources, this target, this setting; and the wall between what is seen and what is hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.setting import FEW_LABELS, ORACLE, UNSUPERVISED, Setting
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.data.domain import Domain


@dataclass(frozen=True)
class Hidden:
    """The test part: samples and their labels. Opened by ``dazoo.bench.evaluate`` only."""

    x: Tensor
    y: Tensor | None


@dataclass(frozen=True)
class Task:
    """A question with one right way to look at the data.

    Attributes:
        name: ``dataset/source->target``, sources joined by ``+``.
        sources: labelled domains.
        target: the target domain; its labels, where known, are hidden.
        setting: which labels are visible.
        few_per_class: labelled target samples per class in the few-label setting.
        source_holdout: share of the labelled source kept for validators (stratified).
        target_holdout: share of the target kept out of training as test part; 0 is transductive (train = test).
        seed: seed of all splits.
    """

    name: str
    sources: tuple[Domain, ...]
    target: Domain
    setting: Setting = UNSUPERVISED
    few_per_class: int = 3
    source_holdout: float = 0.0
    target_holdout: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.sources:
            raise DazooError(f"task {self.name!r} has no source domain")
        self._check_shares()
        first = self.sources[0]
        for source in self.sources:
            if source.y is None:
                raise DazooError(f"task {self.name!r}: source {source.name!r} has no labels; every source needs them")
            if source.regression != first.regression:
                raise DazooError(f"task {self.name!r} mixes class labels and float targets in its sources")
            if source.x.shape[1:] != self.target.x.shape[1:] or source.kind != self.target.kind:
                raise DazooError(
                    f"task {self.name!r}: source {source.name!r} has {source.kind} samples of shape "
                    f"{tuple(source.x.shape[1:])}, the target {self.target.kind} samples of shape "
                    f"{tuple(self.target.x.shape[1:])}; bring them to one feature space first"
                )
            if source.classes != first.classes:
                raise DazooError(_classes_differ(self.name, source, first))
        if self.target.y is not None and self.target.classes != first.classes:
            raise DazooError(_classes_differ(self.name, first, self.target))
        test = self.target.test
        if test is not None and (test.x.shape[1:] != self.target.x.shape[1:] or test.classes != self.target.classes):
            raise DazooError(
                f"task {self.name!r}: the target's test part has another shape or other classes than the target"
            )
        if not first.regression:
            self._check_classes()

    def _check_shares(self) -> None:
        for field in ("source_holdout", "target_holdout"):
            if not 0 <= getattr(self, field) < 1:
                raise DazooError(f"task {self.name!r}: {field} must lie in [0, 1), not {getattr(self, field)!r}")
        if self.few_per_class < 1:
            raise DazooError(f"task {self.name!r}: few_per_class must be at least 1, not {self.few_per_class!r}")

    def _check_classes(self) -> None:
        """Classification needs two classes in the sources, and a closed set has no class in the target alone."""
        present = torch.unique(torch.cat([s.y for s in self.sources if s.y is not None]))
        if len(present) < 2:
            only = [self.classes[int(c)] for c in present]
            raise DazooError(f"task {self.name!r} has only the class {only}; classification needs at least two")
        if self.setting in (FEW_LABELS, ORACLE) or self.target.y is None:
            return
        extra = torch.unique(self.target.y[~torch.isin(self.target.y, present)])
        if len(extra):
            names = [self.classes[int(c)] for c in extra[:5]]
            raise DazooError(
                f"task {self.name!r} is closed-set, but no source has a sample of the target's classes {names}; "
                "drop them from the target"
            )

    # -- making one -------------------------------------------------------------------------------------------

    @staticmethod
    def from_arrays(
        xs: Any,
        ys: Any,
        xt: Any,
        yt: Any = None,
        *,
        xt_test: Any = None,
        yt_test: Any = None,
        name: str = "arrays/source->target",
        kind: str | None = None,
        **options: Any,
    ) -> Task:
        """A task from arrays or tensors.

        Args:
            xs: source samples (n_s, ...), or a list of arrays for several sources.
            ys: source labels (n_s,): text or integers make classes, floats make a regression task; a list likewise.
            xt: target samples (n_t, ...).
            yt: target labels (n_t,), only ever used for evaluation and for the few-label setting.
            xt_test: a separate test part of the target, with its labels ``yt_test``.
            options: further fields of ``Task``.
        """
        several = isinstance(xs, list) and isinstance(ys, list) and len(ys) > 0 and np.ndim(ys[0]) > 0
        xs, ys = (xs, ys) if several else ([xs], [ys])
        if len(xs) != len(ys):
            raise DazooError(f"there are {len(xs)} arrays of source samples but {len(ys)} of source labels")
        labels = [_labels(y) for y in ys]
        regression = all(np.issubdtype(y.dtype, np.floating) for y in labels)
        yt, yt_test = (None if y is None else _labels(y, whole=not regression) for y in (yt, yt_test))
        known = [*labels] + [y for y in (yt, yt_test) if y is not None]
        names = () if regression else tuple(str(c) for c in np.unique(np.concatenate([y.astype(str) for y in known])))
        if not regression and all(np.issubdtype(y.dtype, np.integer) for y in known):
            names = tuple(str(c) for c in np.unique(np.concatenate(known)))
        sources = tuple(
            _domain("source" if len(xs) == 1 else f"source{i}", x, y, names, kind)
            for i, (x, y) in enumerate(zip(xs, labels))
        )
        test = None if xt_test is None else _domain("target", xt_test, yt_test, names, kind)
        target = replace(_domain("target", xt, yt, names, kind), test=test)
        return Task(name, sources, target, **options)

    def change(self, **fields: Any) -> Task:
        """A copy with other fields, e.g. ``task.change(setting=FEW_LABELS, seed=1)``."""
        return replace(self, **fields)

    # -- what is visible --------------------------------------------------------------------------------------

    @property
    def regression(self) -> bool:
        return self.sources[0].regression

    @property
    def n_classes(self) -> int:
        return 0 if self.regression else len(self.sources[0].classes)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.sources[0].classes

    def seen(self) -> Seen:
        """What a method may look at in this setting."""
        x = torch.cat([s.x for s in self.sources]) if len(self.sources) > 1 else self.sources[0].x
        y = torch.cat([s.y for s in self.sources if s.y is not None])
        which = torch.cat([torch.full((len(s),), i) for i, s in enumerate(self.sources)])
        train, held = _stratified(y, self.source_holdout, self._rng("source"), self.regression)
        source = Labeled(_rows(x, train), y[train], which[train])
        source_val = Labeled(_rows(x, held), y[held], which[held]) if len(held) else None
        few_rows, rest, _ = self._target_rows()
        target_y = self.target.y
        few = None
        if len(few_rows) and target_y is not None:
            few = Labeled(
                _rows(self.target.x, few_rows), target_y[few_rows], torch.zeros(len(few_rows), dtype=torch.int64)
            )
        return Seen(
            source=source,
            target=Unlabeled(_rows(self.target.x, rest)),
            few=few,
            n_classes=self.n_classes,
            kind=self.target.kind,
            setting=self.setting,
            source_val=source_val,
            n_sources=len(self.sources),
        )

    def hidden(self) -> Hidden:
        """The test part, for ``dazoo.bench.evaluate`` alone."""
        if self.target.test is not None:
            return Hidden(self.target.test.x, self.target.test.y)
        _, _, test = self._target_rows()
        return Hidden(_rows(self.target.x, test), None if self.target.y is None else self.target.y[test])

    # -- splits -----------------------------------------------------------------------------------------------

    def _rng(self, what: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, sum(map(ord, what))])

    def _target_rows(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of the target that are (labelled and visible, unlabelled and visible, test)."""
        n = len(self.target)
        none, every = torch.empty(0, dtype=torch.int64), torch.arange(n)
        if self.setting in (FEW_LABELS, ORACLE):
            y = self.target.y
            if y is None:
                raise DazooError(f"task {self.name!r}: the {self.setting} setting needs labelled target samples")
            rng = self._rng("few")
            if self.setting is ORACLE:
                _, few = _stratified(y, 0.5, rng, self.regression)
            elif self.regression:
                few = torch.from_numpy(np.sort(rng.permutation(n)[: min(10 * self.few_per_class, n // 2)]))
            else:
                few = _per_class(y, self.few_per_class, rng)
            rest = every[~torch.isin(every, few)]
            if not len(few):
                raise DazooError(f"task {self.name!r}: the target is too small to label a part of it; add samples")
            if not len(rest):
                raise DazooError(
                    f"task {self.name!r}: {self.few_per_class} labels per class leave no target sample to test on; "
                    "lower few_per_class"
                )
            return few, rest, rest
        if self.target_holdout and self.target.test is None:
            # not stratified: the split of a target whose labels are hidden must not depend on them
            order = torch.from_numpy(self._rng("target").permutation(n))
            cut = max(1, round(self.target_holdout * n))
            if cut == n:
                raise DazooError(f"task {self.name!r}: the target is too small to hold out a part of it; add samples")
            return none, order[cut:].sort().values, order[:cut].sort().values
        return none, every, every


def _rows(x: Tensor, rows: Tensor) -> Tensor:
    return x if len(rows) == len(x) else x[rows]


def _stratified(y: Tensor, share: float, rng: np.random.Generator, regression: bool) -> tuple[Tensor, Tensor]:
    """Rows (kept, held out), both ascending, with ``share`` of every class held out but at least one kept."""
    n = len(y)
    if share <= 0:
        return torch.arange(n), torch.empty(0, dtype=torch.int64)
    order = rng.permutation(n)
    held = np.zeros(n, dtype=bool)
    groups = [order] if regression else [order[y.numpy()[order] == c] for c in np.unique(y.numpy())]
    for group in groups:
        held[group[: min(round(share * len(group)), len(group) - 1)]] = True
    return torch.from_numpy(np.flatnonzero(~held)), torch.from_numpy(np.flatnonzero(held))


def _per_class(y: Tensor, k: int, rng: np.random.Generator) -> Tensor:
    order = rng.permutation(len(y))
    picked = [order[y.numpy()[order] == c][:k] for c in np.unique(y.numpy())]
    return torch.from_numpy(np.sort(np.concatenate(picked)))


def _domain(name: str, x: Any, y: Any, classes: Sequence[str], kind: str | None) -> Domain:
    try:
        data = torch.as_tensor(np.asarray(x) if not isinstance(x, Tensor) else x)
    except (TypeError, ValueError) as error:
        raise DazooError(
            f"{name} samples are no array of numbers ({error}); give every sample the same length"
        ) from error
    if data.ndim < 2:
        raise DazooError(
            f"{name} samples must be (n, features) or images (n, height, width, channels), not {tuple(data.shape)}"
        )
    if kind is None:
        kind = "image" if data.dtype == torch.uint8 and data.ndim == 4 else "vector" if data.ndim == 2 else "series"
    if kind != "image" and data.dtype not in (torch.float32, torch.float64):
        data = data.to(torch.float32)
    if y is None:
        return Domain(name, data, None, tuple(classes), kind)
    labels = np.asarray(y)
    if len(labels) != len(data):
        raise DazooError(f"{name} has {len(data)} samples but {len(labels)} labels")
    if not classes:
        return Domain(name, data, torch.as_tensor(labels, dtype=torch.float32), (), kind)
    index = {c: i for i, c in enumerate(classes)}
    return Domain(name, data, torch.tensor([index[str(v)] for v in labels], dtype=torch.int64), tuple(classes), kind)


def _labels(y: Any, whole: bool = False) -> np.ndarray:
    """Labels as an array (n,); ``whole`` turns floats that are whole numbers into integers and refuses others."""
    labels = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or (labels.dtype == object and any(v is None for v in labels)):
        raise DazooError(f"labels must be one value per sample, not an array of shape {labels.shape} or missing values")
    if labels.dtype == bool:
        return labels.astype(np.int64)
    if whole and np.issubdtype(labels.dtype, np.floating):
        if not np.array_equal(labels, np.round(labels)):
            raise DazooError(
                "the source labels are classes, but the target labels are fractions or missing; use one kind"
            )
        return labels.astype(np.int64)
    return labels


def _classes_differ(task: str, a: Domain, b: Domain) -> str:
    only_a, only_b = sorted(set(a.classes) - set(b.classes)), sorted(set(b.classes) - set(a.classes))
    return (
        f"task {task!r} is closed-set, but {a.name!r} and {b.name!r} have different classes: only in {a.name!r} "
        f"{only_a[:5]}, only in {b.name!r} {only_b[:5]}; keep the common classes in both"
    )
