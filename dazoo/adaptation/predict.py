"""New samples through an adapted model: read as those that it was adapted to, predicted, and compared with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dazoo.adaptation.given import features_of
from dazoo.adaptation.store import MODEL, table_of
from dazoo.core.errors import DazooError
from dazoo.core.portable import load
from dazoo.core.types import Prediction
from dazoo.data.raw import Table, Texts
from dazoo.data.tables import is_table_file, read_table
from dazoo.engine.model import Model

FEWEST = 20
"""New samples from which a drift is looked for."""
MOVED = 0.5
"""Distance of the means in standard deviations from which a feature counts as moved."""
CERTAIN = 4.0
"""Standard errors that the distance has to be beside that."""
MOST = 4096


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
    said = [*drift(model, numbers), *([] if abstain is None else about_abstaining(model, out, abstain))]
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
    """Samples in a file or folder in the form that the model takes."""
    schema = model.schema
    if place.is_dir():
        from dazoo.adaptation.folders import read_samples

        return read_samples(place, schema.rate)
    if place.suffix == ".npz":
        from dazoo.core.archive import read_given

        arrays = read_given(place)
        if "x" not in arrays:
            raise DazooError(f"{place} holds no array x")
        return arrays["x"], None
    if not is_table_file(place):
        raise DazooError(f"{place} is no table, .npz file or folder; give samples like those that it was adapted to")
    frame = read_table(place)
    columns = model.report.get("adapt", {}).get("columns") or list(schema.names)
    if not columns:
        raise DazooError(f"the model reads {schema.kind} samples and knows no columns; give a folder or an .npz file")
    found = features_of(frame, columns, str(place))
    if schema.kind == "text":
        return Texts.of(["" if v is None or v != v else str(v) for v in found.iloc[:, 0]]), None
    return Table(found) if schema.kind == "table" else found, None


def moments(x: Tensor) -> dict[str, Any]:
    """What later samples are compared with: means and spreads of the numbers (n, d) that the model sees."""
    if x.ndim != 2 or x.shape[1] > MOST or len(x) < FEWEST:
        return {}
    x = x.double()
    return {"n": len(x), "mean": _short(x.mean(0)), "spread": _short(x.std(0))}


def drift(model: Model, numbers: Tensor) -> list[str]:
    """Sentences about how new samples (n, d), as the model sees them, differ from those that it was adapted to."""
    known = model.report.get("drift")
    if not known or len(numbers) < FEWEST:
        return []
    mean, spread = (torch.tensor(known[k], dtype=torch.float64) for k in ("mean", "spread"))
    x = numbers.double()
    unseen = spread < 1e-9  # what never varied: a share of rows says more than a distance
    moved = (x.mean(0) - mean).abs() / torch.where(unseen, 1.0, spread)
    error = (1 / known["n"] + 1 / len(x)) ** 0.5
    far = torch.nonzero(moved > max(MOVED, CERTAIN * error))[:, 0].tolist()
    if not far:
        return []
    worst = sorted(far, key=lambda i: -float(moved[i]))[:3]
    called = () if model.encoding is None else model.encoding.fitted.outputs()
    called = called or model.schema.names
    names = ", ".join(
        f"{called[i] if i < len(called) else f'feature {i}'} "
        + ("(which never varied there)" if unseen[i] else f"by {float(moved[i]):.1f}")
        for i in worst
    )
    return [
        f"drift: {len(far)} of {len(mean)} features have moved from the data that the model was adapted to, in its "
        f"standard deviations: {names}; adapt again with these data as target"
    ]


def _short(x: Tensor) -> list[float]:
    return [float(f"{v:.6g}") for v in x.tolist()]
