"""Target metrics as plain functions of predictions and labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dazoo.core.errors import DazooError

LOWER_IS_BETTER = frozenset({"mae", "rmse", "prior_mae", "prior_rae", "prior_kld", "seconds_per_batch"})
SCORE = "score of "
"""How the name of a metric begins that is a validator's score, where the target has no labels; higher is better."""
NO_SHARES = LOWER_IS_BETTER | {"r2"}
"""Metrics that are no shares, and so are not shown in percent."""


def higher_is_better(metric: str) -> bool:
    """Whether higher values of a metric, or of a validator's score, are better."""
    return metric.startswith(SCORE) or metric.split(" on ")[0] not in LOWER_IS_BETTER


def is_share(metric: str) -> bool:
    """Whether a metric lies in [0, 1], and so is shown in percent."""
    return not metric.startswith(SCORE) and metric.split(" on ")[0] not in NO_SHARES


def class_metrics(predicted: np.ndarray, true: np.ndarray, n_classes: int) -> dict[str, float]:
    """Accuracy, balanced accuracy (mean recall over the classes present) and macro F1, all in [0, 1].

    Macro F1 averages over the classes that are present or predicted. ``predicted`` and ``true`` are (n,) indices.
    """
    known = predicted < n_classes  # "unknown" is a miss
    cells = (true * n_classes + predicted)[known]
    table = np.bincount(cells, minlength=n_classes * n_classes).reshape(n_classes, n_classes)
    hits, present, claimed = np.diag(table), np.bincount(true, minlength=n_classes), table.sum(0)
    seen = present > 0
    either = (present + claimed) > 0
    return {
        "accuracy": float(hits.sum() / len(true)),
        "balanced_accuracy": float((hits[seen] / present[seen]).mean()),
        "macro_f1": float((2 * hits[either] / (present + claimed)[either]).mean()),
    }


