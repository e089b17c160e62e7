"""The folder of an adaptation: finished candidates, so that a stopped one goes on, and what it ends with.

OUT/candidates/METHOD-PREPROCESSING.{safetensors,json}    written when a candidate is finished, the model first
OUT/adapt.json                                            what was adapted, then all votes and the choice
OUT/model.safetensors, predictions.csv, card.html
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dazoo.core.errors import DazooError
from dazoo.core.files import replacing, write_text
from dazoo.core.portable import load, save
from dazoo.core.types import Prediction
from dazoo.engine.model import Model

MODEL, SUMMARY, PREDICTIONS, CARD = "model.safetensors", "adapt.json", "predictions.csv", "card.html"
DIGITS = 6
BETWEEN = " | "
"""Between the classes of a set."""


def check_folder(folder: Path) -> None:
    """Refuse a place that results cannot be written to, before anything is computed.

    Raises:
        DazooError: it is a file, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise DazooError(f"{folder} is a file; choose a folder with --out")
    try:
        with replacing(folder / ".writable"):
            pass
        (folder / ".writable").unlink()
    except OSError as error:
        raise DazooError(f"{folder} cannot be written ({error.strerror}); choose another folder with --out") from None


class Store:
    """Reads and writes the files of an adaptation; keeps nothing where ``folder`` is None."""

    def __init__(self, folder: Path | None, identity: str):
        self.folder, self.identity = folder, identity
        if folder is None:
            return
        check_folder(folder)
        known = self._summary()
        if known is not None and known.get("identity") != identity:
            raise DazooError(
                f"{folder} holds an adaptation of other data or with other options; choose another folder with --out, "
                "or remove it"
            )
        self.begun = known is not None
        if known is None and (foreign := [n for n in (MODEL, PREDICTIONS, CARD) if (folder / n).exists()]):
            raise DazooError(
                f"{folder} holds a {foreign[0]} of something else, which would be overwritten; choose another "
                "folder with --out, or move the file away"
            )

    def begin(self) -> None:
        """Say what the folder holds, once it is known that it can be adapted."""
        if self.folder is not None and not self.begun:
            write_text(self.folder / SUMMARY, json.dumps({"identity": self.identity}))

    def read(self, stem: str) -> tuple[Model | None, dict[str, Any]] | None:
        """A finished candidate and what was noted of it; None where it is not finished."""
        if self.folder is None or not (note := self._place(stem, "json")).is_file():
            return None
        try:
            record = json.loads(note.read_text(encoding="utf-8"))
            return None if record.get("problem") else load(self._place(stem, "safetensors")), record
        except (ValueError, DazooError):
            return None  # damaged: it is fitted again

    def write(self, stem: str, model: Model | None, record: dict[str, Any]) -> None:
        """Keep a finished candidate."""
        if self.folder is None:
            return
        if model is not None:
            save(model, self._place(stem, "safetensors"))
        write_text(self._place(stem, "json"), json.dumps(record))

    def finish(self, model: Model, predictions: str, card: Callable[[], str], summary: dict[str, Any]) -> None:
        """Write the model, its predictions, the summary and the card, which is made last: nothing is lost by it."""
        if self.folder is None:
            return
        save(model, self.folder / MODEL)
        write_text(self.folder / PREDICTIONS, predictions)
        write_text(self.folder / SUMMARY, json.dumps({"identity": self.identity, **summary}, indent=1))
        write_text(self.folder / CARD, card())

    def _summary(self) -> dict[str, Any] | None:
        place = (self.folder or Path()) / SUMMARY
        if not place.is_file():
            return None
        try:
            found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        except ValueError:
            found = []  # type: ignore[assignment]
        if not isinstance(found, dict):
            raise DazooError(f"{place} is damaged; remove the folder or choose another with --out")
        return found

    def _place(self, stem: str, suffix: str) -> Path:
        return (self.folder or Path()) / "candidates" / f"{stem}.{suffix}"


def table_of(out: Prediction, rows: list[str] | None = None, sets: list[tuple[str, ...]] | None = None) -> str:
    """Predictions as CSV: the row (counted from 1) or file, the class, its probability, and those of all classes.

    ``sets`` are the classes that a sample may have, in one more column.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["row" if rows is None else "file", "prediction", "probability", *(f"p({c})" for c in out.classes)]
        + ["set"] * (sets is not None)
    )
    top = out.probs.max(1).values.tolist()
    for i, (name, best, probs) in enumerate(zip(out.names, top, out.probs.tolist())):
        digits = [round(p, DIGITS) for p in (best, *probs)]
        inside = [] if sets is None else [BETWEEN.join(sets[i])]
        writer.writerow([i + 1 if rows is None else rows[i], name, *digits, *inside])
    return text.getvalue()
