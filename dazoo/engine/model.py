"""What ``dazoo.fit`` returns: a predictor with everything that it takes to use it on new data and to judge it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dazoo.core.blocks import Blocks, InMemory
from dazoo.core.errors import DazooError
from dazoo.core.shown import table
from dazoo.core.types import Prediction, Predictor, Seen
from dazoo.core.version import VERSION
from dazoo.data.plot import plot_features
from dazoo.data.raw import joined
from dazoo.data.samples import Schema, content
from dazoo.data.transform import Preprocessing
from dazoo.encoders.encode import Encoding
from dazoo.engine.card import Card, card_of
from dazoo.engine.confidence import Confidence
from dazoo.engine.on_disk import predict_blocks


class Report(dict[str, Any]):
    """Plain values by name, also as attributes: ``report.warnings`` is ``report["warnings"]``."""

    def __repr__(self) -> str:
        sizes = {k: f"{len(v)} entries" if isinstance(v, (dict, list)) else repr(v) for k, v in self.items()}
        return f"<report: {', '.join(f'{k} ({v})' for k, v in sizes.items())}>"

    def _repr_html_(self) -> str:
        flat = [
            (k, n, v) for k, part in self.items() if isinstance(part, dict) and k != "curves" for n, v in part.items()
        ]
        return table("report", [(k, n, str(v)[:200]) for k, n, v in flat], notes=self.get("warnings", ()))

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"a report has no {name!r}; it has {', '.join(self)}") from None


@dataclass(frozen=True, repr=False)
class Model(Predictor):
    """A fitted model that knows what it was fitted on. Saved and loaded whole.

    Attributes:
        inner: predicts from samples as the method saw them.
        schema: how samples look; ``predict`` takes them in any form that ``Task.from_arrays`` takes.
        classes: names of the classes in the order of the scores; empty for regression.
        preprocessing: transforms of the features.
        encoding: what makes numbers of raw samples, where the task was of such.
        shown: content of the labelled target samples that the method saw (``data.samples.content``), by precision;
            ``evaluate`` leaves them out.
        report: ``settings``, ``warnings``, ``curves``, ``findings``, ``info`` and ``versions`` of the fit; ``shares``,
            the target's class shares by name, where the method estimated them.
        source_schema: how samples of the sources look, where they have features of their own.
        confidence: held-out samples that tell when to give no answer, or several (``dazoo.adapt`` has them).
    """

    inner: Predictor
    schema: Schema
    classes: tuple[str, ...] = ()
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    shown: tuple[str, ...] = ()
    report: dict[str, Any] = field(default_factory=dict)
    encoding: Encoding | None = None
    source_schema: Schema | None = None
    confidence: Confidence | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "report", Report(self.report))

    @property
    def card(self) -> Card:
        """What this model is, in words: Markdown, which notebooks show as a page; ``model.card.write("card.html")``."""
        return card_of(self)

    def remember(self, seen: Seen, most: int = 300) -> Model:
        """Keep some samples that the method saw for ``plot_domains``, in memory alone; returns the model."""
        source = seen.source if seen.origin is None else seen.origin.source
        parts = [None if source is None else source.x, seen.target.x if len(seen.target) else None]
        object.__setattr__(self, "_kept", tuple(_some(x, most) for x in parts))
        return self

    def plot_domains(self, source: Any = None, target: Any = None) -> Any:
        """A matplotlib figure of source and target as the model sees them: its features, on two principal components.

        Args:
            source, target: samples as ``predict`` takes them; by default some of those of the fit.

        Raises:
            DazooError: a model that was loaded has no samples of its fit, or gives no features.
        """
        made: list[Tensor | None] = list(getattr(self, "_kept", (None, None)))
        made[0] = made[0] if source is None else self.numbers_of_source(source)
        made[1] = made[1] if target is None else self.numbers(target)
        if made[1] is None:
            raise DazooError(
                "a loaded model holds no samples of its fit; give some: plot_domains(source_samples, target_samples)"
            )
        calls = (self.inner.predict_source, self.inner.predict)
        found = [(n, call(x)) for n, call, x in zip(("source", "target"), calls, made) if x is not None]
        parts = [(name, x if p.features is None else p.features) for (name, p), x in
                 zip(found, [m for m in made if m is not None])]  # fmt: skip
        if len({x.flatten(1).shape[1] for _, x in parts}) > 1:
            raise DazooError("the model has features of different widths for source and target; plot each alone")
        labels = [None if p.of_values else p.labels.cpu() for _, p in found]
        method = self.report.get("settings", {}).get("method", "the model")
        return plot_features(parts, labels, self.classes, f"features of {method}")

    def predict(self, x: Any, abstain: float | None = None, out: str | Path | None = None) -> Prediction:
        """Predict target samples; those on disk block by block, without features.

        Args:
            abstain: share of answers that should be right; samples whose top probability is too small for that are
                ``unknown``.
            out: a file ``.npy`` to which the scores (n, C) of samples on disk go, as single precision.

        Raises:
            DazooError: samples unlike those of the fit; the message names the remedy.
        """
        made = self.numbers(x)
        if out is None:
            return self.of_numbers(made, abstain)
        blocks = made if isinstance(made, Blocks) else InMemory(made)
        found = self._named(predict_blocks(self.inner.predict, blocks, out))
        return found if abstain is None else self._sure("abstain").abstaining(found, abstain)

    def of_numbers(self, numbers: Tensor, abstain: float | None = None) -> Prediction:
        """Predict target samples (n, ...) as ``numbers`` returns them."""
        out = self._named(self.inner.predict(numbers))
        return out if abstain is None else self._sure("abstain").abstaining(out, abstain)

    def predict_set(self, x: Any, alpha: float = 0.1) -> list[tuple[str, ...]]:
        """Names of the classes that target samples may have; the right one is missing in a share ``alpha`` of them.

        Raises:
            DazooError: as ``predict``, or a model without held-out samples.
        """
        made = self.encoded(x)
        return self.sets_of(made, self.of_numbers(self.preprocessing.of_target(made)), alpha)

    def sets_of(self, made: Tensor, out: Prediction, alpha: float) -> list[tuple[str, ...]]:
        """``predict_set`` of samples as ``encoded`` returns them, with their predictions."""
        inside = self._sure("sets of classes").sets(out, made, alpha)
        return [tuple(c for c, held in zip(self.classes, row) if held) for row in inside.tolist()]

    def _sure(self, what: str) -> Confidence:
        if self.confidence is None:
            raise DazooError(
                f"{what} takes held-out samples, which this model has not: it was made by dazoo.fit, by an older "
                "version, or from too few labelled rows; make it with dazoo.adapt"
            )
        return self.confidence

    def predict_source(self, x: Any, source: int = 0) -> Prediction:
        """Predict samples of a source, counted from 0."""
        return self._named(self.inner.predict_source(self.numbers_of_source(x, source)))

    def numbers_of_source(self, x: Any, source: int = 0) -> Tensor:
        """Samples (n, ...) of a source as the method saw them, as ``numbers`` for the target."""
        read = (self.source_schema or self.schema).read(x)
        made = read if self.encoding is None else self.encoding.of_source(read)
        return self.preprocessing.of_source(made, source)

    def numbers(self, x: Any) -> Tensor:
        """Target samples (n, ...) as the method saw them: encoded and transformed.

        Raises:
            DazooError: as ``predict``.
        """
        return self.preprocessing.of_target(self.encoded(x))

    def encoded(self, x: Any) -> Tensor:
        """Target samples (n, ...) as numbers, before any transform."""
        read: Tensor = self.schema.read(x)
        return read if self.encoding is None else self.encoding(read)

    @property
    def recorded(self) -> Prediction | None:
        found = self.inner.recorded
        return None if found is None else self._named(found)

    def _named(self, out: Prediction) -> Prediction:
        return dataclasses.replace(out, classes=self.classes)

    @property
    def net(self) -> Any:
        """The network of a method trained by gradients."""
        return self.inner.net  # type: ignore[attr-defined]

    def check_savable(self) -> None:
        self.inner.check_savable()

    def seen_with_label(self, x: Tensor) -> Tensor:
        """Which samples (n,) bool are copies of target samples that were shown with their labels."""
        if not self.shown:
            return torch.zeros(len(x), dtype=torch.bool)
        known = set(self.shown)
        return torch.tensor([row in known for row in contents(x, self.shown[0].startswith("double:"))])

    def _repr_html_(self) -> str:
        settings = self.report.get("settings", {})
        shape = "x".join(map(str, self.schema.shape))
        rows: list[tuple[object, ...]] = [
            ("task", settings.get("task", "?")),
            ("samples", f"{self.schema.kind} {shape}"),
            ("answers", ", ".join(self.classes[:12]) + (" ..." if len(self.classes) > 12 else "") or "values"),
            ("encoder", "none" if self.encoding is None else self.encoding.name),
            ("preprocessing", ", ".join(self.preprocessing.names) or "none"),
            (
                "backbone or classifier",
                settings.get("backbone") if settings.get("recipe") else settings.get("classifier"),
            ),
            ("target labels shown", len(self.shown)),
        ]
        if expected := self.report.get("adapt", {}).get("expected"):
            rows.append(("expected accuracy", f"{100 * expected['value']:.0f} %"))
        rows += [(f"estimated share of {k}", f"{100 * v:.0f} %") for k, v in self.report.get("shares", {}).items()]
        return table(f"model {settings.get('method', '?')}", rows, notes=self.report.get("warnings", ()))

    def __repr__(self) -> str:
        settings = self.report.get("settings", {})
        what = f"{len(self.classes)} classes" if self.classes else "regression values"
        features = f"{self.schema.shape[0]} features" if len(self.schema.shape) == 1 else f"shape {self.schema.shape}"
        if self.schema.raw:
            return (
                f"<model {settings.get('method', '?')} of {what} from {self.schema.kind} samples through the encoder "
                f"{self.encoding.name if self.encoding else '?'}; {len(self.shown)} target labels shown>"
            )
        steps = ", after " + " and ".join(self.preprocessing.names) if self.preprocessing.names else ""
        told = [f"{100 * v:.0f} % {k}" for k, v in self.report.get("shares", {}).items()]
        shares = "; the target is estimated to hold " + ", ".join(told[:10]) if told else ""
        return (
            f"<model {settings.get('method', '?')} of {what} from {self.schema.kind} samples of {features}{steps}; "
            f"{len(self.shown)} target labels shown{shares}>"
        )


def _some(x: Any, most: int) -> Tensor | None:
    """At most so many samples, evenly spaced, and no more than 16 MB of them; None where there are none in memory."""
    if not isinstance(x, Tensor) or not len(x):
        return None
    most = max(2, min(most, (1 << 24) // max(1, x[0].numel() * x.element_size())))
    return x[:: max(1, len(x) // most)][:most].clone()


def shown_rows(seen: Seen, asked: Sequence[int] = ()) -> tuple[str, ...]:
    """What a model remembers of the labelled target samples that were shown, or ``asked`` for (rows of the target).

    Single precision, so that copies in another type are recognised, unless that would make different samples one.
    """
    parts = [seen.few.x] if seen.few is not None else []
    parts += [seen.target.x[torch.tensor(asked)]] if len(asked) else []
    if not parts:
        return ()
    x = joined(parts)
    if isinstance(x, Blocks):
        return tuple(sorted(set(contents(x.tensor(), False))))
    every = joined([x, seen.target.x])
    double = getattr(x, "dtype", None) is torch.float64
    fine = double and len(set(content(every))) < len(set(content(every, double=True)))
    return tuple(sorted(set(contents(x, fine))))


def contents(x: Tensor, double: bool) -> list[str]:
    """``content`` with a word about its precision before it."""
    return [f"{'double' if double else 'single'}:{row}" for row in content(x, double)]


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of what a fit is computed with."""
    found = {"dazoo": VERSION}
    for package in ("torch", "numpy", "scipy", "scikit-learn", "POT", "timm"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def plain(value: Any) -> Any:
    """``value`` as JSON knows it."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else str(value)
