"""Shallow methods on Office-Caltech10 against skada, adapt and POT's own classes: twelve pairs of SURF histograms after
row_sum and zscore per domain, and pairs of frozen EfficientNet-Lite0 features after zscore, of which the four smallest;
the column "pairs" says how many of them, smallest first, a case ran on.

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
- POT's classes move the source and nearest neighbours label the target. They get the cost divided by its largest entry
  where they offer that, features divided by its root in `ot_laplace` and `ot_mapping`, whose weights are converted;
  `ot_mapping` moves training samples by the map on both sides, where POT's class would move them by the plan.
- JDOT: skada fits logistic regression to the transported labels, dazoo least squares; at most ten rounds. skada weighs
  features and labels alike and divides the distances by their mean, which in dazoo is alpha = largest / mean distance.
- Kernel widths: around the median distance, which is given to both sides, as is the grid of widths around it.
- Sample weights have mean 1 on both sides before the classifier sees them.
- DASVM: skada's takes two classes, so the first two classes are kept.
- TrAdaBoost: ten rounds on both sides, by the classifier's probabilities, which adapt takes where a model has them:
  sigmoids of ridge's scores over their sum, dazoo's softmax. Each library has its own votes (see "tradaboost" above).
- uLSIF, RuLSIF, KLIEP, KMM: the same problem and grids, each library's own solver, selection and stopping rule.
- \\* marks what is not the same problem and enters no mean: adapt's linear interpolation has a fixed share and averages
  the numbers of predicted classes, dazoo's chooses the share by cross-validation; adapt's regular transfer of a
  classifier is least squares, dazoo's is logistic; skada's KDE ratio has one bandwidth for all features, dazoo's one
  per feature and domain (in hundreds of features the ratio rests on single samples with either).

Alone, a run shares nothing with any other. In a group, all cases of a table run one after another on a pair, and pair
after pair, and share what the runs of a suite do: costs, plans and kernels of a pair, moments, decompositions and inner
products of a domain, which is source or target of six pairs; the first that needs a piece pays for it. The peers share
nothing between runs, so their times are those of single runs. The aims are six times in a group and four times alone.
"In libraries" is the share of dazoo's time alone within POT, LAPACK, BLAS and scikit-learn, by a profile: where it is
near all and the peer calls the same solver (EMD, the eigenproblem of CORAL, least squares after a reweighting) or a
rougher one (SA), four times cannot be had alone without a faster solver. Sides take turns and CPU time is counted,
since other jobs may run on the machine.

Where accuracies differ although the problem is the same, the reasons that were measured stand above. Beyond those: TJM
scales every eigenvector, and skada gives it norm 1 in another metric than dazoo, which follows the authors' code; the
penalty of TCA with a linear kernel is on the map in the features in dazoo and on the coefficients of samples in the
peers. Where all weights of skada's KDE ratio vanish, it falls back to uniform ones with a warning, which counts as a
failure here.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.peers.by_adapt import ADAPT
from benchmarks.peers.by_pot import POT
from benchmarks.peers.by_skada import SKADA
from benchmarks.peers.cases import Case, Pair, pair_of
from benchmarks.peers.measure import Row, Run, library_share, take_turns, timed
from dazoo.core.memo import Domains, Memo
from dazoo.core.types import Seen
from dazoo.data.domain import Domain
from dazoo.data.registry import load_domain
from dazoo.data.task import Task
from dazoo.data.transform import apply
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import create_method
from dazoo.shallow.classifiers import classifier

DOMAINS = ("amazon", "caltech10", "dslr", "webcam")
PEERS: dict[str, tuple[Case, ...]] = {"skada": SKADA, "adapt": ADAPT, "POT": POT}
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
    """dazoo's side; without a memo nothing is shared between calls but what the peer is given too."""

    def run() -> np.ndarray:
        method = create_method(case.method, **case.hparams(pair))
        options = Options(classifier=classifier(case.classifier))
        result = fit(method, seen, options=options, memo=given(pair) if memo is None else memo)
        return result.predictor.predict(seen.target.x).labels.numpy()

    return run


def given(pair: Pair, domains: Domains | None = None) -> Memo:
    """A memo that holds the kernel width, which both sides are given, and nothing else but what ``domains`` holds."""
    memo = Memo(domains)
    memo("median_sigma", lambda: torch.tensor(pair.width, dtype=torch.float64))
    return memo


def theirs(case: Case, pair: Pair) -> Run:
    """The peer's side, on the same arrays."""
    return lambda: case.peer(pair)


def in_a_group(cases: list[Case], task: Task, shelves: tuple[Domains, ...]) -> dict[str, float]:
    """Seconds of every case's run where the cases run on ``task`` one after another and share what they have in
    common, as runs of a suite do; whoever needs a shared piece first pays for it. The fastest of as many repeats as
    there are ``shelves``, which hold what a repeat knows of single domains from earlier pairs."""
    best = {case.name: float("inf") for case in cases}
    ready = [(case, *prepared(case, task)) for case in cases]
    for shelf in shelves:
        memos: dict[tuple[str, bool], Memo] = {}
        for case, seen, pair, y in ready:
            memo = memos.setdefault((case.setting.value, case.two), given(pair, shelf))
            side = timed(ours(case, seen, pair, memo), y)
            best[case.name] = min(best[case.name], side.seconds)
    return best


def compare(
    root: str | None,
    wanted: list[str],
    report: Callable[[Row], None],
    peers: tuple[str, ...] = tuple(PEERS),
    features: tuple[str, ...] = FEATURES,
    most: int = 12,
) -> list[Row]:
    """All cases on their pairs, at most ``most`` of them, smallest pairs first, so that what an interrupted run has
    measured is comparable.

    On the smallest pair every case first runs once, unmeasured, on both sides.
    """
    rows: list[Row] = []
    by_size = {
        kind: sorted(tasks(root, kind), key=lambda t: len(t.sources[0]) * len(t.target))[: min(LARGEST[kind], most)]
        for kind in features
    }
    shelves = {(kind, peer): (Domains(), Domains()) for kind in features for peer in peers}
    for i, kind, peer in itertools.product(range(max(LARGEST.values())), features, peers):
        if i < len(by_size[kind]):
            cases = [c for c in PEERS[peer] if kind in c.features and (not wanted or c.name in wanted)]
            for row in on_one_pair(
                [c for c in cases if i < c.smallest], by_size[kind][i], i, peer, kind, shelves[kind, peer]
            ):
                rows.append(row)
                report(row)
    return rows


def on_one_pair(cases: list[Case], task: Task, i: int, peer: str, kind: str, shelves: tuple[Domains, ...]) -> list[Row]:
    """Every case alone, both sides taking turns, then dazoo's runs in a group."""
    gc.collect()
    gc.freeze()  # or every collection before a timed run walks through all of the imported libraries
    measured = []
    for case in cases:
        torch.manual_seed(0)
        seen, pair, y = prepared(case, task)
        mine, other = ours(case, seen, pair), theirs(case, pair)
        if i == 0:
            take_turns(mine, other, y, first=0, repeats=1)
            gc.freeze()
        sides = take_turns(mine, other, y, first=i)
        measured.append((case, sides, float("nan") if sides[0].failure else library_share(mine)))
    grouped = in_a_group(cases, task, shelves)
    return [
        Row(
            case.name, task.name, *sides, peer=peer, features=kind, grouped=grouped[case.name], library=share,
            counted=case.counted,
        )
        for case, sides, share in measured
    ]  # fmt: skip
