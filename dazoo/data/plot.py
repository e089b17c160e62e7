"""A table and a picture of a ``Task``: samples of every domain that its setting shows, and class shares of the sources.

Vectors and encoded samples are drawn on the first two principal components of all rows, each of unit variance; pictures
as thumbnails, series and recordings as curves, tables and texts by how often what occurs. matplotlib loads late.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.shown import counted, table
from dazoo.data.domain import Domain
from dazoo.data.raw import Ragged, Raw, Table, Texts

MOST, THUMBNAILS, CURVES, BARS = 400, 8, 3, 15
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#666666")  # told apart without red and green
TARGET = "#D55E00"


def page_of(task: Any) -> str:
    """The domains of a task as a table, in HTML."""
    every = [*((s, True) for s in task.sources), (task.target, False)]
    rows = [
        (f"{'source' if role else 'target'} {d.name}", len(d), d.kind, _held(d, role), "yes" if d.test else "no")
        for d, role in every
    ]
    what = "values" if task.regression else f"{task.n_classes} classes"
    head = ("domain", "samples", "kind", "labels", "test part")
    return table(f"{task.name}: {what}, setting {task.setting.value}", rows, head)


def _held(domain: Domain, shown: bool) -> str:
    """What a domain's labels are, in words; of a target only whether there are some."""
    if domain.y is None:
        return "none"
    n = len(domain.labelled)
    if not shown:
        return "hidden" if n == len(domain) else f"{n} of {len(domain)}, hidden but where the setting shows them"
    if domain.regression:
        return f"{float(domain.y.min()):.3g} to {float(domain.y.max()):.3g}"
    return counted(domain.classes[int(c)] for c in domain.y[domain.labelled])


