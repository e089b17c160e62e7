"""Who is told while a method is fitted: progress bars, trackers, one's own code.

A callback sees numbers and changes none: the fitted model has the same bits with and without. One that fails is pointed
out and left out from then on, so that no model is lost for want of a server.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Sequence
from typing import Any, TextIO

from dazoo.core.errors import DazooError, DazooWarning

WIDTH = 24


class Callback:
    """Base of callbacks; every method may be left as it is."""

    def on_start(self, settings: dict[str, Any]) -> None:
        """Before fitting; ``settings`` as they will stand in ``model.report``."""

    def on_begin(self, steps: int, per_epoch: int) -> None:
        """Before training by gradients: how many steps, and how many of them pass the source once."""

    def on_step(self, step: int, losses: dict[str, float]) -> None:
        """After some hundred of the steps, evenly spaced: how many are done, and the terms of the loss."""

    def on_checkpoint(self, step: int, scores: dict[str, float]) -> None:
        """After a model of the run was scored without labels (``select_by``)."""

    def on_end(self, report: dict[str, Any]) -> None:
        """After fitting; ``report`` as in ``model.report``."""


class Told(Callback):
    """Passes on to several; whose call fails is named in a warning and called no more.

    As ``progress`` of ``engine.fit.fit`` it turns finished steps into ``on_step``.
    """

    def __init__(self, callbacks: Sequence[Callback]):
        for one in callbacks:
            if isinstance(one, type) or not isinstance(one, Callback):
                name = one.__name__ if isinstance(one, type) else type(one).__name__
                raise DazooError(
                    f"a callback is an object of a class that derives from dazoo.Callback, as {name}(), not {one!r}"
                    if isinstance(one, type)
                    else f"a callback derives from dazoo.Callback, which {name} does not"
                )
        self.callbacks = list(callbacks)
        self.curves: dict[str, list[tuple[int, float]]] = {}

    def _tell(self, what: str, *args: Any) -> None:
        for one in list(self.callbacks):
            try:
                getattr(one, what)(*args)
            except Exception as error:
                self.callbacks.remove(one)
                text = f"{type(error).__name__}: {str(error)[:300]}"
                warnings.warn(
                    f"the callback {type(one).__name__} failed in {what} ({text}) and is left out from here on",
                    DazooWarning,
                    stacklevel=4,
                )

    def begin(self, steps: int, per_epoch: int, curves: dict[str, list[tuple[int, float]]]) -> None:
        """Training begins; ``curves`` grow while it goes on."""
        self.curves = curves
        self._tell("on_begin", steps, per_epoch)

    def __call__(self, step: int) -> None:
        """So many steps are finished."""
        losses = {name: rows[-1][1] for name, rows in self.curves.items() if rows and rows[-1][0] == step - 1}
        if losses:
            self._tell("on_step", step, losses)

    def on_start(self, settings: dict[str, Any]) -> None:
        self._tell("on_start", settings)

    def on_checkpoint(self, step: int, scores: dict[str, float]) -> None:
        self._tell("on_checkpoint", step, scores)

    def on_end(self, report: dict[str, Any]) -> None:
        self._tell("on_end", report)


class Progress(Callback):
    """A bar while a network trains and a line when it is fitted (``verbose`` 1), or a line for every epoch (2)."""

    def __init__(self, verbose: int = 1, out: TextIO | None = None):
        self.verbose, self.out = verbose, out or sys.stderr
        self.method, self.steps, self.per_epoch, self.epoch = "", 0, 1, 0
        self.began = self.first = time.monotonic()
        self.width = 0

    def on_start(self, settings: dict[str, Any]) -> None:
        self.method, self.began = str(settings.get("method", "")), time.monotonic()

    def on_begin(self, steps: int, per_epoch: int) -> None:
        self.steps, self.per_epoch, self.epoch, self.first = steps, max(1, per_epoch), 0, time.monotonic()

    def on_step(self, step: int, losses: dict[str, float]) -> None:
        told = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
        if self.verbose >= 2:
            epoch = step // self.per_epoch
            if epoch > self.epoch or step == self.steps:
                self.epoch = epoch
                self._line(f"{self.method}: step {step} of {self.steps}, epoch {step / self.per_epoch:.1f}: {told}")
            return
        gone = time.monotonic() - self.first
        full = round(WIDTH * step / self.steps)
        left = span(gone / step * (self.steps - step))
        self._over(f"{self.method} {'█' * full}{'░' * (WIDTH - full)} {step}/{self.steps}, {left} left, {told}")

    def on_checkpoint(self, step: int, scores: dict[str, float]) -> None:
        if self.verbose >= 2:
            self._line(f"{self.method}: step {step}: " + ", ".join(f"{k} {v:.4g}" for k, v in scores.items()))

    def on_end(self, report: dict[str, Any]) -> None:
        told = f", {len(report['warnings'])} warnings" if len(report.get("warnings", ())) > 1 else ""
        self._line(f"{self.method}: fitted in {span(time.monotonic() - self.began)}{told}")

    def _over(self, text: str) -> None:
        """In the place of the line before."""
        self.out.write("\r" + text[:160].ljust(self.width))
        self.out.flush()
        self.width = min(len(text), 160)

    def _line(self, text: str) -> None:
        self.out.write(("\r" if self.width else "") + text.ljust(self.width) + "\n")
        self.out.flush()
        self.width = 0


def span(seconds: float) -> str:
    """A span of time in words."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60:02d} s"


def watching() -> bool:
    """Whether a person looks at what is printed: a terminal, or a notebook."""
    return "ipykernel" in sys.modules or bool(getattr(sys.stderr, "isatty", lambda: False)())


def told(callbacks: Sequence[Callback] | Callback | None, verbose: int | None) -> Told:
    """Everyone who is to be told; ``verbose`` None is 1 where a person looks, else 0.

    Raises:
        DazooError: what is no callback, or another ``verbose`` than 0, 1 or 2.
    """
    if verbose not in (None, 0, 1, 2) or isinstance(verbose, bool):
        raise DazooError(f"verbose is 0 (silent), 1 (a bar and a line) or 2 (a line for every epoch), not {verbose!r}")
    listed = [] if callbacks is None else [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
    level = int(watching()) if verbose is None else verbose
    return Told([*listed, *([Progress(level)] if level else [])])
