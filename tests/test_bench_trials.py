"""Draws of hyper-parameters."""

from __future__ import annotations

from dataclasses import make_dataclass

import numpy as np
import pytest

from dazoo.bench.plan.trials import SAMPLERS, positions, settings
from dazoo.core.hparam import hp

NARROW = make_dataclass("Narrow", [("rate", float, hp(0.1, 1e-3, 1.0, log=True))])
WIDE = make_dataclass(
    "Wide",
    [
        ("extra", float, hp(0.5, 0.0, 1.0)),
        ("rate", float, hp(0.1, 1e-3, 1.0, log=True)),
        ("depth", int, hp(3, 1, 9)),
        ("kind", str, hp("a", choices=("a", "b", "c"))),
        ("fixed", float, hp(2.0)),
    ],
)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_new_field_leaves_the_draws_of_the_others(sampler: str) -> None:
    narrow, wide = settings(NARROW, 9, sampler), settings(WIDE, 9, sampler)
    assert narrow[0] == {} and wide[0] == {}
    assert [r["rate"] for r in narrow[1:]] == [r["rate"] for r in wide[1:]]
    assert settings(WIDE, 9, sampler) == wide


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_draws_lie_in_their_ranges_and_vary(sampler: str) -> None:
    rows = settings(WIDE, 40, sampler)[1:]
    assert all(set(r) == {"extra", "rate", "depth", "kind"} for r in rows)
    assert all(1e-3 <= r["rate"] <= 1.0 and 1 <= r["depth"] <= 9 and 0 <= r["extra"] <= 1 for r in rows)
    assert {r["kind"] for r in rows} == {"a", "b", "c"}
    assert len({r["rate"] for r in rows}) == 39 and len({r["depth"] for r in rows}) > 5


def test_more_random_trials_keep_the_earlier_ones() -> None:
    assert settings(WIDE, 12)[:5] == settings(WIDE, 5)


def test_quasi_random_draws_cover_a_range_evenly_and_do_not_move_in_step() -> None:
    """Sixteen points of a Sobol sequence: one in each sixteenth of the range, up to what skipping the first costs."""
    a, b = (np.array(positions(n, 16, "quasi_random")) for n in ("one", "two"))
    for p in (a, b):
        assert len(set((p * 16).astype(int))) >= 12
        assert abs(p.mean() - 0.5) < 0.06
    pairs = [np.array(positions(f"field{i}", 32, "quasi_random")) for i in range(8)]
    close = np.abs(np.corrcoef(pairs)[np.triu_indices(8, 1)])
    assert close.mean() < 0.3


def test_random_draws_are_those_of_optuna() -> None:
    p = np.array([positions(f"name{i}", 50, "random") for i in range(20)])
    assert 0.45 < p.mean() < 0.55 and abs(np.corrcoef(p)[np.triu_indices(20, 1)].mean()) < 0.05
