"""Transforms of both domains in a suite, and what records and diagnoses say of features in unlike units."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import dazoo
from dazoo import Task
from dazoo.core.errors import DazooWarning
from dazoo.data.scales import judge, scales_of
from dazoo.data.transform import OF_TASK, apply_to_task

RNG = np.random.default_rng(0)
FACTOR = np.array([1e6, 1.0, 1.0])
Y = np.arange(60) % 2
XS = RNG.normal(size=(60, 3)) + 2 * Y[:, None]
XT = RNG.normal(size=(60, 3)) + 2 * Y[:, None] + 0.3


@pytest.mark.parametrize("name", OF_TASK)
def test_maps_of_both_domains_follow_units_and_bear_extremes(name: str) -> None:
    plain, _ = apply_to_task(Task.from_arrays(XS, Y, XT, xt_test=XT[:5]), name)
    moved, fitted = apply_to_task(
        Task.from_arrays(XS * FACTOR + 5, Y, XT * FACTOR + 5, xt_test=XT[:5] * FACTOR + 5), name
    )
    for a, b in zip(
        (*plain.sources, plain.target, plain.target.test), (*moved.sources, moved.target, moved.target.test)
    ):
        assert torch.allclose(a.x, b.x, atol=1e-6)
    assert torch.equal(fitted.of_target(torch.from_numpy(XT * FACTOR + 5)), moved.target.x)
    for extreme in (XS * 1e150, XS * 1e-150, XS * 0 + 3):
        done, _ = apply_to_task(Task.from_arrays(extreme, Y, extreme), name)
        assert bool(torch.isfinite(done.target.x).all())


def test_held_out_target_rows_play_no_part() -> None:
    x = XT.copy()
    task = Task.from_arrays(XS, Y, x, target_holdout=0.3)
    shown = {tuple(r) for r in task.seen().target.x.tolist()}
    x[[tuple(r) not in shown for r in x.tolist()]] += 50
    _, a = apply_to_task(task, "zscore_pooled")
    _, b = apply_to_task(Task.from_arrays(XS, Y, x, target_holdout=0.3), "zscore_pooled")
    assert torch.equal(a.target[0].shift, b.target[0].shift)


def test_comparable_features_are_no_matter_of_units() -> None:
    xs, xt = torch.from_numpy(XS), torch.from_numpy(XT)
    counts = torch.poisson(torch.full((60, 40), 0.05, dtype=torch.float64), torch.Generator().manual_seed(0))
    constant = torch.full((60, 1), 7.0, dtype=torch.float64)
    for extra in (counts, constant):
        assert judge(torch.cat([xs, extra], 1), torch.cat([xt, extra], 1)).all == ()
    for factor, size in ((1e-150, "tiny"), (1e150, "huge")):  # one common unit, and nothing else
        (said,) = judge(xs * factor, xt * factor).all
        assert said.startswith(f"all columns are {size}")
    assert (
        "spread" in judge(xs, xt * 1e4).apart[0]
        and "differ in scale" in judge(xs * torch.from_numpy(FACTOR), xt * torch.from_numpy(FACTOR)).units[0]
    )


def test_suites_know_them_and_records_warn(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", one_x=XS * FACTOR, one_y=Y, two_x=XT * FACTOR, two_y=Y)
    found = {}
    for transform in ("[]", "[zscore_source]", "[zscore_pooled, unit_norm]"):
        suite = tmp_path / "s.yaml"
        suite.write_text(
            f"name: s\ndataset: {{name: npz, path: {tmp_path / 'a.npz'}}}\ntasks: [one->two]\nmethods: [source_only]\n"
            f"classifier: logistic\nseeds: 1\ntransform: {transform}\n"
        )
        folder = dazoo.run_suite(suite, out=tmp_path / str(len(found)))
        lines = [json.loads(x) for f in (folder / "records").glob("*.jsonl") for x in f.read_text().splitlines()]
        assert len(lines) == 1
        found[transform] = json.dumps(lines[0].get("warnings", lines[0])), lines[0]
    assert "differ in scale" in found["[]"][0]
    assert all("differ in scale" not in found[t][0] for t in list(found)[1:])


def test_diagnose_says_so() -> None:
    notes = dazoo.diagnose(Task.from_arrays(XS * FACTOR, Y, XT * FACTOR), limit=60).notes
    assert any("differ in scale" in n for n in notes)


@pytest.mark.parametrize("method", ["coral", "kmm", "ot_sinkhorn"])
@pytest.mark.parametrize("unit", [1e-12, 1e-3, 1e4, 1e12])
def test_fit_does_not_depend_on_the_common_unit(method: str, unit: float) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    xs, xt = rng.normal(size=(40, 3)) + 3 * y[:, None], rng.normal(size=(40, 3)) + 3 * y[:, None] + 0.5
    with pytest.warns(DazooWarning, match="all columns are (tiny|huge).*standardised"):
        model = dazoo.fit(method, Task.from_arrays(unit * xs, y, unit * xt))
    assert (model.predict(unit * xt).labels.numpy() == y).mean() > 0.9


@pytest.mark.parametrize("rows", ["pixels", "length one", "counts"])
def test_usual_units_are_left_as_they_are(rows: str) -> None:
    rng = np.random.default_rng(0)
    x = {
        "pixels": rng.integers(0, 256, size=(40, 30)),
        "length one": (lambda v: v / np.linalg.norm(v, axis=1, keepdims=True))(rng.normal(size=(40, 500))),
        "counts": rng.poisson(0.05, size=(40, 200)),
    }[rows]
    assert scales_of(Task.from_arrays(x, np.arange(40) % 2, x[::-1]).seen()).units == ()
