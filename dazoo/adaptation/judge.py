"""Which candidate to take, without any target label: a committee, vetoes, and a rule for doubt.

Every member looks at another kind of evidence, so that one blind spot is one vote:

- ``corr_c``: the predictions' own structure (the validator of that name);
- ``clusters``: adjusted mutual information of the predicted classes and the target's own k-means clusters. These are
  found in the plain views of the target and not in what a candidate learned, which would confirm itself; the view that
  agrees most counts, since clusters of an uninformative one agree with nothing;
- ``consensus``: agreement with the mean prediction of all candidates, as the validator ``ensv``;
- ``labelled rows``: accuracy on target rows that have a label, where some have.

They are of the kinds that have small regrets in ``results/regret_digits`` and ``results/regret_features``; validators
by source errors and by the way back to the source have large ones, and hardly any candidate beats the source's model
there. Where class proportions alone differ by the diagnosis, the first two would choose failures, since they reward
equal shares, while source errors weighted by class are sound: they take their place (``weighted source``).

The best mean rank wins among candidates that are ahead of the source's model for every member and have no veto. It is
taken if each of these leads holds in nine of ten bootstrap samples of the rows; else the source's model is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.methods.base import METHODS
from dazoo.methods.shallow import Reweighting
from dazoo.validators.base import VALIDATORS

DRAWS, HOLDS = 100, 0.9
ROWS = 2000
"""Target rows of a bootstrap sample."""
FEWEST = 2
"""Members below which nothing is decided."""
COLLAPSE = 0.5
"""Share of the entropy of the classes below which predictions count as collapsed."""
LOSS = 0.1
"""Accuracy on held-out source samples that a candidate may lose against the source's model, beside chance."""
ALARMS = ("blind discriminator",)
"""Findings of a fit that are a veto."""


@dataclass(frozen=True)
class Trial:
    """A candidate as fitted.

    Attributes:
        name, method, preprocessing: what it is. seconds: of its fit.
        problem: why there is no model; empty where there is one.
        probs: of the target (n, C). held: of the held-out source samples (m, C).
        findings, warnings: of the fit.
    """

    name: str
    method: str
    preprocessing: str
    seconds: float
    problem: str = ""
    probs: Tensor | None = None
    held: Tensor | None = None
    findings: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def labels(self) -> Tensor:
        """Predicted classes (n,) of the target."""
        assert self.probs is not None
        return self.probs.argmax(1)


@dataclass(frozen=True)
class Facts:
    """What the committee knows beside the trials.

    Attributes:
        held_y: labels (m,) of the held-out source samples.
        clusters: of the target (n,), in every view of it. ratio: of class shares (C,), target to source, where the
            diagnosis says that they alone differ. few: rows (k,) of the target that have a label, and their classes.
    """

    held_y: Tensor
    clusters: tuple[np.ndarray, ...] = ()
    ratio: Tensor | None = None
    few: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class Verdict:
    """What was decided.

    Attributes:
        chosen: index of a trial. why: sentences.
        members: the committee. scores: of the trials with a model, by member. ranks: their mean ranks, 1 is best.
        vetoes: by index of the trial. holds: share of bootstrap samples in which a lead of the best held, by member.
    """

    chosen: int
    why: tuple[str, ...]
    members: tuple[str, ...] = ()
    scores: dict[str, list[float]] = field(default_factory=dict)
    ranks: tuple[float, ...] = ()
    vetoes: dict[int, str] = field(default_factory=dict)
    holds: dict[str, float] = field(default_factory=dict)


Member = Callable[[Trial, Tensor, Tensor], float]
"""The score of a trial on rows of the target and rows of the held-out source samples."""


def judge(trials: Sequence[Trial], facts: Facts, seed: int = 0) -> Verdict:
    """Choose among trials, of which the first is the source's model and has one."""
    able = [i for i, t in enumerate(trials) if not t.problem]
    vetoes = {i: v for i in able[1:] if (v := veto(trials[i], trials[0], facts.held_y))}
    if len(able) < 2:
        return Verdict(0, ("nothing else was tried or finished, so the model of the source is kept",))
    ruling = committee([trials[i] for i in able], facts)
    rows, held = torch.arange(len(trials[0].labels)), torch.arange(len(facts.held_y))
    scores = {name: [member(trials[i], rows, held) for i in able] for name, member in ruling.items()}
    mean = np.mean([_ranks(values) for values in scores.values()], 0)
    able_ranks = tuple(float(v) for v in mean)
    fit = [
        k
        for k, i in enumerate(able)
        if k and i not in vetoes and len(ruling) >= FEWEST and all(v[k] > v[0] for v in scores.values())
    ]
    said = (f"{len(vetoes)} of {len(trials) - 1} candidates were refused by a veto",) if vetoes else ()
    if not fit:
        why = "no candidate is ahead of the source's model for every member without a veto: it is kept"
        return Verdict(0, (why, *said), tuple(ruling), scores, able_ranks, vetoes)
    best = able[min(fit, key=lambda k: (mean[k], k))]
    holds = _holds(trials[best], trials[0], ruling, len(rows), len(held), seed)
    sure = min(holds.values()) >= HOLDS
    why = (
        f"{trials[best].name} is ahead of the source's model for all {len(ruling)} members, in at least "
        f"{100 * min(holds.values()):.0f} % of bootstrap samples"
    )
    if not sure:
        why += f": less than {100 * HOLDS:.0f} % is no evidence, and the source's model is kept"
    return Verdict(best if sure else 0, (why, *said), tuple(ruling), scores, able_ranks, vetoes, holds)


