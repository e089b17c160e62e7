"""Which metrics a setting has: a registry of groups that are computed together, from plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from dazoo.bench.metrics.formulas import (
    class_metrics,
    cluster_metrics,
    domain_mixing,
    harmonic_mean,
    is_share,
    normalised_area,
    open_set_metrics,
    prior_errors,
    unknown_ranking,
    value_metrics,
)
from dazoo.core.setting import Setting


@dataclass(frozen=True)
class Answers:
    """Predictions on n test samples, and the truth.

    Attributes:
        n_classes: K, the number of the source's classes; 0 for values.
        y: labels (n,), K for unknown samples; or values.
        labels: predicted (n,), K for "unknown"; or values.
        closed: the best class (n,), whether or not a sample is called unknown.
        unknown: how likely samples (n,) are of no known class, where that was asked.
        fine: labels (n,) that tell the classes of unknown samples apart, where there are any.
        cluster: clusters (n,) that the method found by itself.
        prior: shares (K,) of the known classes in the target, as the method estimated them.
        after: of a stream: what the model at its end answers (n,).
        forgetting: of a stream: accuracy on the source at its end, less that before it.
        features: (n, d), the representation of the samples, where there is one.
        source: the answers on the source, where its labels are hidden, too.
    """

    n_classes: int
    y: np.ndarray
    labels: np.ndarray
    closed: np.ndarray
    unknown: np.ndarray | None = None
    fine: np.ndarray | None = None
    cluster: np.ndarray | None = None
    prior: np.ndarray | None = None
    after: np.ndarray | None = None
    forgetting: float | None = None
    features: np.ndarray | None = None
    source: Answers | None = None


@dataclass(frozen=True)
class Group:
    """Metrics that belong together.

    Attributes:
        names: of the metrics, the one that stands for all first.
        applies: whether a setting has them, for classes or for values.
        measure: their values by name.
        beside: those that tables show beside the one that stands for a setting.
    """

    names: tuple[str, ...]
    applies: Callable[[Setting, bool], bool]
    measure: Callable[[Answers], dict[str, float]]
    beside: tuple[str, ...] = ()


AREA, ASKED = "label_area", "labels_asked"

GROUPS: tuple[Group, ...] = (
    Group(
        ("accuracy", "balanced_accuracy", "macro_f1"),
        lambda setting, values: _closed(setting, values) and setting.target != "stream",
        lambda a: class_metrics(a.labels, a.y, a.n_classes),
    ),
    Group(
        ("online_accuracy",),
        lambda setting, values: _closed(setting, values) and setting.target == "stream",
        lambda a: {"online_accuracy": float((a.labels == a.y).mean())},
    ),
    Group(
        ("after", "forgetting", "seconds_per_batch"),  # a run takes the last one itself
        lambda setting, values: setting.target == "stream" and not values,
        lambda a: stream_metrics(a),
        beside=("after", "forgetting", "seconds_per_batch"),
    ),
    Group(
        ("hos", "os", "os_star", "unk"),
        lambda setting, values: setting.has_unknown,
        lambda a: open_set_metrics(a.labels, a.y, a.n_classes),
        beside=("os_star", "unk"),
    ),
    Group(
        ("auroc_unknown", "oscr"),
        lambda setting, values: setting.has_unknown,
        lambda a: {} if a.unknown is None else unknown_ranking(a.closed, a.y, a.unknown, a.n_classes),
        beside=("auroc_unknown", "oscr"),
    ),
    Group(
        ("nmi_private", "h3"),
        lambda setting, values: setting.has_unknown,
        lambda a: {} if a.cluster is None or a.fine is None else private_metrics(a),
    ),
    Group(
        ("prior_mae", "prior_rae", "prior_kld"),
        lambda setting, values: setting.labels == "shifted",
        lambda a: prior_errors(counted(a) if a.prior is None else a.prior, shares(a), 0.5 / len(a.y)),
        beside=("prior_mae", "prior_rae", "prior_kld"),
    ),
    Group(
        ("prior_mae", "prior_rae", "prior_kld"),
        lambda setting, values: setting.labels == "partial",
        lambda a: {} if a.prior is None else prior_errors(a.prior, shares(a), 0.5 / len(a.y)),
    ),
    Group(
        ("cluster_acc", "nmi", "ari"),
        lambda setting, values: not setting.labelled,
        lambda a: {} if a.cluster is None else cluster_metrics(a.cluster, a.y),
        beside=("nmi", "ari"),
    ),
    Group(
        ("cluster_acc on source", "cluster_acc on both", "nmi on source", "nmi on both", "mixing"),
        lambda setting, values: not setting.labelled,
        lambda a: {} if a.cluster is None or a.source is None else of_both(a),
        beside=("mixing",),
    ),
    Group(
        (AREA,),
        lambda setting, values: setting.marked == "query",
        lambda a: {},  # of all checkpoints of a run: ``over_labels``
        beside=(AREA,),
    ),
    Group(
        ("rmse", "mae", "r2"),
        lambda setting, values: values,
        lambda a: value_metrics(a.labels, a.y),
    ),
)


def stream_metrics(a: Answers) -> dict[str, float]:
    """``after``: accuracy of the model at the end of a stream on its samples; ``forgetting``: how far its accuracy on
    the source has moved, below zero where something was forgotten."""
    found = {} if a.after is None else {"after": float((a.after == a.y).mean())}
    return found if a.forgetting is None else found | {"forgetting": a.forgetting}


def private_metrics(a: Answers) -> dict[str, float]:
    """``nmi_private``: clusters of the unknown samples against their classes; ``h3``: the harmonic mean of it,
    ``os_star`` and ``unk``. NaN where no sample is unknown."""
    assert a.cluster is not None and a.fine is not None
    rows = a.y == a.n_classes
    nmi = cluster_metrics(a.cluster[rows], a.fine[rows])["nmi"] if rows.any() else float("nan")
    parts = open_set_metrics(a.labels, a.y, a.n_classes)
    return {"nmi_private": nmi, "h3": harmonic_mean(parts["os_star"], parts["unk"], nmi)}


def _closed(setting: Setting, values: bool) -> bool:
    return not values and not setting.has_unknown and setting.labelled


def counted(a: Answers) -> np.ndarray:
    """The shares of the classes (K,) among the predictions: what a method says of them that says nothing else."""
    return np.bincount(a.labels, minlength=a.n_classes)[: a.n_classes] / len(a.labels)


def of_both(a: Answers) -> dict[str, float]:
    """Metrics of the clusters of the source alone, and of both sides under one matching of clusters and classes."""
    s = a.source
    assert s is not None and s.cluster is not None and a.cluster is not None
    parts = {"source": (s.cluster, s.y), "both": (np.append(a.cluster, s.cluster), np.append(a.y, s.y))}
    found = {f"{k} on {name}": v for name, part in parts.items() for k, v in cluster_metrics(*part).items()}
    if a.features is not None and s.features is not None:
        found["mixing"] = domain_mixing(s.features, a.features)
    return {k: v for k, v in found.items() if not k.startswith("ari")}


def shares(a: Answers) -> np.ndarray:
    """The true shares of the classes (K,)."""
    return np.bincount(a.y, minlength=a.n_classes) / len(a.y)


def measure(setting: Setting, answers: Answers) -> dict[str, float]:
    """All metrics of ``setting`` by name."""
    found: dict[str, float] = {}
    for group in GROUPS:
        if group.applies(setting, answers.n_classes == 0):
            found |= group.measure(answers)
    return found


def over_labels(
    setting: Setting, asked: int, found: dict[str, float], before: Iterable[dict[str, float]]
) -> dict[str, float]:
    """What is measured of the curve of a run that asks for labels, up to a checkpoint.

    ``labels_asked`` of the target, and ``label_area``: the normalised area under the setting's metric over them.

    Args:
        asked: labels by now. found: metrics by now. before: those of earlier checkpoints, in their order.
    """
    points = [*before, found | {ASKED: float(asked)}]
    shown = primary(setting, "rmse" in found)
    if any(shown not in p or ASKED not in p for p in points):
        return {ASKED: float(asked)}
    return {ASKED: float(asked), AREA: normalised_area([p[ASKED] for p in points], [p[shown] for p in points])}


def names() -> tuple[str, ...]:
    """All metrics there are."""
    return tuple(dict.fromkeys(n for g in GROUPS for n in g.names))


def primary(setting: Setting, values: bool = False) -> str:
    """The metric that stands for a setting."""
    return next(g.names[0] for g in GROUPS if g.applies(setting, values))


def of_setting(setting: Setting, values: bool = False) -> tuple[str, ...]:
    """The metrics of a setting, the one that stands for it first."""
    return tuple(n for g in GROUPS if g.applies(setting, values) for n in g.names)


PART = " on "
"""Between a metric and the target that it is measured on alone, where there are several."""


WORST = "worst task"
"""What tables call the least number of a row over its tasks; no run has it."""


def shows_worst(settings: Iterable[Setting], shown: str) -> bool:
    """Whether tables show the worst task beside the mean: where targets are never seen, and none can be preferred."""
    return is_share(shown) and any(s.target == "unseen" for s in settings)


def beside(settings: Iterable[Setting], shown: str, recorded: Iterable[str], values: bool = False) -> tuple[str, ...]:
    """The metrics that tables show beside ``shown``: what the settings say, and ``shown`` on each of several targets.

    Args:
        recorded: names of the metrics that runs have; no others are shown.
    """
    asked, have = list(settings), list(dict.fromkeys(recorded))
    wanted = [n for g in GROUPS if any(g.applies(s, values) for s in asked) for n in g.beside]
    wanted += sorted(n for n in have if n.startswith(shown + PART))
    return tuple(n for n in dict.fromkeys(wanted) if n in have and n != shown)


TITLES = {
    "hos": "HOS", "os": "OS", "os_star": "OS*", "unk": "UNK", "auroc_unknown": "AUROC", "oscr": "OSCR",
    "nmi": "NMI", "ari": "ARI", "cluster_acc": "cluster accuracy",
    "prior_mae": "prior MAE", "prior_rae": "prior RAE", "prior_kld": "prior KLD",
}  # fmt: skip
"""How papers write the names of metrics that are abbreviations."""


def title(name: str) -> str:
    """A metric's name for reading."""
    metric, on, target = name.partition(PART)
    return TITLES.get(metric, metric.replace("_", " ")) + on + target
