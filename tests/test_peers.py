"""The comparison with other libraries: taking turns, failures as results, and means that leave failures out."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("benchmarks.peers", reason="needs the repository's root on the path")

from benchmarks.peers.cases import Pair, mean_one
from benchmarks.peers.measure import Machine, Row, Side, library_share, take_turns, timed
from benchmarks.peers.shallow import FEATURES, PEERS, in_a_group, ours, pair_of, prepared
from benchmarks.peers.tables import geometric_mean, read, summary, write
from dazoo.core.memo import Domains
from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.data.domain import Domain
from dazoo.data.task import Task
from dazoo.methods import shallow as methods
from dazoo.methods.base import create_method
from dazoo.ops.linalg.linear import mean_and_covariance
from dazoo.shallow.classifiers import classifier

Y = np.array([0, 1, 1, 0])


def test_slower_cases_that_enter_no_mean_are_named_all_the_same():
    rows = [
        Row("one problem", "a->b", Side(1.0, 50.0), Side(4.0, 50.0)),
        Row("another problem", "a->b", Side(2.0, 50.0), Side(1.0, 50.0), counted=False),
    ]
    text = summary(rows)
    assert "both sides finish: 4.0x." in text and "Slower than skada: none." in text
    assert "Slower, of what is not the same problem (*): another problem (0.50x)." in text
    assert "not the same problem (*)" not in summary(rows[:1])


def test_sides_take_turns_and_start_alternately() -> None:
    for first, expected in ((0, "abbaab"), (1, "baabba")):
        order: list[str] = []

        def run(name: str, order: list[str] = order) -> np.ndarray:
            order.append(name)
            return Y

        take_turns(lambda: run("a"), lambda: run("b"), Y, first=first, repeats=3, budget=100.0)
        assert "".join(order) == expected


def test_a_failure_is_a_result_and_is_not_repeated() -> None:
    calls = []

    def fails() -> np.ndarray:
        calls.append(1)
        raise ValueError("Input X contains NaN.\nmore")

    ours, theirs = take_turns(lambda: 1 - Y, fails, Y, first=0, repeats=3, budget=100.0)
    assert len(calls) == 1
    assert theirs.failure == "ValueError: Input X contains NaN." and math.isnan(theirs.seconds)
    assert ours.accuracy == 0.0 and not ours.failure
    assert timed(lambda: np.stack([Y, 1 - Y]), Y).accuracy == 50.0


def test_means_leave_failures_out(tmp_path: Path) -> None:
    rows = [
        Row("fast", "a->b", Side(1.0, 50.0), Side(2.0, 40.0)),
        Row("fast", "b->a", Side(1.0, 70.0), Side(8.0, 60.0)),
        Row("slow", "a->b", Side(1.0, 50.0), Side(9.0, 50.0)),
        Row("broken", "a->b", Side(1.0, 50.0), Side(failure="ValueError: NaN")),
        Row("another problem", "a->b", Side(1.0, 50.0), Side(1000.0, 50.0), counted=False),
    ]
    text = summary(rows)
    assert "Slower than skada: none. Less accurate: none." in text
    assert "| fast | 2 | 2.00 | 10.00 | 4.0x | 60.00 | 50.00 |" in text
    assert "| broken | 1 | 1.00 | - | - | 50.00 | failed on 1 of 1 (ValueError: NaN) |" in text
    assert "finish: 6.0x." in text  # of 4 and 9; neither the failure nor what is another problem counts
    assert math.isnan(geometric_mean([float("nan")]))
    table, page = write(tmp_path, "shallow", rows, Machine({"skada": "0"}, "a machine"), "about")
    stored = list(csv.DictReader(table.open()))
    assert len(stored) == 5 and stored[1]["speedup"] == "8.00" and "| another problem * |" in text
    assert text in page.read_text()
    again = read(table)
    assert summary(again) == text and [r.theirs.failure for r in again] == [r.theirs.failure for r in rows]


def test_a_table_per_peer_and_kind_of_features_with_what_falls_behind() -> None:
    rows = [
        Row("a", "x->y", Side(1.0, 50.0), Side(4.0, 50.0), peer="skada", features="SURF"),
        Row("b", "x->y", Side(2.0, 40.0), Side(1.0, 60.0), peer="skada", features="SURF"),
        Row("b", "y->x", Side(1.0, 50.0), Side(failure="ValueError: no"), peer="skada", features="SURF"),
        Row("a", "x->y", Side(1.0, 50.0), Side(27.0, 50.0), peer="adapt", features="SURF"),
    ]
    text = summary(rows)
    assert "## SURF, skada" in text and "## SURF, adapt" in text
    assert "Slower than skada: b (0.50x). Less accurate: b (-20.00)." in text
    assert "Slower than adapt: none. Less accurate: none." in text
    assert "over all tables: 3.8x (3 rows)." in text  # the third root of 4 * 0.5 * 27


def test_runs_in_a_group_have_means_of_their_own(tmp_path: Path) -> None:
    rows = [
        Row("a", "x->y", Side(2.0, 50.0), Side(4.0, 50.0), features="SURF", grouped=1.0, library=0.25),
        Row("b", "x->y", Side(2.0, 50.0), Side(3.0, 50.0), features="SURF", grouped=3.0, library=0.5),
        Row("b", "y->x", Side(2.0, 50.0), Side(1.0, 50.0), features="SURF", grouped=3.0, library=0.9),
    ]
    text = summary(rows)
    assert "| b | 2 | 4.00 | 4.00 | 0.9x | 6.00 | 0.6x | 70 % | 50.00 | 50.00 |" in text
    assert "Slower than skada in a group: b (0.58x)." in text and "Slower than skada: b (0.87x)." in text
    assert "Speed-up in a group, geometric mean over the cases both sides finish: 1.5x." in text
    table, _ = write(tmp_path, "shallow", rows, Machine({}, ""), "about")
    assert read(table) == rows


def test_a_group_pays_for_a_shared_piece_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    whole = methods.distances_between
    monkeypatch.setattr(methods, "distances_between", lambda *a: made.append(1) or whole(*a))
    gen = torch.Generator().manual_seed(0)
    x, y = torch.randn(30, 4, generator=gen, dtype=torch.float64), torch.arange(30) % 3
    names = ("a", "b", "c")
    task = Task("toy", (Domain("s", x, y, names),), Domain("t", x[:20] + 1, y[:20], names))
    cases = [c for c in PEERS["skada"] if c.name in ("ot_emd", "ot_label_prop", "ot_sinkhorn_scaled")]
    shelves = (Domains(), Domains())
    assert set(in_a_group(cases, task, shelves)) == {c.name for c in cases}
    assert len(made) == 2  # one per repeat
    found = []
    monkeypatch.setattr(methods, "mean_and_covariance", lambda *a: found.append(1) or mean_and_covariance(*a))
    turned = dataclasses.replace(task, sources=(task.target,), target=task.sources[0])
    for pair in (task, turned):
        in_a_group([c for c in PEERS["skada"] if c.name == "sa"], pair, shelves)
    assert len(found) == 4  # two domains, one per repeat, for two pairs
    assert 0 < library_share(lambda: ours(cases[0], *prepared(cases[0], task)[:2])()) < 1


def test_weights_of_a_peer_have_mean_one() -> None:
    from sklearn.linear_model import RidgeClassifier

    gen = np.random.default_rng(0)
    x, y, w = gen.normal(size=(30, 4)), np.arange(30) % 3, gen.uniform(size=30)
    made = mean_one(RidgeClassifier)(alpha=2.0)
    expected = RidgeClassifier(alpha=2.0).fit(x, y, sample_weight=w / w.mean()).coef_
    assert np.allclose(made.fit(x, y, sample_weight=9 * w).coef_, expected)
    assert np.allclose(made.fit(x, y).coef_, RidgeClassifier(alpha=2.0).fit(x, y).coef_)


@pytest.mark.parametrize("peer", PEERS)
def test_cases_name_methods_with_valid_settings(peer: str) -> None:
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(30, 4, generator=gen, dtype=torch.float64)
    y = torch.arange(30) % 3
    pair = pair_of(Seen(Labeled(x, y, torch.zeros_like(y)), Unlabeled(x[:20] + 1), None, 3, "vector", UNSUPERVISED))
    assert isinstance(pair, Pair) and pair.width > 0 and pair.top > 0 and len(pair.fx) == 0
    cases = PEERS[peer]
    assert len({c.name for c in cases}) == len(cases) >= (9 if peer == "POT" else 15)  # POT has nine classes
    for case in cases:
        method = create_method(case.method, **case.hparams(pair))
        assert case.setting in method.settings
        classifier(case.classifier)
        assert set(case.features) <= set(FEATURES)


def test_skada_predicts_classes_of_the_target() -> None:
    pytest.importorskip("skada", reason="needs the extra 'peers'")
    gen = np.random.default_rng(0)
    xs, ys = gen.normal(size=(40, 3)) + 9 * (np.arange(40) % 2)[:, None], np.arange(40) % 2
    pair = Pair(xs, ys, xs[:10] + 0.1, np.empty((0, 3)), np.empty(0, dtype=np.int64), 1.0, 1.0, 1.0)
    (case,) = [c for c in PEERS["skada"] if c.name == "source_only"]
    assert np.array_equal(case.peer(pair), ys[:10])
