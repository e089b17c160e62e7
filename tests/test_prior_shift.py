"""Targets of stated class shares: exact, drawn with the task's seed, nothing doubled; and what follows for a run."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import dazoo
from dazoo.bench.execute.evaluate import priors
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.bench.records.store import Damage, records
from dazoo.bench.suite_run import run_suite
from dazoo.core.errors import DazooError
from dazoo.core.setting import Setting
from dazoo.core.types import Prediction
from dazoo.data.prior_shift import PriorShift, counts_of, with_prior
from dazoo.data.registry import load_task
from dazoo.data.task import Task
from dazoo.validators.base import admission


def task(prior, **options):
    return load_task("digits/upright->rotated", prior=prior, **options)


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        ({"kind": "tweak_one", "share": 0.5, "of": "3"}, [0.5 if c == 3 else 0.5 / 9 for c in range(10)]),
        ({"kind": "given", "shares": [2, 1, 1, 0, 0, 0, 0, 0, 0, 0]}, [0.5, 0.25, 0.25, *[0.0] * 7]),
    ],
)
def test_shares_are_those_stated_up_to_a_sample(prior, expected):
    hidden = task(prior).hidden()
    assert hidden.prior.numpy() == pytest.approx(np.array(expected), abs=1 / len(hidden.y))
    assert torch.equal(hidden.prior, torch.bincount(hidden.y, minlength=10).double() / len(hidden.y))


def test_knock_out_takes_samples_of_one_class_alone():
    whole, less = load_task("digits/upright->rotated").hidden().y, task({"kind": "knock_out", "of": "7"}).hidden().y
    before, after = (torch.bincount(y, minlength=10) for y in (whole, less))
    assert int(after[7]) == round(0.2 * int(before[7]))
    assert torch.equal(after[torch.arange(10) != 7], before[torch.arange(10) != 7])


def test_the_seed_of_the_task_draws_shares_and_samples():
    one, same, other = (task("dirichlet", seed=s).hidden() for s in (0, 0, 1))
    assert torch.equal(one.x, same.x) and torch.equal(one.y, same.y)
    assert not torch.allclose(one.prior, other.prior, atol=0.02)
    rows = {tuple(r) for r in one.x.flatten(1).tolist()}
    assert len(rows) == len(
        {tuple(r) for r in load_task("digits/upright->rotated").hidden().x.flatten(1).tolist()} & rows
    )


def test_as_many_samples_as_the_shares_allow_and_no_more_than_asked_for():
    natural = np.array([40, 60, 10])
    assert counts_of(np.array([0.5, 0.5, 0.0]), natural, None).tolist() == [40, 40, 0]
    assert counts_of(np.array([0.1, 0.1, 0.8]), natural, None).sum() == 12
    assert counts_of(np.full(3, 1 / 3), natural, 10).tolist() == [4, 3, 3]
    assert counts_of(natural / natural.sum(), natural, None).tolist() == natural.tolist()
    assert len(task({"kind": "dirichlet", "size": 50}).target) == 50


def test_the_test_part_has_the_same_shares():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 3)), np.arange(90) % 3
    made = with_prior(Task.from_arrays(x, y, x, y, xt_test=x + 1, yt_test=y), {"kind": "given", "shares": [3, 1, 0]})
    assert made.setting == Setting.of("label_shift")
    assert made.hidden().prior.tolist() == [0.75, 0.25, 0.0] and len(made.seen().target) == 40


@pytest.mark.parametrize(
    ("prior", "said"),
    [
        ("dirichlett", "dirichlet"),
        ({"kind": "dirichlet", "alpa": 1}, "alpha"),
        ({"kind": "dirichlet", "alpha": -1}, "alpha"),
        ({"alpha": 1}, "prior is"),
        ({"kind": "tweak_one", "share": 2}, "share"),
        ({"kind": "tweak_one", "of": "thirteen"}, "no class"),
        ({"kind": "given"}, "goes with"),
        ({"kind": "given", "shares": [1, 2]}, "10 classes"),
        ({"kind": "given", "shares": [0] * 10}, "not all 0"),
        ({"kind": "knock_out", "size": 1}, "size"),
    ],
)
def test_mistakes_are_named(prior, said):
    with pytest.raises(DazooError, match=said):
        task(prior)


def test_what_cannot_be_shifted_is_refused():
    with pytest.raises(DazooError, match="leave one of them out"):
        task("dirichlet", classes="open")
    x = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(DazooError, match="not every sample has a class label"):
        with_prior(Task.from_arrays(x, np.arange(20) % 2, x), "dirichlet")
    lacking = Task.from_arrays(x, np.arange(20) % 2, x, np.zeros(20, int))
    with pytest.raises(DazooError, match="of which the target has none"):
        with_prior(lacking, {"kind": "given", "shares": [1, 1]})


def test_options_survive_as_plain_data():
    for prior in ("dirichlet", {"kind": "given", "shares": [1, 2]}, {"kind": "tweak_one", "share": 0.5, "of": "a"}):
        shift = PriorShift.of_option(prior)
        assert PriorShift.of_option(shift.to_json()) == shift


def test_a_suite_under_label_shift_draws_by_seed_and_chooses_nothing_that_wants_equal_shares():
    given = {"methods": ["source_only", "coral"], "tasks": ["upright->rotated"], "classifier": "logistic", "seeds": 2}
    plain, shifted = ({"name": "digits", **more} for more in ({}, {"prior": {"kind": "dirichlet", "alpha": 1}}))
    plans = [make_plan(Suite.of({"name": "s", "dataset": d, "source_holdout": 0.0, **given})) for d in (plain, shifted)]
    assert "prior" not in plans[0].specs[0].protocol.plain
    assert {s.setting for s in plans[1].specs} == {"label_shift"}
    assert len({s.data_key for s in plans[0].specs}) == 1 and len({s.data_key for s in plans[1].specs}) == 2
    assert Suite.of({"name": "s", "dataset": shifted, **given}).select_by == "last"
    able = admission(Setting.of("label_shift")).able
    assert not set(able) & {"info_max", "diversity", "bnm", "corr_c", "class_cluster"} and "info_max_prior" in able


def test_every_closed_set_method_runs_and_says_shares():
    made = task({"kind": "tweak_one", "share": 0.4, "of": "0"}, seed=3)
    model = dazoo.fit("source_only", made, classifier="logistic", transform=None)
    found = dazoo.evaluate(model, made)
    y, said = made.hidden().y, model.predict(made.hidden().x).labels
    counted = (torch.bincount(said, minlength=10) - torch.bincount(y, minlength=10)).abs().double().mean() / len(y)
    assert found["prior_mae"] == pytest.approx(float(counted)) and set(found) >= {"accuracy", "prior_rae", "prior_kld"}
    known = priors(made, Prediction(torch.zeros(1, 10), prior=torch.full((10,), 0.1)))
    assert known["exact"]["0"] == pytest.approx(0.4, abs=1e-2) and known["estimated"]["0"] == pytest.approx(0.1)


def test_shares_concern_all_samples_together():
    out = Prediction(torch.zeros(4, 2), prior=torch.tensor([0.3, 0.7]), classes=("no", "yes"))
    assert len(out.rows(slice(0)).scores) == 0 and out.rows(torch.tensor([1])).prior.tolist() == out.prior.tolist()
    assert out.shares == {"no": pytest.approx(0.3), "yes": pytest.approx(0.7)}
    assert Prediction(torch.zeros(4, 2)).shares == {}


def test_records_hold_exact_and_estimated_shares(tmp_path):
    suite = {
        "name": "s", "dataset": {"name": "shifts", "n": 60, "prior": {"kind": "given", "shares": [0.25, 0.75]}},
        "tasks": ["label_source->label_target"], "methods": ["source_only", "acc"], "classifier": "logistic",
        "transform": "zscore_within", "seeds": 1,
    }  # fmt: skip
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps(suite))
    folder = run_suite(path, out=tmp_path / "out").folder
    found = {r["spec"]["method"]: r for r in records(folder, Damage())}
    task = load_task("shifts/label_source->label_target", n=60, prior={"kind": "given", "shares": [0.25, 0.75]})
    exact = dict(zip(task.classes, task.hidden().prior.tolist()))
    assert all(r["status"] == "ok" and r["info"]["prior"]["exact"] == exact for r in found.values())
    shares = found["acc"]["info"]["prior"]["estimated"]
    assert "estimated" not in found["source_only"]["info"]["prior"] and sum(shares.values()) == pytest.approx(1)
    errors = found["acc"]["checkpoints"][-1]["target"]
    assert errors["prior_mae"] == pytest.approx(abs(shares["positive"] - exact["positive"]), abs=1e-6)
