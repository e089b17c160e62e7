"""Whether the source's classes can be told apart, and whether the target holds them in other proportions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dazoo.diagnosis.domains import classifier_test, mmd_test

FOLDS = 5
PERMUTATIONS = 1000
BOOTSTRAPS = 200
ROUNDS = 300
LEAST = 20
"""Rows of each domain below which nothing is said about the shift that is left after weighing."""


@dataclass(frozen=True)
class Judged:
    """Predictions of logistic regression, each by a model that has not seen the row.

    Attributes:
        source: probabilities (n, C). target: (m, C), every row from one of the models. few: (k, C) means over models.
        fold_s, fold_t: which model judged a row, (n,) and (m,).
    """

    source: np.ndarray
    target: np.ndarray
    few: np.ndarray | None
    fold_s: np.ndarray
    fold_t: np.ndarray


@dataclass(frozen=True)
class ClassReport:
    """One class on the source.

    Attributes:
        n: source samples. recall, precision: of held-out predictions. taken_for: the class most of its wrongly named
            samples go to; empty where there are none.
    """

    name: str
    n: int
    recall: float
    precision: float
    taken_for: str


@dataclass(frozen=True)
class LabelShift:
    """Class proportions of the target as a black box classifier sees them.

    Attributes:
        p: p value of the test that both domains are predicted in equal class proportions.
        source: class shares (C,) of the source. target: estimated ones, if p(x | y) is the same in both domains.
        low, high: bootstrap interval of ``target``, 95 % per class.
        rest_p: p value that the source, thinned out to the estimated proportions, and the target are one distribution;
            small: label shift alone does not explain the difference, and ``target`` cannot be trusted. NaN where the
            thinned source has too few rows.
        rest_n: how many source rows are left for that test.
    """

    p: float
    source: np.ndarray
    target: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rest_p: float
    rest_n: int


def judge(
    xs: np.ndarray, ys: np.ndarray, xt: np.ndarray, n_classes: int, rng: np.random.Generator, few: np.ndarray | None
) -> Judged:
    """Cross-validated predictions of xs (n, d), and of xt (m, d) split over the same models."""
    from sklearn.linear_model import LogisticRegression

    fold_s, fold_t = np.empty(len(ys), dtype=int), rng.permutation(len(xt)) % FOLDS
    begin = 0
    for c in np.unique(ys):
        rows = rng.permutation(np.flatnonzero(ys == c))
        fold_s[rows] = (np.arange(len(rows)) + begin) % FOLDS
        begin += len(rows)
    source, target = np.zeros((len(xs), n_classes)), np.zeros((len(xt), n_classes))
    means = None if few is None else np.zeros((len(few), n_classes))
    for f in range(FOLDS):
        known = fold_s != f
        model = LogisticRegression(max_iter=200, tol=1e-3).fit(xs[known], ys[known])
        for rows, x, out in ((~known, xs, source), (fold_t == f, xt, target)):
            if rows.any():
                out[np.ix_(rows, model.classes_)] = model.predict_proba(x[rows])
        if few is not None and means is not None:
            means[:, model.classes_] += model.predict_proba(few) / FOLDS
    return Judged(source, target, means, fold_s, fold_t)


def separability(judged: Judged, ys: np.ndarray, names: tuple[str, ...]) -> tuple[ClassReport, ...]:
    """Every class that the source has."""
    said = judged.source.argmax(1)
    rows = []
    for c in np.unique(ys):
        mine, named = ys == c, said == c
        wrong = np.bincount(said[mine & ~named], minlength=len(names))
        precision = float((mine & named).sum() / named.sum()) if named.any() else float("nan")
        other = names[int(wrong.argmax())] if wrong.any() else ""
        rows.append(ClassReport(names[c], int(mine.sum()), float(named[mine].mean()), precision, other))
    return tuple(rows)


def skill_of(judged: Judged, ys: np.ndarray) -> float:
    """Mean recall of held-out predictions under equal class priors, scaled to 0 at chance and 1 without error.

    Equal priors (probabilities over the source's class shares), since a classifier that leans to frequent classes may
    still separate rare ones.
    """
    present, counts = np.unique(ys, return_counts=True)
    said = present[(judged.source[:, present] / counts).argmax(1)]
    recall = float(np.mean([(said[ys == c] == c).mean() for c in present]))
    chance = 1.0 / len(present)
    return (recall - chance) / (1.0 - chance)


def label_shift(
    judged: Judged, xs: torch.Tensor, ys: np.ndarray, xt: torch.Tensor, rng: np.random.Generator
) -> LabelShift:
    """The test, the estimate and the check of what is left, for standardised xs (n, d) and xt (m, d).

    Lipton, Wang and Smola, ICML 2018, https://proceedings.mlr.press/v80/lipton18a.html (the estimate; here the maximum
    of the likelihood of the predicted classes instead of the solved linear system, so that shares stay in [0, 1]);
    Rabanser, Guenneemann and Lipton, NeurIPS 2019, https://arxiv.org/abs/1810.11953 (the test).
    """
    n_classes = judged.source.shape[1]
    said_s, said_t = judged.source.argmax(1), judged.target.argmax(1)
    present = np.unique(ys)
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (said_s, ys), 1.0)
    share = np.bincount(ys, minlength=n_classes) / len(ys)
    seen = np.bincount(said_t, minlength=n_classes).astype(float)
    found = np.zeros(n_classes)
    found[present] = proportions(counts[:, present], seen, share[present])
    draws = np.zeros((_bootstraps(len(present)), n_classes))
    again = np.stack([rng.multinomial(int(k.sum()), k / k.sum(), len(draws)) for k in counts[:, present].T], axis=2)
    other = rng.multinomial(len(said_t), seen / seen.sum(), len(draws))
    draws[:, present] = proportions(again, other, share[present])
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    p = _same_proportions(judged, said_s, said_t, rng)
    rest_p, rest_n = _rest(xs, ys, xt, share, found, rng)
    return LabelShift(p, share, found, low, high, rest_p, rest_n)


def proportions(counts: np.ndarray, seen: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Class shares q (..., k) that make the predicted classes ``seen`` most likely, ``sum_i seen_i log (A q)_i``.

    ``counts`` (..., C, k) are predicted by true classes, A its columns over their sums; ``seen`` (..., C). Expectation
    maximisation from ``start`` (k,), in whose proportions shares stay that the predictions say nothing about.
    """
    a = counts / counts.sum(-2, keepdims=True)
    share = (seen / seen.sum(-1, keepdims=True))[..., None]
    q = np.broadcast_to((start / start.sum())[:, None], (*counts.shape[:-2], len(start), 1))
    for _ in range(ROUNDS):
        mixed = a @ q
        after = q * (np.swapaxes(a, -1, -2) @ np.divide(share, mixed, out=np.zeros_like(share), where=mixed > 0))
        after = after / np.maximum(after.sum(-2, keepdims=True), 1e-300)
        moved = np.abs(after - q).max()
        q = after
        if moved < 1e-7:
            break
    return q[..., 0]