def value_metrics(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Mean absolute error, root mean squared error, and R2 (NaN where the targets are constant); inputs (n,)."""
    error = predicted - true
    spread = float(((true - true.mean()) ** 2).sum())
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "r2": 1 - float((error**2).sum()) / spread if spread > 0 else float("nan"),
    }


def effective_classes(labels: np.ndarray, n_classes: int) -> float:
    """Effective number of classes among ``labels`` (n,): exp of the entropy of their shares, 1 where there is one."""
    shares = np.bincount(labels, minlength=n_classes) / max(len(labels), 1)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def open_set_metrics(predicted: np.ndarray, true: np.ndarray, n_known: int) -> dict[str, float]:
    """How well known classes are told apart and unknown samples rejected; labels (n,) with ``n_known`` as "unknown".

        os_star = mean recall over the known classes present,   unk = recall of the unknown samples
        os = mean recall over all classes present, the unknown as one,   hos = 2 os_star unk / (os_star + unk)

    ``hos`` is 0 where both parts are. What has no samples is NaN (``unk`` without unknown, ``os_star`` without known
    ones), and so is ``hos`` then.
    """
    recalls = [float((predicted[true == c] == c).mean()) for c in range(n_known) if (true == c).any()]
    strange = true == n_known
    known = float(np.mean(recalls)) if recalls else float("nan")
    unknown = float((predicted[strange] == n_known).mean()) if strange.any() else float("nan")
    every = recalls + ([unknown] if strange.any() else [])
    return {
        "hos": harmonic_mean(known, unknown),
        "os": float(np.mean(every)) if every else float("nan"),
        "os_star": known,
        "unk": unknown,
    }


def harmonic_mean(*values: float) -> float:
    """Harmonic mean of values >= 0: 0 where one of them is, NaN where one is missing."""
    if np.isnan(values).any():
        return float("nan")
    return 0.0 if min(values) == 0 else len(values) / sum(1.0 / v for v in values)


def unknown_ranking(closed: np.ndarray, true: np.ndarray, unknown: np.ndarray, n_known: int) -> dict[str, float]:
    """Quality of a score of being unknown, whatever the threshold; ties count one half.

        auroc_unknown = P(u of a known sample < u of an unknown one)
        oscr = P(the known sample is classified rightly, and u of it < u of an unknown one)

    ``oscr`` is the area under the rate of known samples accepted and right over the rate of unknown samples accepted,
    for all thresholds. NaN where known or unknown samples are missing.

    Args:
        closed: best known class of every sample (n,), without regard to ``unknown``.
        true: labels (n,), ``n_known`` for unknown.
        unknown: scores (n,), larger for less known.

    Raises:
        DazooError: a score is NaN; it would count as known.
    """
    if np.isnan(unknown).any():
        raise DazooError(f"{int(np.isnan(unknown).sum())} scores of being unknown are NaN, so samples cannot be ranked")
    strange = true == n_known
    right = ~strange & (closed == true)
    n = int((~strange).sum())
    share = float(right.sum()) / n if n else float("nan")
    return {
        "auroc_unknown": _above(unknown[strange], unknown[~strange]),
        "oscr": 0.0 if strange.any() and share == 0 else share * _above(unknown[strange], unknown[right]),
    }


def _above(a: np.ndarray, b: np.ndarray) -> float:
    """Share of pairs with a > b, ties one half; NaN where there are none."""
    from scipy.stats import rankdata

    if not len(a) or not len(b):
        return float("nan")
    ranks = rankdata(np.concatenate([a, b]))[: len(a)]
    return float((ranks.sum() - len(a) * (len(a) + 1) / 2) / (len(a) * len(b)))


def cluster_metrics(cluster: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Clusters (n,) against classes (n,), whatever the clusters are called.

    ``cluster_acc``: accuracy under the best one-to-one matching; ``nmi``: mutual information over the mean of both
    entropies; ``ari``: adjusted Rand index, which may be negative.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    rows, columns = (np.unique(v, return_inverse=True)[1] for v in (cluster, true))
    table = np.zeros((rows.max() + 1, columns.max() + 1), dtype=np.int64)
    np.add.at(table, (rows, columns), 1)
    matched = linear_sum_assignment(table, maximize=True)
    return {
        "cluster_acc": float(table[matched].sum() / len(true)),
        "nmi": float(normalized_mutual_info_score(true, cluster)),
        "ari": float(adjusted_rand_score(true, cluster)),
    }


MOST_ROWS = 2_000


def domain_mixing(source: np.ndarray, target: np.ndarray) -> float:
    """How little two domains can be told apart by their features (n, d), (m, d), in [0, 1].

        mixing = 1 - max(0, 2 P(margin of a source sample < margin of a target sample) - 1)

    with held-out margins of logistic regression (``ops.adistance.held_out_margins``): 1 where it is no better than
    chance, 0 where it tells every pair. Of more than 2,000 samples of a side as many are looked at, evenly spaced. NaN
    where a side has fewer than four samples.
    """
    import torch

    from dazoo.ops.adistance import held_out_margins

    if min(len(source), len(target)) < 4:
        return float("nan")
    fs, ft = (v[np.linspace(0, len(v) - 1, min(len(v), MOST_ROWS)).astype(int)] for v in (source, target))
    margin, _ = held_out_margins(torch.from_numpy(fs), torch.from_numpy(ft))
    return 1.0 - max(0.0, 2 * _above(margin[len(fs) :], margin[: len(fs)]) - 1)


def prior_errors(estimate: np.ndarray, true: np.ndarray, eps: float) -> dict[str, float]:
    """Errors of estimated class shares: estimate, true (C,) or (m, C), averaged over rows.

        prior_mae = mean_c |q_c - t_c|,   prior_rae = mean_c |q'_c - t'_c| / t'_c
        prior_kld = sum_c t'_c ln(t'_c / q'_c)

    with q', t' smoothed as ``(v + eps) / (1 + C eps)``; ``eps`` is commonly one over twice the number of samples.
    """
    q, t = np.asarray(estimate, np.float64), np.asarray(true, np.float64)
    smooth_q, smooth_t = ((v + eps) / (1 + v.shape[-1] * eps) for v in (q, t))
    return {
        "prior_mae": float(np.abs(q - t).mean()),
        "prior_rae": float((np.abs(smooth_q - smooth_t) / smooth_t).mean()),
        "prior_kld": float((smooth_t * np.log(smooth_t / smooth_q)).sum(-1).mean()),
    }


def normalised_area(at: Sequence[float], values: Sequence[float]) -> float:
    """Area under a curve over the length of its axis, by trapezoids: the mean height, in the units of the values.

    ``at`` (n,) ascending, such as numbers of labels or their logarithms; of a single point its value.
    """
    x, y = np.asarray(at, np.float64), np.asarray(values, np.float64)
    if len(x) == 1 or x[-1] == x[0]:
        return float(y[-1])
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum() / (x[-1] - x[0]))
