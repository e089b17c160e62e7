"""Shallow methods on Office-Caltech10 against skada and adapt: twelve pairs of SURF histograms after row_sum and zscore
per domain, and pairs of frozen EfficientNet-Lite0 features after zscore, of which the four smallest.

What makes the two sides equal, per case: the classifier (1-NN; ridge regression where samples are weighted, and for
methods of few labels), the number of dimensions (20) and the regularisation. Where the libraries state it differently,
the value is converted:

- CORAL: skada shrinks, (1 - s) C + s (tr C / d) I; dazoo and adapt add reg I. The map only depends on the ratio, so
  s = 1/2 equals reg = 1 on z-scored data, whose tr C / d is 1 up to constant features.
- TCA, TJM: the peers maximise over I + mu K L K, dazoo over X M X' + mu I with M = L / (1/n_s + 1/n_t): their mu is
  1 / (mu (1/n_s + 1/n_t)). All get unit-norm samples and scale the projected samples to unit norm.
- TJM takes one round on both sides: the stopping rule of skada 0.6.0 divides by a negative number after the first.
- OT: squared Euclidean costs. dazoo divides the cost by its largest entry before an entropic problem; skada does so in
  `ot_sinkhorn_scaled` (reg 0.1 on both sides), has its own defaults in `ot_sinkhorn`, and gets multiples of the largest
  cost in `ot_class_reg` and `ot_group_lasso`.
- JDOT: skada fits logistic regression to the transported labels, dazoo least squares. Each runs at its defaults, with
  at most ten rounds.
- Kernel widths of the density ratios: dazoo's own grid around the median distance, computed for the peer for nothing.
- DASVM: skada's takes two classes, so the first two classes are kept.
- uLSIF, KLIEP, KMM, TrAdaBoost and the parameter transfers: the same problem, each library's
  own solver and stopping rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.peers.by_adapt import ADAPT
from benchmarks.peers.by_skada import SKADA
from benchmarks.peers.cases import Case, Pair, pair_of
from benchmarks.peers.measure import Row, Run, Side, take_turns, timed
from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Seen
from dazoo.data.domain import Domain
from dazoo.data.registry import load_domain
from dazoo.data.task import Task
from dazoo.data.transform import apply
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import Memo, create_method
from dazoo.methods.classifiers import classifier

DOMAINS = ("amazon", "caltech10", "dslr", "webcam")
PEERS: dict[str, tuple[Case, ...]] = {"skada": SKADA, "adapt": ADAPT}
FEATURES = ("SURF", "EfficientNet-Lite0")
LARGEST = {"SURF": 12, "EfficientNet-Lite0": 4}  # how many pairs, smallest first
BACKBONE = "tf_efficientnet_lite0"


def domains(features: str, root: str | None) -> dict[str, Domain]:
    """The four domains, normalised."""
    if features == "SURF":
        return {d: apply(load_domain("office_caltech10", d, root), ["row_sum", "zscore"]) for d in DOMAINS}
    from dazoo.nets.frozen import frozen

    photos = {d: load_domain("office_caltech10", d, root, features="images") for d in DOMAINS}
    return {d: apply(frozen(photo, BACKBONE), ["zscore"]) for d, photo in photos.items()}


def tasks(root: str | None, features: str = "SURF") -> list[Task]:
    """The twelve pairs."""
    loaded = domains(features, root)
    return [Task(f"{s}->{t}", (loaded[s],), loaded[t]) for s in DOMAINS for t in DOMAINS if s != t]


def prepared(case: Case, task: Task) -> tuple[Seen, Pair, np.ndarray]:
    """What both sides see of a task, and the labels of the target samples to predict."""
    task = dataclasses.replace(task, setting=case.setting)
    if case.two:
        task = dataclasses.replace(task, sources=tuple(map(_two, task.sources)), target=_two(task.target))
    seen, y = task.seen(), task.hidden().y
    assert y is not None
    return seen, pair_of(seen), y.numpy()


def _two(domain: Domain) -> Domain:
    assert domain.y is not None
    rows = domain.y < 2
    return dataclasses.replace(domain, x=domain.x[rows], y=domain.y[rows])


def ours(case: Case, seen: Seen, pair: Pair, memo: Memo | None = None) -> Run:
    """dazoo's side; without a memo nothing is shared between calls."""

    def run() -> np.ndarray:
        method = create_method(case.method, **case.hparams(pair))
        result = fit(method, seen, options=Options(classifier=classifier(case.classifier)), memo=memo)
        return result.predictor.predict(seen.target.x).labels.numpy()

    return run


def theirs(case: Case, pair: Pair) -> Run:
    """The peer's side, on the same arrays."""
    return lambda: case.peer(pair)


def together(rows: list[Row], cases: dict[str, Case], task: Task) -> Row | None:
    """The cases both sides finish on ``task``, one after another: what sharing work between methods brings.

    dazoo computes distances, moments and decompositions once for all methods of a pair, as its harness does; the peer's
    side is the sum of its single runs.
    """
    done = [
        r for r in rows if r.task == task.name and not (r.ours.failure or r.theirs.failure)
        and cases[r.case].setting is UNSUPERVISED and not cases[r.case].two
    ]  # fmt: skip
    if len(done) < 2:
        return None
    seen, pair, y = prepared(cases[done[0].case], task)

    def run() -> np.ndarray:
        memo = Memo()
        return np.stack([ours(cases[r.case], seen, pair, memo)() for r in done])

    theirs_all = Side(sum(r.theirs.seconds for r in done), sum(r.theirs.accuracy for r in done) / len(done))
    first = done[0]
    return Row(f"{TOGETHER}, sharing", task.name, timed(run, y), theirs_all, peer=first.peer, features=first.features)


TOGETHER = "all of these in a row"


def compare(
    root: str | None,
    wanted: list[str],
    report: Callable[[Row], None],
    peers: tuple[str, ...] = tuple(PEERS),
    features: tuple[str, ...] = FEATURES,
) -> list[Row]:
    """All cases on their pairs; every case first runs once on the smallest pair, unmeasured, on both sides."""
    rows: list[Row] = []
    for kind in features:
        pairs = tasks(root, kind)
        by_size = sorted(pairs, key=lambda t: len(t.sources[0]) * len(t.target))
        for peer in peers:
            cases = {c.name: c for c in PEERS[peer] if kind in c.features and (not wanted or c.name in wanted)}
            mine: list[Row] = []
            for case in cases.values():
                seen, pair, y = prepared(case, by_size[0])
                take_turns(ours(case, seen, pair), theirs(case, pair), y, first=0, repeats=1)
                count = min(case.smallest, LARGEST[kind])
                for i, task in enumerate([t for t in pairs if t in by_size[:count]]):
                    torch.manual_seed(0)
                    seen, pair, y = prepared(case, task)
                    sides = take_turns(ours(case, seen, pair), theirs(case, pair), y, first=i)
                    mine.append(Row(case.name, task.name, *sides, peer=peer, features=kind))
                    report(mine[-1])
            shared = [row for row in (together(mine, cases, task) for task in pairs) if row is not None]
            for row in shared:
                report(row)
            rows += mine + shared
    return rows
