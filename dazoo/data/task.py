"""A task: these labelled sources, this target, this setting; and the wall between what is seen and what is hidden."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.ask import Ask
from dazoo.core.errors import DazooError
from dazoo.core.setting import FEW_LABELS, UNSEEN, UNSUPERVISED, Setting
from dazoo.core.types import Labeled, Seen, Stream, Unlabeled
from dazoo.data.arrival import Arrival, answered
from dazoo.data.asking import check_questions, door
from dazoo.data.assemble import check_alike, check_words, classes_differ, told_apart, what_of
from dazoo.data.domain import Domain
from dazoo.data.draw import few_of, half_of, labelled_rows, rows_of, without_labels
from dazoo.data.given import assembled
from dazoo.data.hidden import Hidden as Hidden
from dazoo.data.labels import need_all
from dazoo.data.options import check_fields, point_out_idle
from dazoo.data.plot import page_of, plot_task


@dataclass(frozen=True, repr=False)
class Task:
    """A question with one right way to look at the data.

    Attributes:
        name: ``dataset/source->target``, sources joined by ``+``.
        sources: labelled domains.
        target: the target domain; its labels, where known, are hidden.
        setting: the question that is asked: which labels are visible, what of the source, and so on.
        few_per_class: labelled target samples per class that the few-label setting draws, where the target is labelled
            as a whole. ``few_rows`` says which are taken where they are not drawn.
        source_holdout: share of the labelled source kept for validators (stratified).
        target_holdout: share of the target kept out of training as test part; 0 is transductive (train = test).
        seed: seed of all splits. words: features (K, d) of the names of ``classes`` in the space of the samples.
        batch, episodic, order, mixed, rounds, delta: how the target arrives where it is a stream (``data.arrival``).
        curve: whether every setting is tested on the half of the target that the oracle is tested on, and labels are
            drawn from the other half. Accuracies at no, k, more and half of the labels are then of the same samples;
            the draws are nested at any rate.
        budget: of the active setting, share of the target samples whose labels may be asked for. ask_rounds: in how
            many portions. asked_holdout: share of the answers that validators get instead of the method.
    """

    name: str
    sources: tuple[Domain, ...]
    target: Domain
    setting: Setting = UNSUPERVISED
    few_per_class: int = 3
    source_holdout: float = 0.0
    target_holdout: float = 0.0
    seed: int = 0
    batch: int = 64
    episodic: bool = False
    order: str = "shuffled"
    mixed: bool = False
    rounds: int = 1
    delta: float = 0.1
    curve: bool = False
    budget: float = 0.05
    ask_rounds: int = 5
    asked_holdout: float = 0.0
    words: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise DazooError(f"task {self.name!r} has no source domain")
        told = Setting.of(self.setting).told_targets(self.target.member is not None)
        object.__setattr__(self, "setting", told)
        self._check_shares()
        self._check_curve()
        check_questions(self.name, self.budget, self.ask_rounds, self.asked_holdout)
        first = self.sources[0]
        for source in self.sources:
            if source.y is None:
                raise DazooError(f"task {self.name!r}: source {source.name!r} has no labels; every source needs them")
            if source.known is not None:
                need_all(source.known, f"task {self.name!r}: source {source.name!r}")
            if source.regression != first.regression:
                raise DazooError(f"task {self.name!r} mixes class labels and float targets in its sources")
            check_alike(self.name, source, first if self.setting.spaces == "own" else self.target)
            if source.classes != first.classes and not self.setting.has_unknown:
                raise DazooError(classes_differ(self.name, source, first))
        if self.target.y is not None and self.target.regression != first.regression:
            kinds = f"{what_of(first)} in its sources, but {what_of(self.target)} in its target"
            raise DazooError(f"task {self.name!r} has {kinds}; use one kind")
        if self.setting.labels != "closed" and first.regression:
            raise DazooError(f"task {self.name!r} is a regression, without classes to be {self.setting.labels}")
        if self.setting.has_unknown:
            sources, target = told_apart(self.name, self.sources, self.target)
            object.__setattr__(self, "sources", sources)
            object.__setattr__(self, "target", target)
            first = self.sources[0]
        if self.target.known is not None and self.target.occurring <= set(first.classes):
            # nobody can be asked to label a sample of every class
            object.__setattr__(self, "target", self.target.coded_as(first.classes))
        alike = self.target.classes[: len(first.classes)] if self.setting.has_unknown else self.target.classes
        if self.target.y is not None and alike != first.classes:
            raise DazooError(classes_differ(self.name, first, self.target))
        test = self.target.test
        if test is not None and (test.x.shape[1:] != self.target.x.shape[1:] or test.classes != self.target.classes):
            raise DazooError(
                f"task {self.name!r}: the target's test part has another shape or other classes than the target"
            )
        if not first.regression:
            self._check_classes()
        check_words(self.name, self.words, self.n_classes, self.target)
        self._check_on_disk()

    def _check_shares(self) -> None:
        for field in ("source_holdout", "target_holdout"):
            value = getattr(self, field)
            if not isinstance(value, Real) or not 0 <= float(value) < 1:
                raise DazooError(f"task {self.name!r}: {field} must lie in [0, 1), not {value!r}")
        for field, least in (("few_per_class", 1), ("seed", 0)):
            value = getattr(self, field)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise DazooError(f"task {self.name!r}: {field} must be a whole number, at least {least}, not {value!r}")
        Arrival.of(self)

    def _check_curve(self) -> None:
        if self.curve and (self.target.y is None or self.few_rows is not None):
            which = "none" if self.target.y is None else "some only"
            raise DazooError(f"task {self.name!r}: a label curve draws labels, and the target has {which}; give it all")
        if self.curve and self.target_holdout:
            raise DazooError(f"task {self.name!r}: curve and target_holdout both say what is tested on; drop one")

    def _check_on_disk(self) -> None:
        """Samples on disk are a pool with a source, or none of the target at all."""
        if not any(d.on_disk for d in (*self.sources, self.target)):
            return
        s = self.setting
        if s.target == "stream" or s.marked == "query" or s.spaces == "own" or not s.labelled:
            raise DazooError(
                f"task {self.name!r}: samples that stay on disk do for a source and a target that is there as a whole, "
                f"not for {s.name!r}; give arrays in memory (x.tensor()), or a part of the samples (x[rows])"
            )

    def _check_classes(self) -> None:
        """Classification needs two classes in the sources, and a closed set has no class in the target alone."""
        present = torch.unique(torch.cat([s.y for s in self.sources if s.y is not None]))
        if len(present) < 2:
            only = [self.classes[int(c)] for c in present]
            raise DazooError(f"task {self.name!r} has only the class {only}; classification needs at least two")
        if self.target.y is None or self.setting.has_unknown:
            return
        known = self.target.y[self.target.labelled]
        extra = [self.classes[int(c)] for c in torch.unique(known[~torch.isin(known, present)])]
        if self.setting.shows_labels:  # these labels are seen; -1 is how many people write "none"
            extra = [name for name in extra if name == "-1"]
        if extra:
            kind = "closed-set" if self.setting.labels in ("closed", "shifted") else self.setting.labels
            raise DazooError(
                f"task {self.name!r} is {kind}, but no source has a sample of the target's classes {extra[:5]}; drop "
                "them, ask for setting='open_set', or say unlabelled=... where they mean that a label is missing"
            )

    # -- making one -------------------------------------------------------------------------------------------

    @staticmethod
    def from_arrays(
        xs: Any,
        ys: Any,
        xt: Any,
        yt: Any = None,
        *,
        target_domain: Any = None,
        xt_test: Any = None,
        yt_test: Any = None,
        few: Any = None,
        targets: str = "auto",
        unlabelled: Any = None,
        name: str = "arrays/source->target",
        kind: str | None = None,
        **options: Any,
    ) -> Task:
        """A task from arrays or tensors.

        Args:
            xs: source samples (n_s, ...), or a list of arrays, or a dictionary by name, for several sources.
                Arrays, tensors, lists, data frames
                (columns are matched by name), masked and small sparse arrays: see ``dazoo.data.samples``.
            ys: source labels (n_s,): text and whole numbers are classes, fractions a regression task; a list likewise.
            xt: target samples (n_t, ...); several targets are a list of arrays, or a dictionary of them by name.
            target_domain: or one array and of which target each sample is (n_t,), as text or whole numbers.
            yt: target labels (n_t,), or as many lists of them as targets, None for one without; only ever used for
                evaluation and for the few-label setting. Where some are missing (None, NaN, ``pd.NA``, ``unlabelled``),
                the few-label setting shows exactly the others.
            xt_test: a separate test part of the target, with its labels ``yt_test``.
            few: ``(rows, labels)``, the target samples that have been labelled: indices (k,) or a mask (n_t,), and
                their labels (k,). The task is in the few-label setting then, if ``setting`` says nothing else, and
                these rows are tested on in no setting.
            targets: ``auto``, or ``classes`` or ``values`` to decide by hand what labels are.
            unlabelled: a value, or a list of values, that means "no label", e.g. -1.
            options: further fields of ``Task``.
        """
        check_fields(options, FIELDS)
        point_out_idle(options, options.get("setting", UNSUPERVISED))
        how = {"targets": targets, "unlabelled": unlabelled, "kind": kind, "target_domain": target_domain}
        how["own"] = Setting.of(options.get("setting", UNSUPERVISED)).spaces == "own"
        sources, target = assembled(xs, ys, xt, yt, xt_test=xt_test, yt_test=yt_test, few=few, **how)
        if few is not None:
            options.setdefault("setting", FEW_LABELS)
        return Task(name, sources, target, **options)

    def __repr__(self) -> str:
        n = " + ".join(str(len(s)) for s in self.sources)
        what = "regression" if self.regression else f"{self.n_classes} classes"
        shape = "x".join(str(k) for k in self.target.x.shape[1:])
        samples = f"{self.target.kind} ({shape})" if shape else self.target.kind
        return (
            f"<task {self.name}: {n} labelled source and {len(self.target)} target samples, {samples}, {what}, "
            f"{self.setting.value}>"
        )

    def _repr_html_(self) -> str:
        return page_of(self)

    def plot(self) -> Any:
        """A matplotlib figure of what the setting shows: samples of every domain, and class shares of the sources."""
        return plot_task(self)

    def change(self, **fields: Any) -> Task:
        """A copy with other fields, e.g. ``task.change(setting=FEW_LABELS, seed=1)``."""
        check_fields(fields, FIELDS)
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

    @property
    def few_rows(self) -> Tensor | None:
        """Rows (k,) of the target that the few-label setting shows with their labels; None where it draws them."""
        if self.target.few is not None:
            return self.target.few
        return None if self.target.known is None else self.target.labelled

    @property
    def draws(self) -> bool:
        """Whether the labelled target samples are drawn, and not those that somebody named."""
        return self.setting.marked == "half" or (self.setting.marked == "few" and self.few_rows is None)

    def seen(self) -> Seen:
        """What a method may look at in this setting."""
        source, source_val = without_labels(self.sources), None
        if self.setting.labelled:
            source, source_val = labelled_rows(self.sources, self.source_holdout, self._rng("source"))
        few_rows, rest, test = self._target_rows()
        target_y = self.target.y
        few = None
        if target_y is not None and self.setting.has_unknown:
            few_rows = few_rows[target_y[few_rows] < self.n_classes]  # what is of no known class teaches none
        if len(few_rows) and target_y is not None:
            few = Labeled(
                rows_of(self.target.x, few_rows), target_y[few_rows], torch.zeros(len(few_rows), dtype=torch.int64)
            )
        told = None if self.setting.n_targets == "blind" else self.target.member
        whole = Seen(
            source=source,
            target=Unlabeled(rows_of(self.target.x, rest), None if told is None else told[rest]),
            few=few,
            n_classes=self.n_classes,
            kind=self.target.kind,
            setting=self.setting,
            source_val=source_val,
            n_sources=len(self.sources),
            n_targets=1 if told is None else int(told.max()) + 1,
            words=self.words,
        )
        if self.setting.marked == "query":
            whole = replace(whole, ask=self._door(rest, test))
        if self.setting.target == "stream":
            arriving = Stream(self.target.x[self._arriving(rest)], self.batch, self.episodic)
            whole = replace(whole, target=Unlabeled(whole.target.x[:0]), stream=arriving)
        if self.setting.target == "unseen":
            whole = replace(whole, target=Unlabeled(whole.target.x[:0]))
        return whole if self.setting.source == "data" else self._behind_model(whole)

    def _arriving(self, rows: Tensor) -> Tensor:
        """``rows`` of the target in the order of their arrival, the same for all methods."""
        return Arrival.of(self).arriving(self.target, rows, self._rng("stream"))

    def _door(self, rest: Tensor, test: Tensor) -> Ask:
        never = test if self.curve else self.target.few
        return door(self.name, self.target, rest, never, self.budget, self.ask_rounds, self.asked_holdout)

    def _behind_model(self, whole: Seen) -> Seen:
        """``whole`` with the source where only the training of its model can look."""
        origin = self._origin(whole, self.sources)
        if self.setting.n_sources == "many":
            origin = replace(origin, each=tuple(self._origin(whole, (s,)) for s in self.sources))
        return replace(whole, source=None, source_val=None, origin=origin)

    def _origin(self, whole: Seen, sources: tuple[Domain, ...]) -> Seen:
        """What a model of ``sources`` is trained on; the same for all tasks in which they occur."""
        split = repr((self.source_holdout, self.seed)) if self.source_holdout else ""
        key = hashlib.sha256((repr([s.fingerprint for s in sources]) + split).encode()).hexdigest()
        source, held = labelled_rows(sources, self.source_holdout, self._rng("source"))
        setting = UNSEEN.change(n_sources=self.setting.n_sources if len(sources) > 1 else "one")
        alone = replace(whole, target=Unlabeled(whole.target.x[:0]), few=None, stream=None, setting=setting, key=key)
        return replace(alone, source=source, source_val=held, n_sources=len(sources))

    def hidden(self, asked: Tensor | None = None) -> Hidden:
        """The test part, for ``dazoo.bench.execute.evaluate`` alone; without the rows ``asked`` of ``Seen.target``."""
        source = None if self.setting.labelled else labelled_rows(self.sources, 0.0, self._rng("source"))[0]
        return replace(self._tested(asked), n_classes=self.n_classes, source=source)

    def _tested(self, asked: Tensor | None) -> Hidden:
        part, test = self.target, self.target.test
        _, visible, rows = self._target_rows()
        rows = rows if asked is None else rows[~torch.isin(rows, visible[asked])]
        if test is not None:
            part, rows = test, torch.arange(len(test))
        if self.setting.target == "stream" and test is None and not self.target_holdout:
            order = self._arriving(self._target_rows()[1])
            return answered(self.target, order, rows, self.n_classes if self.setting.has_unknown else None)
        known = rows[torch.isin(rows, part.labelled)]
        if part.y is None or not len(known):
            return Hidden(rows_of(part.x, rows), None)
        y, member = part.y[known], None if part.member is None else part.member[known]
        if self.setting.has_unknown:
            return Hidden(rows_of(part.x, known), y.clamp(max=self.n_classes), y, member=member)
        return Hidden(rows_of(part.x, known), y, member=member)

    # -- splits -----------------------------------------------------------------------------------------------

    def _rng(self, what: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, sum(map(ord, what))])

    def _target_rows(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of the target that are (labelled and visible, unlabelled and visible, test)."""
        n = len(self.target)
        none, every = torch.empty(0, dtype=torch.int64), torch.arange(n)
        given = none if self.target.few is None else self.target.few
        if self.setting.marked in ("few", "half"):
            few = self._few()
            rest = every[~torch.isin(every, few)]
            if self.curve:
                return few, rest, self._beyond()
            if not len(rest) and self.few_rows is None:
                raise DazooError(
                    f"task {self.name!r}: {self.few_per_class} labels per class leave no target sample to test on; "
                    "lower few_per_class"
                )
            return few, rest if len(rest) else every, rest[~torch.isin(rest, given)]
        if self.curve:
            return none, every, self._beyond()
        if self.target_holdout and self.target.test is None:
            # not stratified: the split of a target whose labels are hidden must not depend on them
            order = torch.from_numpy(self._rng("target").permutation(n))
            cut = max(1, round(self.target_holdout * n))
            if cut == n:
                raise DazooError(f"task {self.name!r}: the target is too small to hold out a part of it; add samples")
            test = order[:cut].sort().values
            return none, order[cut:].sort().values, test[~torch.isin(test, given)]
        return given if self.setting.marked == "query" else none, every, every[~torch.isin(every, given)]

    def _beyond(self) -> Tensor:
        """Rows of the target beyond the half that the oracle learns from, on which a label curve is tested."""
        assert self.target.y is not None
        half = half_of(self.target.y, self.target.labelled, self._rng("few"), self.regression)
        return torch.nonzero(~torch.isin(torch.arange(len(self.target)), half))[:, 0]

    def _few(self) -> Tensor:
        """Rows of the target whose labels this setting shows."""
        y = self.target.y
        if y is None:
            raise DazooError(f"task {self.name!r}: the {self.setting} setting needs labelled target samples")
        if self.setting.marked == "few" and self.few_rows is not None:
            return self.few_rows
        half = half_of(y, self.target.labelled, self._rng("few"), self.regression)
        few = half
        if self.setting.marked == "few":
            few = few_of(y, self.few_per_class, self._rng("few"), self.regression)
            few = few[torch.isin(few, half)] if self.curve else few
        if not len(few):
            raise DazooError(f"task {self.name!r}: the target is too small to label a part of it; add samples")
        return few


FIELDS = tuple(f.name for f in dataclasses.fields(Task))
