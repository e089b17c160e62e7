"""New samples through an adapted model: read as those that it was adapted to, predicted, and compared with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dazoo.adaptation.drift import drift
from dazoo.adaptation.given import features_of
from dazoo.adaptation.store import MODEL, table_of
from dazoo.core.errors import DazooError
from dazoo.core.portable import load
from dazoo.core.types import Prediction
from dazoo.data.raw import Table, Texts
from dazoo.data.tables import is_table_file, read_table
from dazoo.engine.model import Model

FORMS = {"image": "a folder of pictures", "audio": "a folder of recordings", "text": "a folder of texts"}


def load_model(place: str | Path) -> Model:
    """The model in a file, or in a folder that ``adapt`` wrote.

    Raises:
        DazooError: there is none, or it is damaged.
    """
    place = Path(place)
    found = load(place / MODEL if place.is_dir() else place)
    if not isinstance(found, Model):
        raise DazooError(f"{place} holds a {type(found).__name__}, no model that reads samples by itself")
    return found


@dataclass(frozen=True)
class Predicted:
    """Predictions of the samples in a file or folder.

    Attributes:
        out: the predictions. files: names of the samples' files, where it is a folder. said: sentences.
        sets: names of the classes that each sample may have, where they were asked for.
    """

    out: Prediction
    files: list[str] | None
    said: list[str]
    sets: list[tuple[str, ...]] | None = None

    @property
    def table(self) -> str:
        """The predictions as CSV."""
        return table_of(self.out, self.files, self.sets)


def predict_file(model: Model, place: Path, abstain: float | None = None, conformal: float | None = None) -> Predicted:
    """Predict the samples in a file or folder; ``abstain`` as of ``Model.predict``, ``conformal`` of ``predict_set``.

    Raises:
        DazooError: nothing is there, or samples unlike those of the model.
    """
    if not place.exists():
        raise DazooError(f"there is no file or folder {place}; correct the path")
    x, names = read_new(model, place)
    if not len(x):
        raise DazooError(f"{place} holds no row; give samples to predict")
    encoded = model.encoded(x)
    numbers = model.preprocessing.of_target(encoded)
    out = model.of_numbers(numbers, abstain)
    said = [*drift(model, numbers, x), *([] if abstain is None else about_abstaining(model, out, abstain))]
    sets = None if conformal is None else model.sets_of(encoded, out, conformal)
    if sets is not None and conformal is not None:
        said += about_sets(model, sets, conformal)
    return Predicted(out, names, said, sets)


def about_abstaining(model: Model, out: Prediction, accuracy: float) -> list[str]:
    """What to say of samples that got no answer."""
    assert model.confidence is not None and out.threshold is not None
    origin = model.confidence.origin
    n, kept = len(out.labels), int((out.labels < len(model.classes)).sum())
    if out.threshold < 0:
        return [
            f"no probability is large enough for {accuracy:.0%} right answers by the {origin}: "
            "every row is unknown; ask for less, or label target rows and adapt again"
        ]
    if kept == n:
        return [f"no row is unknown: answers should be right in {accuracy:.0%} of all rows, by the {origin}"]
    return [
        f"unknown: {n - kept} of {n} rows, whose probability is below {1 - out.threshold:.2f}; of the other {kept} "
        f"answers {accuracy:.0%} should be right, by the {origin}, weighted like the target"
    ]


def about_sets(model: Model, sets: list[tuple[str, ...]], alpha: float) -> list[str]:
    """What to say of sets of classes."""
    assert model.confidence is not None
    one, every = (sum(len(s) == k for s in sets) for k in (1, len(model.classes)))
    said = (
        f"sets: {one} of {len(sets)} hold one class, {every} all; the right class should be in {1 - alpha:.0%} of them"
    )
    doubt = "; the domains hardly overlap, so that little can be excluded" if 2 * every > len(sets) else ""
    return [f"{said}, by the {model.confidence.origin}, weighted like the target{doubt}"]


def read_new(model: Model, place: Path) -> tuple[Any, list[str] | None]:
    """Samples in a file or folder in the form that the model takes, and names of their files where it is a folder.

    Raises:
        DazooError: they are of another kind, or columns lack.
    """
    schema = model.schema
    columns = model.report.get("adapt", {}).get("columns") or list(schema.names)
    wanted = f"a table with the columns {', '.join(columns[:5])}" if columns else FORMS.get(schema.kind, "an .npz file")
    if place.is_dir():
        from dazoo.adaptation.folders import names_in, read_samples

        if columns and schema.kind != "text":
            raise DazooError(f"{place} is a folder, but the model reads {wanted}")
        x, files = read_samples(place, schema.rate) if len(names_in(place)) else ((), [])
        kind = "image" if getattr(x, "ndim", 0) == 4 else getattr(x, "kind", schema.kind)
        if kind != schema.kind:
            raise DazooError(f"{place} holds {kind} samples, but the model reads {wanted}")
        return x, files
    if place.suffix == ".npz":
        from dazoo.core.archive import read_given

        arrays = read_given(place)
        if "x" not in arrays:
            raise DazooError(f"{place} holds no array x, but {', '.join(arrays) or 'nothing'}")
        return arrays["x"], None
    if not is_table_file(place):
        raise DazooError(f"{place} is no table, .npz file or folder; the model reads {wanted}")
    if not columns:
        raise DazooError(f"{place} is a table, but the model reads {wanted}")
    ignored = () if model.encoding is None else model.encoding.fitted.ignored()
    found = features_of(read_table(place), columns, str(place), ignored)
    if schema.kind == "text":
        return Texts.of(["" if v is None or v != v else str(v) for v in found.iloc[:, 0]]), None
    return Table(found) if schema.kind == "table" else found, None
