"""The comparison with other libraries: taking turns, failures as results, and means that leave failures out."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("benchmarks.peers", reason="needs the repository's root on the path")

from benchmarks.peers.measure import Machine, Row, Side, take_turns, timed
from benchmarks.peers.tables import geometric_mean, summary, write

Y = np.array([0, 1, 1, 0])


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
        Row("these 2 in a row, sharing", "a->b", Side(1.0, 50.0), Side(1000.0, 50.0)),
    ]
    text = summary(rows)
    assert "| fast | 2 | 2.00 | 10.00 | 4.0x | 60.00 | 50.00 |" in text
    assert "| broken | 1 | 1.00 | - | - | 50.00 | failed on 1 of 1 (ValueError: NaN) |" in text
    assert "finish: 6.0x." in text  # of 4 and 9; neither the failure nor the sum counts
    assert math.isnan(geometric_mean([float("nan")]))
    table, page = write(tmp_path, "shallow", rows, Machine({"skada": "0"}, "a machine"), "about")
    stored = list(csv.DictReader(table.open()))
    assert len(stored) == 5 and stored[1]["speedup"] == "8.00"
    assert text in page.read_text()
