"""What can be known about a task before any training, from what a method may see and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.types import Labeled, Seen
from dazoo.data.domain import Domain
from dazoo.data.scales import scales_of
from dazoo.data.task import Task
from dazoo.diagnosis.advice import THRESHOLDS, Facts, advise, kind_of
from dazoo.diagnosis.apart import diagnose_apart
from dazoo.diagnosis.classes import ClassReport, LabelShift, judge, label_shift, separability, skill_of
from dazoo.diagnosis.domains import classifier_test, domain_shift, standardiser
from dazoo.diagnosis.finding import Diagnosis as Diagnosis
from dazoo.diagnosis.transfer import scores_of, scores_of_values

LIMIT = 2000
LEAST = 10
WIDE = 256
EXACT = 1024


def diagnose(task: Task, *, limit: int = LIMIT, seed: int = 0) -> Diagnosis:
    """Measure how the domains of a task differ and say which families of methods should help.

    Looks at ``task.seen()`` alone. Same task, limit and seed: same result.

    Args:
        task: of vectors; give images through frozen features (``dazoo diagnose --backbone``) or as flat arrays.
        limit: at most so many samples of each domain are looked at, drawn at random.
        seed: of subsamples, folds, permutations and bootstrap.

    Raises:
        DazooError: samples that are no vectors, fewer than ten in a domain, or none that vary.
    """
    began = time.perf_counter()
    seen = task.seen()
    source = _check(task, seen, limit)
    if seen.setting.spaces == "own":
        return diagnose_apart(task.name, seen, source, task.classes, limit, seed)
    rng = np.random.default_rng(seed)
    rows_s, rows_t = (_draw(len(part), limit, rng) for part in (source, seen.target))
    raw_s, raw_t = source.x[rows_s].to(torch.float64), seen.target.x[rows_t].to(torch.float64)
    y, which = source.y[rows_s].numpy(), source.domain[rows_s]
    scale = standardiser(raw_s, raw_t)
    xs, xt = scale(raw_s), scale(raw_t)
    if not xs.shape[1]:
        raise DazooError(f"task {task.name!r}: no feature varies, there is nothing to diagnose")
    domains = domain_shift(xs, xt, rng)
    notes = list(scales_of(seen, () if task.sources[0].schema is None else task.sources[0].schema.names).all)
    shorten = _shortener(xs, xt, seed, notes)
    labels: LabelShift | None = None
    classes: tuple[ClassReport, ...] = ()
    skill: float | None = None
    r2: float | None = None

    def features(raw: Tensor) -> np.ndarray:
        """What transferability scores are defined on: the features as they are, while decompositions stay cheap."""
        return raw.numpy() if raw.shape[1] <= EXACT else shorten(scale(raw))

    if seen.regression:
        r2 = _r2(shorten(xs), y)
        scores, scored_on = scores_of_values(features(raw_s), y), "the source"
    else:
        few = None if seen.few is None else seen.few.x.to(torch.float64)
        judged = judge(shorten(xs), y, shorten(xt), seen.n_classes, rng, None if few is None else shorten(scale(few)))
        classes = separability(judged, y, task.classes)
        skill = skill_of(judged, y)
        labels = label_shift(judged, xs, y, xt, rng)
        if seen.few is None or few is None or judged.few is None:
            scores, scored_on = scores_of(features(raw_s), y, judged.source), "the source, held-out predictions"
        else:
            scores, scored_on = scores_of(features(few), seen.few.y.numpy(), judged.few), "the labelled target samples"
    if len(rows_s) < len(source) or len(rows_t) < len(seen.target):
        notes.append(
            f"looked at {len(rows_s)} of {len(source)} source and {len(rows_t)} of {len(seen.target)} target samples"
        )
    facts = Facts(
        len(rows_s),
        len(rows_t),
        xs.shape[1],
        domains,
        labels,
        skill,
        0 if seen.few is None else len(seen.few),
        seen.n_sources,
    )
    return Diagnosis(
        task=task.name,
        setting=seen.setting.value,
        n_source=len(source),
        n_target=len(seen.target),
        dims=int(source.x.shape[1]),
        n_classes=seen.n_classes,
        class_names=task.classes,
        used_source=len(rows_s),
        used_target=len(rows_t),
        kind=kind_of(domains, labels),
        domains=domains,
        sources=_sources(task, xs, which, xt),
        classes=classes,
        skill=skill,
        r2=r2,
        labels=labels,
        scores=scores,
        scored_on=scored_on,
        advice=advise(facts),
        notes=tuple(notes),
        thresholds=THRESHOLDS,
        seconds=time.perf_counter() - began,
    )


def with_features(task: Task, backbone: str, *, image_size: int | None = None, device: str = "cpu") -> Task:
    """The task with every domain as frozen features of a backbone; ``"none"`` flattens the samples."""
    from dazoo.nets.frozen import frozen

    def see(domain: Domain) -> Domain:
        if task.setting.spaces == "own" and domain.kind == "vector":
            return domain
        return frozen(domain, backbone, image_size=image_size, device=device)

    return task.change(sources=tuple(see(d) for d in task.sources), target=see(task.target))


def _check(task: Task, seen: Seen, limit: int) -> Labeled:
    if limit < LEAST:
        raise DazooError(f"the limit must be at least {LEAST} samples, not {limit}")
    if seen.source is None:
        raise DazooError(f"task {task.name!r} shows no source in the setting {seen.setting.value!r}")
    if seen.target.x.ndim != 2:
        raise DazooError(
            f"task {task.name!r} has {seen.kind} samples of shape {tuple(seen.target.x.shape[1:])}, and a diagnosis "
            "takes vectors; name a backbone whose frozen features to look at (--backbone; 'none' flattens the samples)"
        )
    for what, n in (("source", len(seen.source)), ("target", len(seen.target))):
        if n < LEAST:
            raise DazooError(f"task {task.name!r} has {n} {what} samples; a diagnosis needs at least {LEAST}")
    if not seen.regression and int(torch.bincount(seen.source.y).max()) < 2:
        raise DazooError(f"task {task.name!r} has one source sample per class; a diagnosis needs at least two of some")
    return seen.source


def _draw(n: int, limit: int, rng: np.random.Generator) -> Tensor:
    """Rows in random order, so that halves and folds are random too."""
    return torch.from_numpy(rng.permutation(n)[:limit])


def _shortener(xs: Tensor, xt: Tensor, seed: int, notes: list[str]) -> Callable[[Tensor], np.ndarray]:
    """To the first principal components of both domains where there are many features, one scale for all of them."""
    both = torch.cat([xs, xt]).numpy()
    if both.shape[1] <= WIDE:
        return lambda x: x.numpy()
    from sklearn.decomposition import PCA

    kept = min(WIDE, len(both) - 1)
    pca = PCA(kept, svd_solver="randomized", random_state=seed).fit(both)
    size = float(np.sqrt((pca.transform(both) ** 2).mean()))
    share = float(pca.explained_variance_ratio_.sum())
    notes.append(
        f"classes and class proportions: on the first {kept} principal components ({share:.0%} of the variance)"
    )
    if both.shape[1] > EXACT:
        notes.append("transferability scores: on the same principal components")
    return lambda x: np.asarray(pca.transform(x.numpy()) / size)


def _r2(x: np.ndarray, y: np.ndarray) -> float:
    """Cross-validated R^2 of ridge regression."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import cross_val_predict

    said = cross_val_predict(RidgeCV(np.logspace(-2, 4, 7)), x, y, cv=5)
    return float(1.0 - ((said - y) ** 2).sum() / max(((y - y.mean()) ** 2).sum(), 1e-300))


def _sources(task: Task, xs: Tensor, which: Tensor, xt: Tensor) -> tuple[tuple[str, float], ...]:
    """A-distance of every source of several, nearest first; those with too few samples are left out."""
    if len(task.sources) < 2:
        return ()
    parts = [(s.name, xs[which == i]) for i, s in enumerate(task.sources)]
    found = [(name, classifier_test(rows, xt)[0]) for name, rows in parts if len(rows) >= LEAST]
    return tuple(sorted(found, key=lambda pair: pair[1]))
