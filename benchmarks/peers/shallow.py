"""Shallow methods on the twelve SURF pairs of Office-Caltech10, after row_sum and zscore per domain.

What makes the two sides equal, per case: the classifier (1-NN), the number of dimensions (20) and the regularisation.
Where the libraries state it differently, the value is converted:

- CORAL: skada shrinks, (1 - s) C + s (tr C / d) I; dazoo adds reg I. The map only depends on the ratio, so s = 1/2
  equals reg = 1 on z-scored data, whose tr C / d is 1 up to constant features.
- TCA: skada maximises over I + mu K L K, dazoo over X M X' + mu I with M = L / (1/n_s + 1/n_t): skada's mu is
  1 / (mu (1/n_s + 1/n_t)). Both get unit-norm samples and scale the projected samples to unit norm.
- OT: squared Euclidean costs. dazoo divides the cost by its largest entry before the entropic problem; skada does so in
  `ot_sinkhorn_scaled` (reg 0.1 on both sides), and has its own defaults in `ot_sinkhorn`.
- JDOT: skada fits logistic regression to the transported labels, dazoo least squares. Each runs at its defaults, with
  at most ten rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.peers.measure import Row, Run, Side, take_turns, timed
from dazoo.core.types import Seen
from dazoo.data.registry import load_domain
from dazoo.data.task import Task
from dazoo.data.transform import apply
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import Memo, create_method
from dazoo.methods.classifiers import classifier

DOMAINS = ("amazon", "caltech10", "dslr", "webcam")
TARGET = -2  # skada marks target samples by negative domain numbers


@dataclass(frozen=True)
class Case:
    """One method on both sides.

    Attributes:
        name: of the row. method, hparams: dazoo's.
        peer: builds skada's estimator from the sizes (n_s, n_t).
        smallest: how many pairs, smallest first, where one side would take long to fail.
    """

    name: str
    method: str
    peer: Callable[[int, int], Any]
    hparams: dict[str, Any] = field(default_factory=dict)
    smallest: int = 12


def _nearest() -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(1)


def _source_only(n_s: int, n_t: int) -> Any:
    import skada

    return skada.make_da_pipeline(_nearest())


def _sa(n_s: int, n_t: int) -> Any:
    import skada

    return skada.SubspaceAlignment(_nearest(), n_components=20, random_state=0)


def _coral(n_s: int, n_t: int) -> Any:
    import skada

    return skada.CORAL(_nearest(), reg=0.5)


def _tca(n_s: int, n_t: int) -> Any:
    import skada
    from sklearn.preprocessing import Normalizer

    mu = 1.0 / (1 / n_s + 1 / n_t)
    adapter = skada.TransferComponentAnalysisAdapter(kernel="linear", n_components=20, mu=mu)
    return skada.make_da_pipeline(Normalizer(), adapter, Normalizer(), _nearest())


def _emd(n_s: int, n_t: int) -> Any:
    import skada

    return skada.OTMapping(_nearest(), max_iter=1_000_000)


def _linear(n_s: int, n_t: int) -> Any:
    import skada

    return skada.LinearOTMapping(_nearest(), reg=1.0)


def _sinkhorn(norm: str | None) -> Callable[[int, int], Any]:
    def build(n_s: int, n_t: int) -> Any:
        import skada

        return skada.EntropicOTMapping(_nearest(), reg_e=0.1 if norm else 1.0, norm=norm)

    return build


def _jdot(n_s: int, n_t: int) -> Any:
    import skada
    from sklearn.linear_model import LogisticRegression

    return skada.JDOTClassifier(LogisticRegression(max_iter=1000), n_iter_max=10)


CASES: tuple[Case, ...] = (
    Case("source_only", "source_only", _source_only),
    Case("sa", "sa", _sa, {"dim": 20}),
    Case("coral", "coral", _coral, {"reg": 1.0}),
    Case("tca", "tca", _tca, {"dim": 20, "mu": 1.0}),
    Case("ot_linear", "ot_linear", _linear, {"reg": 1.0}),
    Case("ot_emd", "ot_emd", _emd),
    Case("ot_sinkhorn", "ot_sinkhorn", _sinkhorn(None), {"reg": 0.1}, smallest=4),
    Case("ot_sinkhorn_scaled", "ot_sinkhorn", _sinkhorn("max"), {"reg": 0.1}),
    Case("jdot", "jdot", _jdot, {"rounds": 10}),
)


def tasks(root: str | None) -> list[Task]:
    """The twelve pairs."""
    loaded = {d: apply(load_domain("office_caltech10", d, root), ["row_sum", "zscore"]) for d in DOMAINS}
    return [Task(f"{s}->{t}", (loaded[s],), loaded[t]) for s in DOMAINS for t in DOMAINS if s != t]


def ours(case: Case, seen: Seen, memo: Memo | None = None) -> Run:
    """dazoo's side; without a memo nothing is shared between calls."""

    def run() -> np.ndarray:
        method = create_method(case.method, **case.hparams)
        result = fit(method, seen, options=Options(classifier=classifier("1nn")), memo=memo)
        return result.predictor.predict(seen.target.x).labels.numpy()

    return run


