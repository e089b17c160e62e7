"""Settings: a question of the field as the answers that define it, with names for the usual ones.

What a method can do is said by the same answers (``core.handles``); ``Task.seen`` enforces them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from dazoo.core.errors import DazooError, UnknownName, nearest

ANSWERS = {
    "labels": ("closed", "shifted", "partial", "open", "universal", "unlabelled"),
    "source": ("data", "model", "black_box"),
    "target": ("pool", "stream", "unseen"),
    "marked": ("none", "few", "query", "half"),
    "n_sources": ("one", "many"),
    "n_targets": ("one", "many", "blind"),
    "spaces": ("same", "own"),
}


class Question:
    """What follows from the fields of ``Setting``, which derives from this: its name, its neighbours, what it shows."""

    UNSUPERVISED: ClassVar[Setting]  # the four of version 0.1.0 are attributes, too
    MULTI_SOURCE: ClassVar[Setting]
    FEW_LABELS: ClassVar[Setting]
    ORACLE: ClassVar[Setting]

    name: str
    labels: str
    marked: str
    n_targets: str

    def __post_init__(self) -> None:
        for key, known in ANSWERS.items():
            if getattr(self, key) not in known:
                raise DazooError(f"a setting's {key} is one of {', '.join(known)}, not {getattr(self, key)!r}")
        preset = PRESETS.get(self.name)
        if preset is not None and any(getattr(preset, k) != getattr(self, k) for k in ANSWERS):
            raise DazooError(f"{self.name!r} is the name of another setting; take Setting.of({self.name!r})")

    @property
    def value(self) -> str:
        """The name, as suites and records write it."""
        return self.name

    def __str__(self) -> str:
        return self.name

    @property
    def has_unknown(self) -> bool:
        """Whether target samples may belong to no class of the source."""
        return self.labels in ("open", "universal")

    @property
    def labelled(self) -> bool:
        """Whether methods learn from labels; elsewhere they look for clusters."""
        return self.labels != "unlabelled"

    @property
    def shows_labels(self) -> bool:
        """Whether labels of the target are seen."""
        return self.marked != "none"

    def change(self, **answers: str) -> Setting:
        """The setting with other answers, under its usual name where it has one."""
        asked = {k: answers.get(k, getattr(self, k)) for k in ANSWERS}
        for preset in (Setting.of(self), *PRESETS.values()):
            if all(getattr(preset, k) == v for k, v in asked.items()):
                return preset
        words = [_word(k, v) for k, v in asked.items() if getattr(self, k) != v]
        return Setting("+".join([self.name, *words]), **asked)

    def told_targets(self, several: bool) -> Setting:
        """The setting of a task with several targets: they are told apart, unless it says that nobody does."""
        return self.change(n_targets="many") if several and self.n_targets == "one" else Setting.of(self)

    @staticmethod
    def of(value: object) -> Setting:
        """The setting that ``value`` means: one of them, or its name as text, e.g. ``source_free+multi_source``.

        Raises:
            UnknownName: there is no such setting.
        """
        if isinstance(value, Setting):
            return value
        first, *words = str(value).split("+")
        first = ALSO.get(first, first)
        for word in (first, *words):
            if word in REFUSED:
                raise DazooError(REFUSED[word])
        if first not in PRESETS:
            raise UnknownName(f"unknown setting {str(value)!r}: {nearest(first, PRESETS)}")
        found = PRESETS[first]
        for word in words:
            if word not in WORDS:
                raise UnknownName(f"unknown setting {str(value)!r}: {nearest(word, WORDS)} after the '+'")
            key, answer = WORDS[word]
            found = found.change(**{key: answer})
        return found


@dataclass(frozen=True)
class Setting(Question):
    """The question a task asks.

    Attributes:
        name: of the preset, or of a preset and what differs from it: ``partial+few``.
        labels: ``closed``: source and target have the same classes; ``shifted``: the same, in other shares, which
            methods estimate; ``partial``: the target has some of the source's; ``open``: the target has classes
            without source samples, all of them "unknown"; ``universal``: both have private classes; ``unlabelled``:
            no label is seen at all.
        source: what of the source a method may touch: its ``data``, a ``model`` trained on it, or only the
            probabilities that this model gives to target samples (``black_box``).
        target: ``pool``: all samples at once; ``stream``: batches in order, each answered on arrival; ``unseen``:
            nothing of it before the test.
        marked: labelled target samples: ``none``; a ``few``, named by their owner or k drawn per class; those that the
            method asks for (``query``); or ``half`` of all, an upper bound and never a competitor.
        n_sources, n_targets: ``many`` where they are told apart; several sources that are pooled are ``one``, and
            several targets of which nobody says which sample is of which are ``blind``.
        spaces: ``own`` where source and target have different features.
    """

    name: str
    labels: str = "closed"
    source: str = "data"
    target: str = "pool"
    marked: str = "none"
    n_sources: str = "one"
    n_targets: str = "one"
    spaces: str = "same"


def _word(key: str, answer: str) -> str:
    return next(w for w, meaning in WORDS.items() if meaning == (key, answer))


WORDS = {
    **{a: (k, a) for k in ("labels", "source", "target", "marked", "spaces") for a in ANSWERS[k] if a != "none"},
    "unmarked": ("marked", "none"),
    "single_source": ("n_sources", "one"),
    "multi_source": ("n_sources", "many"),
    "single_target": ("n_targets", "one"),
    "multi_target": ("n_targets", "many"),
    "blind_targets": ("n_targets", "blind"),
}

PRESETS: dict[str, Setting] = {}
UNSUPERVISED = Setting("unsupervised")
MULTI_SOURCE = Setting("multi_source", n_sources="many")
FEW_LABELS = Setting("few_labels", marked="few")
ORACLE = Setting("oracle", marked="half")
PARTIAL = Setting("partial", labels="partial")
OPEN_SET = Setting("open_set", labels="open")
UNIVERSAL = Setting("universal", labels="universal")
SOURCE_FREE = Setting("source_free", source="model")
BLACK_BOX = Setting("black_box", source="black_box")
UNSEEN = Setting("unseen", target="unseen")
GENERALISATION = Setting("generalisation", target="unseen", n_sources="many")
MULTI_TARGET = Setting("multi_target", n_targets="many")
LABEL_SHIFT = Setting("label_shift", labels="shifted")
UNLABELLED = Setting("unlabelled", labels="unlabelled")
BLIND_TARGETS = Setting("blind_targets", n_targets="blind")
ACTIVE = Setting("active", marked="query")
TEST_TIME = Setting("test_time", source="model", target="stream")
CONTINUAL = Setting("continual", source="model", target="stream", n_targets="many")
HETEROGENEOUS = Setting("heterogeneous", spaces="own")
HETEROGENEOUS_FEW = Setting("heterogeneous_few", spaces="own", marked="few")

Setting.UNSUPERVISED, Setting.MULTI_SOURCE, Setting.FEW_LABELS, Setting.ORACLE = (
    UNSUPERVISED, MULTI_SOURCE, FEW_LABELS, ORACLE,
)  # fmt: skip

PRESETS |= {
    s.name: s
    for s in (
        UNSUPERVISED, MULTI_SOURCE, FEW_LABELS, ORACLE, PARTIAL, OPEN_SET, UNIVERSAL, SOURCE_FREE,
        Setting("source_free_partial", labels="partial", source="model"),
        Setting("source_free_open", labels="open", source="model"),
        Setting("source_free_universal", labels="universal", source="model"),
        BLACK_BOX, GENERALISATION, UNSEEN, TEST_TIME, CONTINUAL, MULTI_TARGET, LABEL_SHIFT, UNLABELLED, BLIND_TARGETS,
        ACTIVE, HETEROGENEOUS, HETEROGENEOUS_FEW,
    )
}  # fmt: skip

ALSO = {"label_curve": "few_labels"}
"""Other names: a label curve asks the question of few labels at several numbers of them."""

REFUSED = {
    name: f"{name} learning is not what dazoo does: it compares methods in one place, and clients that may not share "
    "their data need a system of their own; take multi_source, or source_free for one model per source"
    for name in ("federated", "decentralised", "decentralized")
}

assert {f.name for f in fields(Setting)} == {"name", *ANSWERS}
