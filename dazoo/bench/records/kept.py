"""Reading what was kept of a run (``keep`` says what that is) as the evidence that validators and figures ask for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.bench.records.keep import FORMAT
from dazoo.bench.records.kept_files import path_of
from dazoo.core import portable
from dazoo.core.archive import Archive
from dazoo.core.errors import DazooError
from dazoo.core.types import Prediction, Predictor, Seen
from dazoo.validators.base import Evidence


class Kept:
    """The kept outputs of one run; arrays are read when they are asked for.

    Attributes:
        what: ``features`` or ``model``. steps, fractions: of the checkpoints. n_classes: 0 for regression.
    """

    def __init__(self, folder: str | Path, key: str):
        self.key, self.path = key, path_of(folder, key)
        try:
            self._file = Archive(self.path)
            self._meta: dict[str, Any] = json.loads(self._file["meta"].tobytes())
            ours = (self._meta["format"], self._meta["key"]) == (FORMAT, key)
            self.what = str(self._meta["what"])
            self.steps: list[int] = list(self._meta["steps"])
            self.fractions: list[float] = list(self._meta["fractions"])
            self.n_classes = int(self._meta["n_classes"])
            self._exponents = {str(k): int(v) for k, v in self._meta["exponents"].items()}
        except FileNotFoundError:
            raise DazooError(f"the outputs of run {key} were not kept") from None
        except Exception as error:  # numpy, zipfile and zlib raise many kinds on a damaged file
            raise self._damaged(error) from error
        if not ours:
            raise DazooError(f"{self.path} is of another run or format; delete it")
        self._names = set(self._file.names)

    def __len__(self) -> int:
        return len(self.steps)

    def scores(self, index: int, part: str = "target") -> Tensor | None:
        """Scores (n, C) of checkpoint ``index`` in float64; of ``target`` always, of other parts where kept."""
        return self._array(f"{index}.{part}.scores")

    def unknown(self, index: int) -> Tensor | None:
        """How likely target samples (n,) are of no known class, where that was asked."""
        return self._array(f"{index}.target.unknown")

    def threshold(self, index: int) -> float | None:
        """Above which value of ``unknown`` a sample is called so."""
        held: list[float | None] = self._meta.get("thresholds") or [None] * len(self)
        return held[index]

    def features(self, index: int, part: str = "target") -> Tensor | None:
        """Features (n, d) in float64; None where the model is kept instead, or where there are none."""
        return self._array(f"{index}.{part}.features")

    def head(self, index: int) -> Tensor | None:
        """Weights (C, d) of the linear classifier, where kept."""
        return self._array(f"{index}.head")

    def labels(self, part: str) -> Tensor | None:
        """Visible labels of ``source``, ``source_val`` or ``few``."""
        name = f"{part}.labels"
        if name not in self._names:
            return None
        values = self._read(name)
        return torch.from_numpy(values.astype(np.int64) if np.issubdtype(values.dtype, np.integer) else values)

    def model(self, index: int) -> Predictor | None:
        """The fitted model of checkpoint ``index``, where kept."""
        name = f"{index}.model"
        if name not in self._names:
            return None
        model: Predictor = portable.parse(self._read(name).tobytes())
        return model

    def _array(self, name: str) -> Tensor | None:
        if name not in self._names:
            return None
        values = np.ldexp(self._read(name).astype(np.float64), self._exponents.get(name, 0))
        return torch.from_numpy(values)

    def _read(self, name: str) -> np.ndarray:
        try:
            values: np.ndarray = self._file[name]
            return values
        except Exception as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DazooError:
        why = str(error) if isinstance(error, DazooError) else f"{type(error).__name__}: {error}"
        return DazooError(f"{self.path} is damaged ({why.removeprefix(f'{self.path}: ')}); delete it")

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class KeptEvidence(Evidence):
    """What validators may ask for, from kept outputs.

    Target scores and labels are those kept. The rest comes from kept features, or from the kept model and the data that
    ``seen`` returns; ``seen`` is called only where a model was kept and something beyond target scores is asked for.
    """

    def __init__(self, kept: Kept, index: int, seen: Callable[[], Seen]):
        self._kept, self._index, self._load = kept, index, seen
        self.left_out = None  # models of other sources are not kept, nor is what was asked by a checkpoint

    @property
    def answers(self) -> Prediction | None:  # type: ignore[override]
        return None

    @property
    def answers_labels(self) -> Tensor | None:
        return None

    @cached_property
    def _inner(self) -> Evidence | None:
        model = self._kept.model(self._index)
        return None if model is None else Evidence(model, self._load())

    @cached_property
    def target(self) -> Prediction:
        return self._inner.target if self._inner is not None else self._both("target")  # type: ignore[return-value]

    @cached_property
    def source(self) -> Prediction | None:
        return self._inner.source if self._inner is not None else self._both("source")

    @cached_property
    def source_val(self) -> Prediction | None:
        return self._inner.source_val if self._inner is not None else self._both("source_val")

    @cached_property
    def few(self) -> Prediction | None:
        return self._inner.few if self._inner is not None else self._both("few")

    @cached_property
    def head(self) -> Tensor | None:
        return self._inner.head if self._inner is not None else self._kept.head(self._index)

    def _both(self, part: str) -> Prediction | None:
        scores = self._kept.scores(self._index, part)
        if scores is None:
            return None
        out = Prediction(scores, self._kept.features(self._index, part))
        if part != "target":
            return out
        return replace(out, unknown=self._kept.unknown(self._index), threshold=self._kept.threshold(self._index))

    def rows(self, part: str) -> int:
        labels = self._kept.labels(part)
        return 0 if labels is None else len(labels)

    @property
    def n_classes(self) -> int:
        return self._kept.n_classes

    @cached_property
    def without_target(self) -> bool:
        scores = self._kept.scores(self._index)
        assert scores is not None
        return not len(scores)

    @cached_property
    def target_scores(self) -> Tensor | None:  # type: ignore[override]
        return None if self.without_target else self._kept.scores(self._index)

    @property
    def target_probs(self) -> Tensor | None:
        scores = self.target_scores
        return None if self.n_classes == 0 or scores is None else torch.softmax(scores, dim=1)

    @property
    def target_inputs(self) -> Tensor | None:
        return None if self._inner is None else self._inner.target_inputs

    @property
    def predict(self) -> Callable[[Tensor], Tensor] | None:
        return None if self._inner is None else self._inner.predict

    @property
    def source_labels(self) -> Tensor | None:
        return self._kept.labels("source")

    @property
    def source_val_labels(self) -> Tensor | None:
        return self._kept.labels("source_val")

    @property
    def few_labels(self) -> Tensor | None:
        return self._kept.labels("few")