def committee(trials: Sequence[Trial], facts: Facts) -> dict[str, Member]:
    """The members by name, for trials that have a model."""
    total = torch.stack([t.probs for t in trials if t.probs is not None]).mean(0).argmax(1)
    members: dict[str, Member] = {}
    if facts.ratio is None:
        spread = VALIDATORS.get("corr_c").fn
        members["corr_c"] = lambda t, rows, _: float(spread(_probs(t)[rows]))
        if facts.clusters:
            view = {id(t): max(facts.clusters, key=lambda c: _alike(t.labels, c)) for t in trials}
            members["clusters"] = lambda t, rows, _: _alike(t.labels[rows], view[id(t)][rows])
    else:
        w = facts.ratio[facts.held_y]
        members["weighted source"] = lambda t, _, held: _right(t, facts.held_y, held, w)
    members["consensus"] = lambda t, rows, _: float((t.labels[rows] == total[rows]).double().mean())
    if facts.few is not None:
        at, truth = torch.from_numpy(facts.few[0]), torch.from_numpy(facts.few[1])
        members["labelled rows"] = lambda t, rows, _: float((t.labels[at] == truth).double().mean())
    return members


def clusters_of(x: Tensor, classes: int, seed: int = 0) -> np.ndarray:
    """K-means clusters (n,) of target samples (n, d) at unit length, as many as classes."""
    from sklearn.cluster import KMeans, MiniBatchKMeans

    kind = KMeans if len(x) <= 10 * ROWS else MiniBatchKMeans
    unit = torch.nn.functional.normalize((x - x.mean(0)).double(), dim=1).numpy()
    found: np.ndarray = kind(n_clusters=classes, n_init=5, random_state=seed).fit_predict(unit)
    return found


def veto(trial: Trial, base: Trial, held_y: Tensor) -> str:
    """Why a candidate may not be taken; empty where it may."""
    assert trial.probs is not None and base.probs is not None
    classes = trial.probs.shape[1]
    spread = [_entropy(torch.bincount(y, minlength=classes)) for y in (trial.labels, base.labels, held_y)]
    if spread[0] < COLLAPSE * min(spread[1:]):
        return "collapsed: it predicts few classes only, where source and source's model have more"
    for found in trial.findings:
        if found.get("kind") in ALARMS:
            return f"{found['kind']}: {found.get('text', '')}"
    if trial.warnings and issubclass(METHODS.get(trial.method), Reweighting):
        return f"its weights are in doubt: {trial.warnings[0]}"
    if trial.held is not None and base.held is not None and len(held_y):
        a, b = ((t.argmax(1) == held_y).double() for t in (base.held, trial.held))
        lost = a - b
        if float(lost.mean()) > LOSS + 2 * float(lost.std(unbiased=False)) / len(lost) ** 0.5:
            return f"it lost {100 * float(lost.mean()):.0f} points on held-out source samples"
    return ""


def _holds(best: Trial, base: Trial, ruling: dict[str, Member], n: int, m: int, seed: int) -> dict[str, float]:
    """Share of bootstrap samples in which ``best`` is ahead of ``base``, by member."""
    gen = torch.Generator().manual_seed(seed)
    ahead = dict.fromkeys(ruling, 0)
    for _ in range(DRAWS):
        rows = torch.randint(n, (min(n, ROWS),), generator=gen)
        held = torch.randint(max(m, 1), (m,), generator=gen)
        for name, member in ruling.items():
            ahead[name] += member(best, rows, held) > member(base, rows, held)
    return {name: count / DRAWS for name, count in ahead.items()}


def _probs(trial: Trial) -> Tensor:
    assert trial.probs is not None
    return trial.probs


def _alike(labels: Tensor, clusters: np.ndarray) -> float:
    from sklearn.metrics import adjusted_mutual_info_score

    return float(adjusted_mutual_info_score(clusters, labels.numpy()))


def _right(trial: Trial, y: Tensor, rows: Tensor, w: Tensor) -> float:
    """Weighted accuracy on rows of the held-out source samples."""
    assert trial.held is not None
    right = (trial.held.argmax(1)[rows] == y[rows]).double()
    return float((right * w[rows]).sum() / w[rows].sum().clamp(min=1e-12))


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks (k,) of scores, 1 for the highest; NaN has the last place."""
    from scipy.stats import rankdata

    found: np.ndarray = rankdata(-np.where(np.isnan(values), -np.inf, values))
    return found


def _entropy(counts: Tensor) -> float:
    p = counts.double() / counts.sum()
    return float(-torch.special.xlogy(p, p).sum())
