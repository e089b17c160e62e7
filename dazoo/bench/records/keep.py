"""What is kept of every checkpoint, so that a validator added later scores old runs without training them again.

One file per run, ``kept/<key>.npz`` in the result folder, put in place at once when the run has succeeded. It is a zip
archive that ``numpy.load`` reads. ``meta`` is JSON as bytes: format, key, ``what``, steps, fractions, n_classes and the
exponents below; ``source.labels``, ``source_val.labels`` and ``few.labels`` are what ``Seen`` shows. **No label of a
hidden target sample is in it.** Checkpoint ``i`` holds, always, ``i.target.scores`` (n, C), and of the two following
what takes less room, the same for all checkpoints of a run:

- ``what = "features"``: ``i.target.features`` (n, d), and scores and features of ``source``, ``source_val`` and ``few``
  where the task has them, and ``i.head`` (C, d), the weights of a linear classifier. No data is needed to rescore.
- ``what = "model"``: ``i.model``, the fitted model with all its tensors in the precision it was trained in; features
  are recomputed from the data, and are those of the run (the same bits where machine and thread count are the same).

Where samples may be of no known class there is also ``i.target.unknown`` (n,), and meta has its ``thresholds``.

Scores of classes and features are float16 times 2^e, ``e`` chosen per array so that nothing overflows: 11 significant
bits, a relative error of at most 2^-11 = 0.05 % per number down to 2^-29 of the array's largest. Most validators
recomputed from them are within 0.01 % of the run's score and silhouettes near 0 within 0.003; ``iwcv`` and ``dev``,
whose weights are exponentials of a domain classifier's margins, have been seen 17 % off where source and target were
far apart. Values of a regression stay in double precision: what counts in them is small beside their offset.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.bench.records.kept_files import path_of, used
from dazoo.bench.records.size import size_text
from dazoo.core import portable
from dazoo.core.archive import read_archive
from dazoo.core.files import opened
from dazoo.core.types import Prediction, Predictor
from dazoo.validators.base import Evidence

FORMAT = 1
PARTS = ("target", "source", "source_val", "few")
BLOCK = 1 << 20


# -- writing ------------------------------------------------------------------------------------------------------


class Keeper:
    """Collects the checkpoints of one run in a folder of parts and puts the run's file in place at the end.

    A run that was killed finds the parts of its earlier checkpoints again. A run whose outputs do not fit into what is
    left of the budget is not kept; ``problem`` then says so.

    Args:
        budget: bytes for all kept files of the folder; 0 keeps nothing.
        expected: number of checkpoints the run will have.
        portable_model: False where the model's code is not part of an installed package, so that features are kept.
    """

    def __init__(self, folder: str | Path, key: str, budget: int, expected: int, portable_model: bool = True):
        self.path = path_of(folder, key)
        self.parts = self.path.with_suffix(".parts")
        self.key, self.budget, self.expected, self.portable_model = key, budget, expected, portable_model
        self.problem = ""
        self._what: str | None = None
        self._held: dict[str, np.ndarray] | None = None
        self._left = budget - used(folder) if budget else 0
        if self.path.is_file():  # the file of an earlier try is replaced
            self._left += self.path.stat().st_size

    def add(self, index: int, step: int, fraction: float, evidence: Evidence, predictor: Predictor) -> None:
        """Keep checkpoint ``index``; ``evidence`` is what validators were given."""
        if self.budget and not self.problem:
            with self._harmless():
                self._add(index, step, fraction, evidence, predictor)

    def _add(self, index: int, step: int, fraction: float, evidence: Evidence, predictor: Predictor) -> None:
        what, size = _choice(evidence, predictor, self.portable_model)
        self._what = self._what or what
        if size * max(self.expected, index + 1) > self._left:
            self.problem = self._used_up()
            self.discard()
            return
        arrays, exponents = _pack(evidence, self._what)
        meta = {"what": self._what, "step": step, "fraction": fraction, "exponents": exponents}
        meta["threshold"] = evidence.target.threshold
        arrays["meta"] = _json(meta | {"n_classes": evidence.n_classes})
        if self._what == "model":
            arrays["model"] = np.frombuffer(portable.dump(predictor), dtype=np.uint8)
        if self.expected == 1:  # nothing that could be resumed
            self._held = arrays
            return
        with opened(self.parts / f"{index:04d}.npz") as file:
            np.savez(file, allow_pickle=False, **arrays)

    def finish(self, count: int, evidence: Evidence) -> dict[str, Any] | None:
        """Put the file of a run with ``count`` checkpoints in place; what was kept, or None.

        Args:
            evidence: of any checkpoint, for the labels that ``Seen`` shows.
        """
        if self.budget and not self.problem and count:
            with self._harmless():
                self._finish(count, evidence)
        self.discard()
        return None if self.problem or not self._what else {"what": self._what, "bytes": self.path.stat().st_size}

    def _finish(self, count: int, evidence: Evidence) -> None:
        files = [self.parts / f"{i:04d}.npz" for i in range(count)]
        if self._held is None and not all(f.is_file() for f in files):
            self.problem = "outputs not kept: those of earlier checkpoints of this resumed run are missing"
            return
        with opened(self.path) as raw, _archive(raw) as archive:
            meta = _merge(archive, [self._held] if self._held else map(read_archive, files), self.key)
            for part in PARTS[1:]:
                labels = getattr(evidence, f"{part}_labels")
                if labels is not None:
                    _put(archive, f"{part}.labels", _small(labels))
            _put(archive, "meta", _json(meta))
        self._what = meta["what"]
        if used(self.path.parent.parent) > self.budget:  # another worker was faster
            self.path.unlink(missing_ok=True)
            self.problem = self._used_up()

    def _used_up(self) -> str:
        return f"outputs not kept: the budget of {size_text(self.budget)} of this folder is used up (--keep)"

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """A run whose outputs cannot be kept is still a good run."""
        try:
            yield
        except Exception as error:  # zipfile, zlib and numpy raise many kinds on damaged parts and full disks
            self.problem = f"outputs not kept: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
            self.discard()

    def discard(self) -> None:
        """Remove the parts."""
        self._held = None
        if self.parts.is_dir():
            shutil.rmtree(self.parts, ignore_errors=True)


def _choice(evidence: Evidence, predictor: Predictor, portable_model: bool) -> tuple[str, int]:
    """What takes less room, and its bytes per checkpoint."""
    target = evidence.target
    score = 2 if evidence.n_classes else 8
    width = score * target.scores.shape[1] + 2 * (0 if target.features is None else target.features.shape[1])
    rows = len(target.scores) + sum(evidence.rows(p) for p in PARTS[1:])
    features = rows * width
    model = tensor_bytes(predictor) + score * target.scores.numel()
    if not portable_model or model >= features:
        return "features", features
    return "model", model


def tensor_bytes(value: Any) -> int:
    """Bytes of all tensors that ``portable.save`` would write; a huge number where it cannot write something."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, portable.Portable) and dataclasses.is_dataclass(value):
        return sum(tensor_bytes(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init)
    if isinstance(value, (tuple, list)):
        return sum(map(tensor_bytes, value))
    if isinstance(value, dict):
        return sum(map(tensor_bytes, value.values()))
    plain = value is None or isinstance(value, (bool, int, float, str, torch.dtype))
    return 0 if plain else 1 << 62


def _pack(evidence: Evidence, what: str) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    arrays: dict[str, np.ndarray] = {}
    exponents: dict[str, int] = {}

    def put(name: str, x: Tensor | None) -> None:
        if x is None:
            return
        if name.endswith(".scores") and evidence.n_classes == 0:
            arrays[name] = x.detach().cpu().double().numpy()
        else:
            arrays[name], exponents[name] = half(x)

    put("target.scores", evidence.target.scores)
    put("target.unknown", evidence.target.unknown)
    if what == "features":
        put("target.features", evidence.target.features)
        put("head", evidence.head)
        for part in PARTS[1:]:
            made: Prediction | None = getattr(evidence, part)
            if made is not None:
                put(f"{part}.scores", made.scores)
                put(f"{part}.features", made.features)
    return arrays, exponents


def half(x: Tensor) -> tuple[np.ndarray, int]:
    """``x`` as float16 and ``e`` with ``x ~ half * 2^e``, the largest absolute value just below 2^15."""
    values = x.detach().cpu()
    peak = float(values.abs().max()) if values.numel() else 0.0
    e = math.frexp(peak)[1] - 15 if peak > 0 else 0
    made = np.empty(tuple(values.shape), dtype=np.float16)
    step = max(1, BLOCK // max(1, values[:1].numel()))
    for start in range(0, len(values), step):
        made[start : start + step] = np.ldexp(values[start : start + step].double().numpy(), -e)
    return made, e


def _small(labels: Tensor) -> np.ndarray:
    values: np.ndarray = labels.detach().cpu().numpy()
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(np.min_scalar_type(int(values.max(initial=0))))
    return values


def _merge(archive: zipfile.ZipFile, parts: Iterable[dict[str, np.ndarray]], key: str) -> dict[str, Any]:
    """Copy the parts into the archive, one in memory at a time; the run's meta."""
    meta: dict[str, Any] = {"format": FORMAT, "key": key, "steps": [], "fractions": [], "exponents": {}}
    thresholds: list[float | None] = []
    for i, part in enumerate(parts):
        own = json.loads(part.pop("meta").tobytes())
        for name, array in part.items():
            _put(archive, f"{i}.{name}", array)
        meta["steps"].append(own["step"])
        meta["fractions"].append(own["fraction"])
        thresholds.append(own.get("threshold"))
        meta["exponents"] |= {f"{i}.{k}": v for k, v in own["exponents"].items() if v}
        meta |= {"what": own["what"], "n_classes": own["n_classes"]}
    return meta if not any(t is not None for t in thresholds) else meta | {"thresholds": thresholds}


def _archive(raw: Any) -> zipfile.ZipFile:
    return zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, compresslevel=1)


def _put(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, allow_pickle=False)
    info = zipfile.ZipInfo(f"{name}.npy")  # with a fixed date: equal outputs make equal files
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, out.getvalue(), compresslevel=1)


def _json(data: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(json.dumps(data, sort_keys=True).encode(), dtype=np.uint8)
