"""Scatter of source and target features before and after adaptation, from kept outputs.

For the first ``TASKS`` tasks and a few methods (the best that sees no target label, the best baseline of them, which
shows the features before adaptation, and the worst) at most ``SAMPLES`` samples per domain are drawn with a fixed seed
and projected to two dimensions, source and target together. Classes of source samples are their labels, those of target
samples are **predicted**; no hidden label is used. The coordinates are kept in ``scatter.json`` beside the records, so
that a page made later from a copy of the folder without its kept outputs shows the same figure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from dazoo.bench.analysis.findings import BASELINES
from dazoo.bench.analysis.runs import Run
from dazoo.bench.analysis.table import Leaderboard
from dazoo.bench.plan.beside import SCATTER, SCATTER_FORMAT, held_panels
from dazoo.bench.records.kept_files import path_of
from dazoo.bench.report.canvas import PALETTE, Figure, Line, Mark, Word
from dazoo.bench.report.model import Report
from dazoo.core.errors import DazooError, nearest
from dazoo.core.files import write_text
from dazoo.data.names import dataset_of

PCA, TSNE = "pca", "tsne"
WAYS = (PCA, TSNE)
TASKS = 3
SAMPLES = 300
SEED = 20240301
HELD = 60
"""Panels that the file keeps at most, those of the present page first."""


@dataclass(frozen=True)
class Wanted:
    """A panel: a selected run and its checkpoint; ``role`` says why it was chosen."""

    run: Run
    point: int
    role: str

    def name(self, way: str) -> str:
        return f"{self.run.key}:{self.point}:{way}"


@dataclass(frozen=True)
class Scatter:
    """Panels in the order of tasks and roles, as plain data; ``missing`` names what cannot be shown, by reason, and
    ``kept`` holds what ``scatter.json`` should, where that is more than it does."""

    way: str
    panels: list[dict[str, Any]]
    missing: dict[str, list[str]]
    kept: dict[str, Any] = field(default_factory=dict)


def scatter(made: Report, way: str = PCA, methods: Sequence[str] = ()) -> Scatter:
    """The panels of a report, from ``scatter.json`` where they are there, else computed (``store`` puts them there).

    Args:
        way: ``pca`` or ``tsne``. methods: labels instead of the chosen ones.

    Raises:
        DazooError: an unknown projection or method.
    """
    if way not in WAYS:
        raise DazooError(f"unknown projection {way!r}: {nearest(way, WAYS)}")
    held = held_panels(made.folder, made.problems)
    panels: list[dict[str, Any]] = []
    missing: dict[str, list[str]] = {}
    fresh: dict[str, Any] = {}
    for wanted in choose(made, methods):
        name = wanted.name(way)
        where = f"{wanted.run.label} on {wanted.run.task}, seed {wanted.run.seed}"
        try:
            points = held.get(name) or project(made.folder, wanted, way)
        except (DazooError, OSError, RuntimeError, ValueError, KeyError) as error:
            missing.setdefault(str(error), []).append(where)
            continue
        fresh[name] = points
        about = {"label": wanted.run.label, "role": wanted.role, "task": wanted.run.task, "seed": wanted.run.seed}
        panels.append({**about, **points})
    kept = {**fresh, **{k: v for k, v in held.items() if k not in fresh}} if fresh.keys() - held.keys() else {}
    return Scatter(way, panels, missing, kept)


def choose(made: Report, methods: Sequence[str] = ()) -> list[Wanted]:
    """Which runs are shown, on each of the first tasks with the first seed."""
    board = made.board
    rows = {r.label: r for r in board.rows}
    unknown = [m for m in methods if m not in rows]
    if unknown:
        raise DazooError(f"the leaderboard has no method {unknown[0]!r}: {nearest(unknown[0], rows)}")
    roles = {m: "" for m in methods}
    if not methods:
        fair = [r for r in board.rows if not r.mark and not math.isnan(r.mean)]
        base = [r.label for r in fair if r.family == BASELINES][:1]
        roles = {label: "before adaptation" for label in base}
        others = [r.label for r in fair if r.family != BASELINES]
        for members, role in ((others[:1], "best"), (others[-1:], "worst")):
            roles |= {m: role for m in members if m not in roles}
    models = {(r.label, r.task, r.trial, r.seed): r for r in made.runs.runs if r.ok}
    found = []
    for task in _first_tasks(board):
        for label, role in roles.items():
            cell = board.cells.get((label, task))
            if cell is not None and cell.seeds:
                found.append(Wanted(models[label, task, cell.trial, cell.seeds[0]], cell.picks[0], role))
    return found


def _first_tasks(board: Leaderboard) -> list[str]:
    """The first tasks, of every dataset in turn."""
    turns = [[t for t in board.tasks if dataset_of(t) == d] for d in board.datasets]
    return [t for turn in zip_longest(*turns) for t in turn if t is not None][:TASKS]


def project(folder: Path, wanted: Wanted, way: str) -> dict[str, Any]:
    """Two-dimensional coordinates and classes of one panel.

    Raises:
        DazooError: the run's outputs were not kept, or hold no features of both domains.
    """
    if not path_of(folder, wanted.run.key).is_file():
        raise DazooError("outputs that are not kept here")
    from dazoo.bench.execute.evidence import evidence_of
    from dazoo.bench.records.store import records

    record = next(r for r in records(folder, only=(wanted.run.key,)) if r["status"] == "ok")
    evidence = evidence_of(folder, record, wanted.point)
    source, target = evidence.source_features, evidence.target_features
    if source is None or target is None:
        raise DazooError("models without features, or targets that are not seen")
    labels, classes = evidence.source_labels, evidence.n_classes
    rng = np.random.default_rng(SEED)
    rows_s, rows_t = (np.sort(rng.permutation(len(x))[:SAMPLES]) for x in (source, target))
    xs, xt = source.flatten(1).numpy()[rows_s], target.flatten(1).numpy()[rows_t]
    flat = plane(np.concatenate([xs, xt]).astype(np.float64), way)
    known = labels is not None and classes > 0
    return {
        "source": flat[: len(xs)].tolist(),
        "target": flat[len(xs) :].tolist(),
        "source_class": labels.numpy()[rows_s].astype(int).tolist() if known and labels is not None else [],
        "target_class": evidence.target.scores.argmax(1).numpy()[rows_t].tolist() if known else [],
        "of": [len(source), len(target)],
    }


def plane(x: np.ndarray, way: str) -> np.ndarray:
    """Coordinates (n, 2), integers in [0, 1000] with the proportions kept, of the rows of ``x`` (n, d).

    PCA is exact and its signs are fixed; t-SNE is scikit-learn's, begun at the principal components, with a fixed seed.
    """
    if not np.isfinite(x).all():
        raise DazooError("features that are not finite")
    x = x - x.mean(0)
    if way == TSNE:
        from sklearn.manifold import TSNE as Embedding

        perplexity = min(30.0, max(1.0, (len(x) - 1) / 3))
        flat = Embedding(2, init="pca", perplexity=perplexity, random_state=0).fit_transform(x)
    else:
        u, s, vt = np.linalg.svd(x, full_matrices=False)
        flat = (u * s * np.sign(vt[np.arange(len(s)), np.abs(vt).argmax(1)]))[:, :2]
        flat = np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
    flat = flat - flat.min(0)
    scaled: np.ndarray = np.rint(1000 * flat / (flat.max() or 1.0)).astype(int)
    return scaled


def store(folder: Path, found: Scatter) -> None:
    """Keep the coordinates of a report's panels beside its records."""
    if found.kept:
        body = {"format": SCATTER_FORMAT, "panels": dict(list(found.kept.items())[:HELD])}
        write_text(folder / SCATTER, json.dumps(body, separators=(",", ":")) + "\n")


