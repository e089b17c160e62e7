"""Which candidate to take, without any target label: a committee, vetoes, and a rule for doubt.

Every member looks at another kind of evidence. ``clusters`` leads: adjusted mutual information (AMI) of the predicted
classes and the target's own k-means clusters,

    S(t) = mean_{v, m} AMI(labels of t, clusters of view v, m C of them),   m in {1, 2, 4}

in plain views v of the target (as it is; standardised by itself) and not in what a candidate learned, which would
confirm itself. Several numbers of clusters, since a class may have several. ``consensus``, agreement with the mean
prediction of the candidates (the validator ``ensv``), counts a quarter: methods that make the clusters their goal can
name them wrongly, and then hardly any other agrees. ``labelled rows``, accuracy on target rows that have a label, where
some have, count as much as the clusters from thirty on. ``corr_c``, the predictions' own structure, is a witness only.

Of the candidates without a veto that are ahead of the source's model for a leading member, the best total wins. It is
taken if a lead holds in nine of ten bootstrap samples of the rows, no leading member holds the opposite as surely, and
not both witnesses are against it. Else the source's model is kept: where clusters agree with no candidate, for one.

Validators by the predictions alone reward a confident mistake, those by source errors and by the way back to the
source hardly ever prefer a candidate to the source's model: ``results/adapt`` has the regrets of every member, of this
rule, and of its constants when each is chosen on other data sets.
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
from dazoo.ops.linalg.spectral import principal_components
from dazoo.validators.base import VALIDATORS

DRAWS, HOLDS = 100, 0.9
ROWS = 2000
"""Target rows of a bootstrap sample."""
MULTIPLES, DIMS = (1, 2, 4), 64
"""Clusters by class, and directions they are found in."""
LEADING = {"clusters": 0.02, "labelled rows": 0.0}
"""Members that lead, and by how much a candidate must be ahead: another start of k-means moves the AMI as much."""
KNOWING = 0.1
"""AMI that a candidate must reach: clusters below know nothing of the classes."""
AGREE = 0.25
"""What consensus counts beside the clusters."""
ENOUGH = 30
"""Labelled target rows from which they count as much as the clusters, and accuracy is measured and not estimated."""
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
        clusters: of the target (n,), in plain views of it. few: rows (k,) of the target that have a label, and their
            classes.
    """

    held_y: Tensor
    clusters: tuple[np.ndarray, ...] = ()
    few: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class Verdict:
    """What was decided.

    Attributes:
        chosen: index of a trial. why: sentences.
        members: the committee. scores: of the trials with a model, by member. totals: their weighted sums.
        vetoes: by index of the trial. holds: share of bootstrap samples in which a lead of the best held, by member.
    """

    chosen: int
    why: tuple[str, ...]
    members: tuple[str, ...] = ()
    scores: dict[str, list[float]] = field(default_factory=dict)
    totals: tuple[float, ...] = ()
    vetoes: dict[int, str] = field(default_factory=dict)
    holds: dict[str, float] = field(default_factory=dict)


Member = Callable[[Trial, Tensor, Tensor], float]
"""The score of a trial on rows of the target, and on some of its labelled rows."""


def judge(trials: Sequence[Trial], facts: Facts, seed: int = 0) -> Verdict:
    """Choose among trials, of which the first is the source's model and has one."""
    able = [i for i, t in enumerate(trials) if not t.problem]
    vetoes = {i: v for i in able[1:] if (v := veto(trials[i], trials[0], facts.held_y))}
    if len(able) < 2:
        return Verdict(0, ("nothing else was tried or finished, so the model of the source is kept",))
    ruling = committee([trials[i] for i in able if i not in vetoes], facts)
    rows, shown = torch.arange(len(trials[0].labels)), torch.arange(0 if facts.few is None else len(facts.few[0]))
    scores = {name: [member(trials[i], rows, shown) for i in able] for name, member in ruling.items()}
    total = np.sum([weight_of(name, facts) * np.asarray(values) for name, values in scores.items()], 0)
    told = (tuple(ruling), scores, tuple(float(v) for v in total), vetoes)
    said = (f"{len(vetoes)} of {len(trials) - 1} candidates were refused by a veto",) if vetoes else ()
    leading = [name for name in LEADING if name in ruling]
    fit = [k for k, i in enumerate(able) if k and i not in vetoes and _leads(scores, k)]
    if not fit:
        most = max(scores.get("clusters") or [0.0])
        why = f"no candidate is ahead of the source's model for {' or '.join(leading) or 'any member'}: it is kept"
        if "clusters" in scores and most < KNOWING:
            why = (
                f"the target's clusters know nothing of the classes (AMI {most:.2f} at most, {KNOWING} is asked), so "
                "that nothing speaks for a change: the source's model is kept"
            )
        return Verdict(0, (why, *said), *told)
    first = max(fit, key=lambda k: (total[k], -k))
    best = trials[able[first]]
    holds = _holds(best, trials[0], {name: ruling[name] for name in leading}, len(rows), len(shown), seed)
    leads = " and ".join(f"for {name} in {100 * share:.0f} % of bootstrap samples" for name, share in holds.items())
    why = f"{best.name} is ahead of the source's model {leads}"
    witnesses = [name for name in ruling if name not in leading]
    against = [name for name in witnesses if scores[name][first] < scores[name][0]]
    taken = False
    if max(holds.values()) < HOLDS:
        why += f": less than {100 * HOLDS:.0f} % is no evidence, and the source's model is kept"
    elif min(holds.values()) <= 1 - HOLDS:
        why += ": they disagree, and the source's model is kept"
    elif len(against) == len(witnesses):
        why += f", but {' and '.join(against)} are against it: the source's model is kept"
    else:
        taken, why = True, why + (f"; {against[0]} is against it" if against else "")
    return Verdict(able[first] if taken else 0, (why, *said), *told, holds)


