"""The benchmark of ``dazoo adapt``: its tables say what its lines hold."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.adapt_rule import covered, elsewhere, member, regret, rule, spread_elsewhere, summary, worse


def line(name: str, accuracies: list[float], clusters: list[float], chosen: int, **fields: Any) -> dict[str, Any]:
    """A pair with 400 target rows."""
    candidates = [
        {
            "name": str(k),
            "accuracy": a,
            "veto": "",
            "scores": {"clusters": c, "corr_c": c, "consensus": c},
            "seconds": 1.0,
        }
        for k, (a, c) in enumerate(zip(accuracies, clusters))
    ]
    return {
        "set": name, "task": f"{name}/a->b", "target": 400, "a_distance": 2.0, "chosen": chosen, "holds": {},
        "candidates": candidates, "expected": 0.8, "low": 0.5, "high": 1.0, "ece": 0.1, "cpu_seconds": 3.0, **fields,
    }  # fmt: skip


def test_regret_and_what_is_worse() -> None:
    row = line("x", [0.7, 0.6, 0.9], [0.3, 0.5, 0.4], 1)
    assert regret(row, 1) == pytest.approx(30) and worse(row, 1) and not worse(row, 2) and not worse(row, 0)
    assert not worse(line("x", [0.7, 0.68], [0.1, 0.2], 1), 1)  # within two standard errors


def test_the_rule_of_the_benchmark_is_that_of_adapt() -> None:
    row = line("x", [0.7, 0.6, 0.9], [0.3, 0.5, 0.4], 1)
    assert rule(0.02, 0.1, 0.25)(row) == 1 and rule(0.3, 0.1, 0.25)(row) == 0 and rule(0.0, 0.6, 0.25)(row) == 0
    assert member("clusters")(row) == 1
    row["candidates"][1]["veto"] = "collapsed"
    assert rule(0.02, 0.1, 0.25)(row) == 2 and member("clusters")(row) == 2


def test_constants_of_a_data_set_are_chosen_on_the_others() -> None:
    timid = [line("timid", [0.8, 0.5], [0.3, 0.33], 0)]  # a lead of 0.03 is a mistake there
    bold = [line("bold", [0.5, 0.8], [0.3, 0.33], 1)]
    found = elsewhere({"timid": timid, "bold": bold})
    assert found["bold"][0] == 0.05 and found["timid"][0] < 0.03


def test_intervals_and_the_page() -> None:
    near = line("near", [0.8], [0.5], 0)
    far = line("far", [0.2], [0.5], 0, expected=0.9, low=0.6, high=1.0)
    assert covered(near) and not covered(far)
    found = spread_elsewhere({"near": [near], "far": [far]})
    assert found["near"] > 0.5 > found["far"]
    page = summary([near, far], "made by hand")
    assert "| far | 1 | 20.0 | 20.0 |" in page and "0 of 1" in page and "made by hand" in page