def _bootstraps(k: int) -> int:
    """Fewer draws where there are very many classes."""
    return BOOTSTRAPS if k <= 50 else 50


def _same_proportions(judged: Judged, said_s: np.ndarray, said_t: np.ndarray, rng: np.random.Generator) -> float:
    """Permutation p value of the chi-squared statistic of (domain, predicted class), permuted within each model."""
    n_classes = judged.source.shape[1]
    tables = []
    for f in range(FOLDS):
        s = np.bincount(said_s[judged.fold_s == f], minlength=n_classes)
        tables.append((s, s + np.bincount(said_t[judged.fold_t == f], minlength=n_classes)))
    observed = sum(s for s, _ in tables)
    permuted = sum(rng.multivariate_hypergeometric(both, int(s.sum()), size=PERMUTATIONS) for s, both in tables)
    # within each model the expected counts given the margins
    expected = sum(both * (s.sum() / max(both.sum(), 1)) for s, both in tables)
    keep = expected > 0

    def statistic(table: np.ndarray) -> np.ndarray:
        value: np.ndarray = ((table[..., keep] - expected[keep]) ** 2 / expected[keep]).sum(-1)
        return value

    reached = (statistic(np.asarray(permuted)) >= statistic(np.asarray(observed)) - 1e-9).sum()
    return float((1 + reached) / (1 + PERMUTATIONS))


def _rest(
    xs: torch.Tensor, ys: np.ndarray, xt: torch.Tensor, share: np.ndarray, found: np.ndarray, rng: np.random.Generator
) -> tuple[float, int]:
    """Test of the source thinned out to proportions ``found`` against the target, and the number of rows left.

    A row of class c is kept with probability proportional to found_c / share_c: what is left are independent draws of
    the source under these proportions, with no row twice.
    """
    weight = np.divide(found, share, out=np.zeros_like(found), where=share > 0)
    chance = weight[ys] / max(weight.max(), 1e-300)
    kept = rng.random(len(ys)) < chance
    rows = torch.from_numpy(np.flatnonzero(kept))
    if len(rows) < LEAST or len(xt) < LEAST:
        return float("nan"), len(rows)
    thin = xs[rows]
    tails = (classifier_test(thin, xt)[1], mmd_test(thin, xt, rng)[1])
    return min(1.0, 2 * min(tails)), len(rows)