def weight_of(member: str, facts: Facts) -> float:
    """What a member's score counts in the total."""
    if member == "labelled rows":
        assert facts.few is not None
        return min(1.0, len(facts.few[0]) / ENOUGH)
    return {"clusters": 1.0, "consensus": AGREE}.get(member, 0.0)


def committee(trials: Sequence[Trial], facts: Facts) -> dict[str, Member]:
    """The members by name; the consensus is that of ``trials``, which have models."""
    total = torch.stack([t.probs for t in trials if t.probs is not None]).mean(0).argmax(1)
    spread = VALIDATORS.get("corr_c").fn
    members: dict[str, Member] = {}
    if facts.clusters:
        members["clusters"] = lambda t, rows, _: float(
            np.mean([_alike(t.labels[rows], c[rows]) for c in facts.clusters])
        )
    if facts.few is not None:
        at, truth = torch.from_numpy(facts.few[0]), torch.from_numpy(facts.few[1])
        members["labelled rows"] = lambda t, _, shown: float((t.labels[at[shown]] == truth[shown]).double().mean())
    members["corr_c"] = lambda t, rows, _: float(spread(_probs(t)[rows]))
    members["consensus"] = lambda t, rows, _: float((t.labels[rows] == total[rows]).double().mean())
    return members


def clusters_of(x: Tensor, classes: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """K-means clusters (n,) of target samples (n, d) at unit length, in ``DIMS`` directions, by multiple."""
    from sklearn.cluster import KMeans, MiniBatchKMeans

    kind = KMeans if len(x) <= 10 * ROWS else MiniBatchKMeans
    unit = torch.nn.functional.normalize((x - x.mean(0)).double(), dim=1)
    if unit.shape[1] > DIMS:
        mean, _, directions = principal_components(unit, DIMS)
        unit = (unit - mean) @ directions
    z, most = unit.numpy(), max(classes, len(x) // 3)
    numbers = dict.fromkeys(min(classes * m, most) for m in MULTIPLES)
    return tuple(kind(n_clusters=k, n_init=3, random_state=seed).fit_predict(z) for k in numbers)


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


def _holds(best: Trial, base: Trial, ruling: dict[str, Member], n: int, k: int, seed: int) -> dict[str, float]:
    """Share of bootstrap samples in which ``best`` is ahead of ``base``, by member; a tie counts half."""
    gen = torch.Generator().manual_seed(seed)
    ahead = dict.fromkeys(ruling, 0.0)
    for _ in range(DRAWS):
        rows = torch.randint(n, (min(n, ROWS),), generator=gen)
        shown = torch.randint(max(k, 1), (k,), generator=gen)
        for name, member in ruling.items():
            a, b = member(best, rows, shown), member(base, rows, shown)
            ahead[name] += float(a > b) + 0.5 * float(a == b)
    return {name: count / DRAWS for name, count in ahead.items()}


def _leads(scores: dict[str, list[float]], k: int) -> bool:
    """Whether trial k is ahead of the first for a leading member."""
    ahead = [n for n, lead in LEADING.items() if n in scores and scores[n][k] > scores[n][0] + lead]
    return any(n != "clusters" or scores[n][k] >= KNOWING for n in ahead)


def _probs(trial: Trial) -> Tensor:
    assert trial.probs is not None
    return trial.probs


def _alike(labels: Tensor, clusters: np.ndarray) -> float:
    from sklearn.metrics import adjusted_mutual_info_score

    return float(adjusted_mutual_info_score(clusters, labels.numpy()))


def _entropy(counts: Tensor) -> float:
    p = counts.double() / counts.sum()
    return float(-torch.special.xlogy(p, p).sum())