# -- for papers -----------------------------------------------------------------------------------------------------


def figure(found: Scatter) -> Figure | None:
    """The panels of the first task side by side."""
    panels = [p for p in found.panels if p["task"] == found.panels[0]["task"]]
    if not panels:
        return None
    side, gap, top = 260.0, 24.0, 44.0
    parts: list[Line | Mark | Word] = []
    for i, panel in enumerate(panels):
        left = 16 + i * (side + gap)
        role = f" ({panel['role']})" if panel["role"] else ""
        parts.append(Word(left, top - 10, panel["label"] + role))
        corners = [(left, top), (left + side, top), (left + side, top + side), (left, top + side), (left, top)]
        parts += [Line(*a, *b) for a, b in pairwise(corners)]
        for domain in ("source", "target"):
            classes = panel[f"{domain}_class"] or [0] * len(panel[domain])
            for (x, y), c in zip(panel[domain], classes):
                at = (left + 6 + (side - 12) * x / 1000, top + side - 6 - (side - 12) * y / 1000)
                parts.append(Mark(*at, min(c, len(PALETTE) - 1), domain == "target"))
    way = {PCA: "principal components", TSNE: "t-SNE"}[found.way]
    note = "rings: source, by label; triangles: target, by predicted class"
    parts.append(Word(16, top + side + 22, f"{panels[0]['task']}, seed {panels[0]['seed']}; {way}; {note}", soft=True))
    title = f"Features of source and target before and after adaptation ({way}); {note}"
    return Figure("scatter", title, 16 + len(panels) * (side + gap), top + side + 40, tuple(parts))