def pyplot() -> Any:
    """matplotlib's door for figures.

    Raises:
        DazooError: matplotlib is missing.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise DazooError("pictures need matplotlib; install it with: pip install 'dazoo[figures]'") from error
    return plt


def plot_task(task: Any, seed: int = 0) -> Any:
    """A figure of a task; hidden labels play no part."""
    plt = pyplot()
    seen = task.seen()
    origin = seen if seen.origin is None else seen.origin
    parts: list[tuple[str, Any]] = []
    if origin.source is not None:
        for i, domain in enumerate(task.sources):
            rows = torch.nonzero(origin.source.domain == i)[:, 0]
            parts.append((domain.name, _take(origin.source.x, rows, seed)))
    target = seen.target.x if len(seen.target) or seen.stream is None else seen.stream.x
    if len(target):
        called = task.target.name if "target" in task.target.name else f"{task.target.name} (target)"
        parts.append((called, _take(target, torch.arange(len(target)), seed)))
    labelled = origin.source if seen.setting.labelled else None
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(3, 2), layout="constrained")
    _samples(axes[0], parts, task.target.kind)
    if labelled is None:
        axes[1].set_axis_off()
    elif task.regression:
        for i, source in enumerate(task.sources):
            values = labelled.y[labelled.domain == i].tolist()
            axes[1].hist(values, bins=20, color=_colour(i), label=source.name, alpha=0.7)
        axes[1].set(title="values of the sources", xlabel="value", ylabel="samples")
        axes[1].legend(frameon=False)
    else:
        _shares(axes[1], task, labelled.y, labelled.domain)
    figure.suptitle(f"{task.name} ({task.setting.value})")
    plt.close(figure)  # notebooks show what is returned, once
    return figure


def plot_features(
    parts: list[tuple[str, Tensor]], labels: list[Tensor | None], classes: tuple[str, ...], title: str
) -> Any:
    """A figure of features (n, d) by domain, the last of which is the target; beside it by predicted class."""
    plt = pyplot()
    flat = [x.flatten(1).double().cpu() for _, x in parts]
    points = components(flat)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharex=True, sharey=True, layout="constrained")
    for i, ((name, _), at) in enumerate(zip(parts, points)):
        _scatter(axes[0], at, _colour(i, len(parts)), name, "^" if i == len(parts) - 1 else "o")
    axes[0].set_title("by domain")
    axes[0].legend(frameon=False)
    cycle = plt.get_cmap("tab10" if len(classes) < 10 else "tab20")
    for i, (at, y) in enumerate(zip(points, labels)):
        if y is None:
            continue
        for k in torch.unique(y).tolist():
            name = classes[k] if k < len(classes) else "unknown"
            last = i == len(parts) - 1
            _scatter(axes[1], at[y == k], cycle(k % cycle.N), name if last and k < BARS else None, "^" if last else "o")
    axes[1].set_title("by predicted class" if any(y is not None for y in labels) else "")
    if axes[1].get_legend_handles_labels()[1]:
        axes[1].legend(frameon=False, fontsize="small", ncols=2 if len(classes) > 8 else 1)
    figure.suptitle(title)
    plt.close(figure)
    return figure


def components(parts: list[Tensor]) -> list[Tensor]:
    """The first two principal components (n, 2) of the rows of all parts, each centred on all and of unit variance."""
    x = torch.cat(parts)
    x = x - x.mean(0)
    spread = x.std(0, correction=0)
    x = x / torch.where(spread > 0, spread, 1.0)
    if x.shape[1] == 1:
        x = torch.cat([x, torch.zeros_like(x)], 1)
    _, _, v = torch.linalg.svd(x, full_matrices=False)
    return list((x @ v[:2].T).split([len(p) for p in parts]))


def _take(x: Any, rows: Tensor, seed: int) -> Any:
    """At most ``MOST`` of the ``rows``, drawn at random."""
    if len(rows) > MOST:
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
        rows = rows[order[:MOST].sort().values]
    return x.take(rows.numpy()) if isinstance(x, Raw) else x[rows]


def _colour(i: int, n: int = 0) -> str:
    return TARGET if n and i == n - 1 else COLOURS[i % len(COLOURS)]


def _samples(axes: Any, parts: list[tuple[str, Any]], kind: str) -> None:
    n = len(parts)
    dense = [x for _, x in parts if isinstance(x, Tensor)]
    if len(dense) == n and dense[0].ndim == 4:
        _thumbnails(axes, parts)
    elif all(isinstance(x, Ragged) for _, x in parts) or (len(dense) == n and dense[0].ndim == 3):
        for i, (name, x) in enumerate(parts):
            for k in range(min(CURVES, len(x))):
                one = x[k] if isinstance(x, Tensor) else np.asarray(_row(x, k)).T
                axes.plot(np.asarray(one)[0], color=_colour(i, n), lw=0.8, alpha=0.8, label=None if k else name)
        axes.set(title=f"{CURVES} samples of each domain, first channel", xlabel="step")
        axes.legend(frameon=False)
    elif len(dense) == n:
        if len({x.shape[1:] for x in dense}) > 1:
            axes.set_title("source and target have different features")
            axes.set_axis_off()
            return
        points = components([x.flatten(1).double() for x in dense])
        for i, ((name, _), at) in enumerate(zip(parts, points)):
            _scatter(axes, at, _colour(i, n), name, "^" if i == n - 1 else "o")
        axes.set(title="two principal components of the samples")
        axes.legend(frameon=False)
    else:
        _counts(axes, parts)


def _row(x: Any, k: int) -> Any:
    return next(iter(x.take(np.array([k]))))


def _thumbnails(axes: Any, parts: list[tuple[str, Any]]) -> None:
    rows = []
    height, width = parts[0][1].shape[1:3]
    for _, x in parts:
        step = max(1, len(x) // THUMBNAILS)
        shown = x[::step][:THUMBNAILS].cpu().numpy()
        shown = np.repeat(shown, 3, -1) if shown.shape[-1] == 1 else shown[..., :3]
        strip = np.full((height, THUMBNAILS * width, 3), 255, dtype=np.uint8)
        strip[:, : len(shown) * width] = np.concatenate(list(shown), 1)
        rows.append(strip)
    axes.imshow(np.concatenate(rows), aspect="equal")
    axes.set_yticks([height * (i + 0.5) for i in range(len(parts))], [name for name, _ in parts])
    axes.set_xticks([])
    axes.set_title("samples of each domain")


def _counts(axes: Any, parts: list[tuple[str, Any]]) -> None:
    """Of texts their lengths in words; of tables the share of cells that are filled, column by column."""
    n = len(parts)
    for i, (name, x) in enumerate(parts):
        if isinstance(x, Texts):
            axes.hist(
                [len(t.split()) for t in x], bins=20, histtype="step", color=_colour(i, n), label=name, density=True
            )
            axes.set(title="lengths of the texts", xlabel="words")
        elif isinstance(x, Table):
            filled = x.frame.notna().mean()[:BARS]
            axes.barh(np.arange(len(filled)) + i / (n + 1), filled, 1 / (n + 1), color=_colour(i, n), label=name)
            axes.set_yticks(np.arange(len(filled)), filled.index)
            axes.set(title="cells that are filled, by column", xlabel="share")
        else:
            axes.bar(i, len(x), color=_colour(i, n), label=name)
            axes.set(title="samples that are drawn", xticks=[])
    axes.legend(frameon=False)


def _scatter(axes: Any, at: Tensor, colour: Any, name: str | None, marker: str) -> None:
    axes.scatter(at[:, 0], at[:, 1], s=14, color=[colour], alpha=0.6, label=name, marker=marker, linewidths=0)
    axes.set(xticks=[], yticks=[])


def _shares(axes: Any, task: Any, y: Tensor, domain: Tensor) -> None:
    classes, n = task.classes[:BARS], len(task.sources)
    for i, source in enumerate(task.sources):
        counts = torch.bincount(y[domain == i], minlength=task.n_classes)[: len(classes)].double()
        share = counts / max(1, int((domain == i).sum()))
        axes.barh(np.arange(len(classes)) + i / (n + 0.5), share, 1 / (n + 0.5), color=_colour(i), label=source.name)
    axes.set_yticks(np.arange(len(classes)), [c[:24] for c in classes])
    axes.invert_yaxis()
    more = f" (first {BARS} of {task.n_classes})" if task.n_classes > BARS else ""
    axes.set(title=f"class shares of the sources{more}", xlabel="share")
    if n > 1:
        axes.legend(frameon=False)