def together(rows: list[Row], task: Task) -> Row | None:
    """The cases both sides finish on ``task``, one after another: what sharing work between methods brings.

    dazoo computes distances, moments and decompositions once for all methods of a pair, as its harness does; skada's
    side is the sum of its single runs.
    """
    done = [r for r in rows if r.task == task.name and not (r.ours.failure or r.theirs.failure)]
    seen, y = task.seen(), task.hidden().y
    if not done or y is None:
        return None
    cases = {c.name: c for c in CASES}

    def run() -> np.ndarray:
        memo = Memo()
        return np.stack([ours(cases[r.case], seen, memo)() for r in done])

    theirs_all = Side(sum(r.theirs.seconds for r in done), sum(r.theirs.accuracy for r in done) / len(done))
    return Row(f"these {len(done)} in a row, sharing", task.name, timed(run, y.numpy()), theirs_all)


def theirs(case: Case, seen: Seen) -> Run:
    """skada's side, on the same arrays; target labels are masked."""
    assert seen.source is not None
    xs, xt, ys = seen.source.x.numpy(), seen.target.x.numpy(), seen.source.y.numpy()
    x = np.concatenate([xs, xt])
    y = np.concatenate([ys, np.full(len(xt), -1)])
    domain = np.concatenate([np.ones(len(xs), dtype=int), np.full(len(xt), TARGET)])

    def run() -> np.ndarray:
        estimator = case.peer(len(xs), len(xt))
        estimator.fit(x, y, sample_domain=domain)
        return np.asarray(estimator.predict(xt, sample_domain=np.full(len(xt), TARGET)))

    return run


def compare(root: str | None, wanted: list[str], report: Callable[[Row], None]) -> list[Row]:
    """All cases on all pairs; every case first runs once on the smallest pair, unmeasured, on both sides."""
    rows: list[Row] = []
    pairs = tasks(root)
    by_size = sorted(pairs, key=lambda t: len(t.sources[0]) * len(t.target))
    for case in CASES:
        if wanted and case.name not in wanted:
            continue
        warm = by_size[0].seen()
        take_turns(ours(case, warm), theirs(case, warm), np.zeros(len(warm.target)), first=0, repeats=1)
        for i, task in enumerate([t for t in pairs if t in by_size[: case.smallest]]):
            seen = task.seen()
            y = task.hidden().y
            assert y is not None
            mine, other = take_turns(ours(case, seen), theirs(case, seen), y.numpy(), first=i)
            rows.append(Row(case.name, task.name, mine, other))
            report(rows[-1])
    shared = [row for row in (together(rows, task) for task in pairs) if row is not None]
    for row in shared:
        report(row)
    return rows + shared
