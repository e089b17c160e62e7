"""The values that cross layer boundaries: what a method may look at, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from dazoo.core.answers import Answers
from dazoo.core.ask import Ask
from dazoo.core.portable import Portable
from dazoo.core.setting import Setting


@dataclass(frozen=True)
class Labeled:
    """Samples with labels: ``x`` (n, ...), ``y`` (n,) int64 classes or float targets, ``domain`` (n,) source index."""

    x: Tensor
    y: Tensor
    domain: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Unlabeled:
    """Samples without labels: ``x`` (n, ...); ``domain`` (n,) says of which target, where there are several."""

    x: Tensor
    domain: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Stream:
    """Target samples ``x`` (n, ...) in the order of their arrival, in batches of ``batch`` samples.

    ``episodic``: every batch meets the source's model anew.
    """

    x: Tensor
    batch: int
    episodic: bool = False

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Seen:
    """All that a method may look at. There is no field in which hidden target labels could sit.

    Attributes:
        source: labelled source samples (several sources are told apart by ``source.domain``); None where the setting
            hides them.
        target: unlabelled target samples; none of them (0, ...) where the target is unseen.
        few: the labelled target samples of the few-label and oracle settings, else None.
        n_classes: number of classes K of the source, the only class count a method ever gets; 0 for regression.
        kind: ``vector``, ``image``, ``series``, ``text`` or ``audio``.
        n_sources, n_targets: how many are told apart, by ``source.domain`` and ``target.domain``.
        source_val: labelled source rows held out of ``source`` for validators; None where nothing is held out.
        origin: what the source's model may be trained on, and nothing of the target, where the setting hides the
            source; the engine takes it away before a method sees the rest.
        teacher: of the black-box setting: probabilities (m, K) that the source's model gives to samples (m, ...).
        stream: the target where it arrives in batches; only the engine looks at it.
        each: of an origin of several sources that are told apart: what each source's own model may be trained on.
        key: hash of the content where the engine shares what is trained on it.
        ask: of the active setting: the door to the labels of target rows, which counts its budget.
        asked: rows of ``target`` whose labels have been asked for by now; ``few`` are those of them that are learned
            from, ``few_val`` those held out for validators.
        words: features (K, d) of the names of the classes in the space of the samples, where an encoder of pictures and
            texts gives such.
    """

    source: Labeled | None
    target: Unlabeled
    few: Labeled | None
    n_classes: int
    kind: str
    setting: Setting
    source_val: Labeled | None = None
    n_sources: int = 1
    n_targets: int = 1
    origin: Seen | None = None
    teacher: Callable[[Tensor], Tensor] | None = None
    stream: Stream | None = None
    each: tuple[Seen, ...] = ()
    key: str = ""
    ask: Ask | None = None
    asked: Tensor | None = None
    few_val: Labeled | None = None
    words: Tensor | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "setting", Setting.of(self.setting))

    @property
    def regression(self) -> bool:
        return self.n_classes == 0

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of one target sample."""
        return tuple(self.target.x.shape[1:])

    @property
    def source_shape(self) -> tuple[int, ...]:
        """Shape of one source sample; another than the target's only where the feature spaces differ."""
        part = self.source or (None if self.origin is None else self.origin.source)
        return self.target_shape if part is None else tuple(part.x.shape[1:])


@dataclass(frozen=True, repr=False)
class Prediction(Answers):
    """``scores`` (n, C): class scores whose softmax are probabilities, or (n, 1) regression values.

    Attributes:
        features: (n, d), the representation the scores were computed from, where there is one.
        regression: whether ``scores`` are values; None tells it by their one column, since classes are at least two.
        classes: names of the classes, where they are known.
        unknown: (n,), larger = more likely of none of the C classes; rows above ``threshold`` get the label C.
        prior: (C,), estimated class shares of the target.
        cluster: (n,) int64, index of the cluster a sample belongs to, for methods that find classes of their own.
    """

    scores: Tensor
    features: Tensor | None = None
    regression: bool | None = None
    classes: tuple[str, ...] = ()
    unknown: Tensor | None = None
    threshold: float | None = None
    prior: Tensor | None = None
    cluster: Tensor | None = None


class Predictor(Portable):
    """A fitted model: raw samples in, ``Prediction`` out. Saved and loaded through ``core.portable``."""

    def predict(self, x: Tensor) -> Prediction:
        """Predict target samples ``x`` (n, ...)."""
        raise NotImplementedError(f"{type(self).__name__} does not define predict")

    @property
    def recorded(self) -> Prediction | None:
        """The answers given while a stream went by, in its order; None where the target was there at once."""
        return None

    def predict_source(self, x: Tensor) -> Prediction:
        """Predict *source* samples; differs from ``predict`` where a method maps the domains differently."""
        return self.predict(x)
