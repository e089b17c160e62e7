"""Active adaptation: a counted door to hidden labels, rounds as checkpoints, and which samples strategies ask for."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

import dazoo
from dazoo.bench.execute.evaluate import evaluate
from dazoo.bench.metrics.formulas import normalised_area
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.bench.records.store import Damage, records
from dazoo.bench.report import asked_curves
from dazoo.bench.report.canvas import Line, Word
from dazoo.bench.report.model import load_report
from dazoo.bench.suite_run import run_suite
from dazoo.contracts.asking import watched
from dazoo.contracts.toys import fit_toy, options_for, toy_task
from dazoo.core.ask import Ask, portions
from dazoo.core.errors import DazooError
from dazoo.core.types import Labeled
from dazoo.engine.fit import fit
from dazoo.methods.base import METHODS, create_method
from dazoo.ops import active
from dazoo.validators.base import VALIDATORS, Evidence, admission

ASKING = [n for n, cls in METHODS.items() if "query" in cls.handles.marked]
GEN = torch.Generator()


def door(n: int = 10, budget: int = 6, **more: object) -> Ask:
    return Ask(lambda rows: 100 + rows, torch.arange(n), budget, **more)


def some(m: int = 40, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features (m, 3) and scores (m, 4)."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(m, 3, generator=rng), 2 * torch.randn(m, 4, generator=rng)


# -- the door ---------------------------------------------------------------------------------------------------------


def test_a_door_counts_its_budget_and_writes_down_what_was_asked() -> None:
    ask = door()
    assert ask(torch.tensor([3, 1])).tolist() == [103, 101] and ask(torch.tensor([9])).tolist() == [109]
    assert ask.asked.tolist() == [3, 1, 9] and ask.left == 3 and ask.open.tolist() == [0, 2, 4, 5, 6, 7, 8]
    with pytest.raises(DazooError, match="4 labels are asked for, but only 3 of the budget of 6 are left"):
        ask(torch.tensor([0, 2, 4, 5]))
    with pytest.raises(DazooError, match=r"rows \[3\] are asked for twice"):
        ask(torch.tensor([0, 3]))
    with pytest.raises(DazooError, match=r"rows \[2\] are asked for twice"):
        ask(torch.tensor([2, 2]))
    with pytest.raises(DazooError, match=r"nobody can say the labels of the target rows \[10\]"):
        ask(torch.tensor([10]))
    assert ask.left == 3, "a question that is refused costs nothing"
    assert ask.opened().left == 6 and door(3, 6).budget == 3


def test_portions_are_even_and_begin_before_training() -> None:
    assert portions(door(rounds=3), 30) == {0: 2, 10: 2, 20: 2}
    assert portions(door(budget=5, rounds=3), 30) == {0: 1, 10: 2, 20: 2}
    assert portions(door(budget=2, rounds=5), 30) == {0: 1, 15: 1}, "no round without a question"
    assert portions(door(rounds=5), 2) == {0: 3, 1: 3}


def test_a_task_shows_the_door_and_no_label() -> None:
    task = dazoo.load_task("digits/upright->rotated", setting="active", budget=0.1)
    seen, n = task.seen(), len(task.target)
    assert seen.few is None and seen.ask.budget == round(0.1 * n) and torch.equal(seen.ask.rows, torch.arange(n))
    rows = torch.tensor([5, 2])
    assert torch.equal(seen.ask(rows), task.target.y[rows]) and task.seen().ask.left == seen.ask.budget
    left = task.hidden(rows)
    assert len(left.y) == n - 2 and torch.equal(left.x[2], task.target.x[3])
    half = task.change(curve=True, budget=1.0)
    oracle = half.change(setting="oracle")
    rows = half.seen().ask.rows
    assert torch.equal(half.target.x[rows], oracle.seen().few.x), "the full budget are the oracle's labels"
    assert torch.equal(half.hidden(rows).x, oracle.hidden().x), "and both are tested on the other half"
    for bad in ({"budget": 0.0}, {"budget": 2}, {"ask_rounds": 0}, {"asked_holdout": 1.0}):
        with pytest.raises(DazooError, match=next(iter(bad))):
            task.change(**bad)
    blank = dataclasses.replace(task.target, y=None)
    with pytest.raises(DazooError, match="needs target samples whose labels can be asked for"):
        task.change(target=blank).seen()


# -- rounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ASKING)
def test_the_full_budget_at_once_is_training_with_all_labels(name: str) -> None:
    task = toy_task("active").change(budget=1.0, ask_rounds=1)
    seen, cls = task.seen(), METHODS.get(name)
    y = task.target.y
    told = dataclasses.replace(seen, ask=None, few=Labeled(seen.target.x, y, torch.zeros_like(y)))
    asked, given = (fit(create_method(name), s, options=options_for(cls)).predictor.state for s in (seen, told))
    assert all(torch.equal(v, given[k]) for k, v in asked.items())


def test_rounds_are_checkpoints_and_what_was_asked_is_not_tested() -> None:
    task, points = toy_task("active"), []
    made = fit(
        create_method("active_entropy"), task.seen(), options=options_for(METHODS.get("active_entropy")),
        on_checkpoint=points.append,
    )  # fmt: skip
    assert [p.step for p in points] == [0, 4, 8, 12] and [len(p.seen.asked) for p in points] == [0, 6, 12, 18]
    assert made.info["asked"]["rows"] == points[-1].seen.asked.tolist() and made.info["asked"]["rounds"] == [6, 6, 6]
    last = points[-1]
    assert torch.equal(last.seen.few.y, task.target.y[last.seen.asked]) and last.seen.ask is None
    rest = torch.ones(60, dtype=torch.bool)
    rest[last.seen.asked] = False
    right = (last.predictor.predict(task.target.x[rest]).labels == task.target.y[rest]).double().mean()
    assert evaluate(task, last.predictor, asked=last.seen.asked)["accuracy"] == pytest.approx(float(right))


def test_answers_are_held_out_for_validators_and_nothing_else_may_choose() -> None:
    task, points = toy_task("active").change(asked_holdout=0.25), []
    options = options_for(METHODS.get("badge"))
    fit(create_method("badge"), task.seen(), options=options, on_checkpoint=points.append)
    assert [0 if p.seen.few is None else len(p.seen.few) for p in points] == [0, 4, 9, 14]
    assert [p.seen.few_val for p in points[:3]] == [None] * 3 and len(points[3].seen.few_val) == 4
    together = torch.cat([points[3].seen.few.x, points[3].seen.few_val.x])
    assert len(torch.unique(together, dim=0)) == 18
    held, rule = points[3].seen.few_val, VALIDATORS.get("asked_validation")
    right = (points[3].predictor.predict(held.x).labels == held.y).double().mean()
    assert rule(Evidence(points[3].predictor, points[3].seen)) == pytest.approx(float(right))
    assert rule(Evidence(points[1].predictor, points[1].seen)) is None
    assert admission(task.setting).able == ("asked_validation",)
    assert "asked_validation" not in admission(task.setting.change(marked="none")).able
    assert dazoo.fit("badge", task, recipe=options.recipe, select_by="asked_validation").report.settings["select_by"]
    with pytest.raises(DazooError, match=r"'info_max' knows no label of the target.*take one of asked_validation"):
        dazoo.fit("badge", task, recipe=options.recipe, select_by="info_max")


def test_fit_asks_and_evaluate_leaves_out_what_was_shown() -> None:
    task = toy_task()
    recipe = options_for(METHODS.get("badge")).recipe
    with pytest.warns(dazoo.DazooWarning, match="it asks for up to 18 target labels, which evaluate leaves out"):
        model = dazoo.fit("badge", task, recipe=recipe)
    asked = torch.tensor(model.report.info["asked"]["rows"])
    assert len(model.shown) == 18 and bool(model.seen_with_label(task.target.x[asked]).all())
    rest = torch.ones(60, dtype=torch.bool)
    rest[asked] = False
    right = (model.predict(task.target.x[rest]).labels == task.target.y[rest]).double().mean()
    assert dazoo.evaluate(model, task)["accuracy"] == pytest.approx(float(right))


def test_a_strategy_that_picks_wrongly_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METHODS.get("active_random"), "pick", lambda self, net, look, rows, n, gen: rows[[0] * n])
    with pytest.raises(DazooError, match="pick of 'active_random' must return 6 different rows"):
        fit_toy(METHODS.get("active_random"))


def test_labels_that_were_given_cost_nothing() -> None:
    task = toy_task("active")
    given = task.change(target=dataclasses.replace(task.target, few=torch.tensor([4, 7])))
    seen, looked = watched(given.seen())
    points: list[object] = []
    fit(
        create_method("active_margin"),
        seen,
        options=options_for(METHODS.get("active_margin")),
        on_checkpoint=points.append,
    )
    assert len(looked) == 18 and not {4, 7} & set(looked) and len(points[-1].seen.few) == 20


# -- strategies -------------------------------------------------------------------------------------------------------


def test_uncertain_rows_equal_transcriptions() -> None:
    features, scores = some()
    p = scores.double().softmax(1).numpy()
    h = -(p * np.log(p)).sum(1)
    two = np.sort(p, axis=1)[:, -2:]
    d = features[:, 0]
    source = 1 / (1 + np.exp(-d.double().numpy()))
    energy = -np.log(np.exp(scores.double().numpy()).sum(1))
    logits = np.sort(scores.double().numpy(), axis=1)
    odd = np.argsort(-energy)[:20]
    expected = {
        "entropy": np.argsort(-h)[:7],
        "margin": np.argsort(two[:, 1] - two[:, 0])[:7],
        "aada": np.argsort(-(1 - source) / source * h)[:7],
        "eada": odd[np.argsort(logits[odd, -1] - logits[odd, -2])[:7]],
    }
    found = {
        "entropy": active.highest(active.clue_weights(scores.double(), 1.0), 7),
        "margin": active.highest(-active.margin(scores), 7),
        "aada": active.highest(active.aada(scores, d), 7),
        "eada": active.eada(scores, 7, 0.5, 40),
    }
    assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in expected.items()}
    alike = active.highest(torch.zeros(5), 3)
    assert alike.tolist() == [0, 1, 2]


def test_k_centre_covers_at_most_twice_as_badly_as_the_best_set() -> None:
    x, _ = some(12)
    chosen = active.k_centre(x, x[:0], 3)
    away = torch.cdist(x.double(), x.double())
    radius = {rows: float(away[:, list(rows)].amin(1).max()) for rows in combinations(range(12), 3)}
    assert radius[tuple(sorted(chosen.tolist()))] <= 2 * min(radius.values())
    further = active.k_centre(x, x[chosen], 1)
    assert int(further) == int(away[:, chosen].amin(1).argmax())
    copies = active.k_centre(torch.ones(4, 2), torch.ones(1, 2), 4)
    assert sorted(copies.tolist()) == [0, 1, 2, 3]


def test_badge_draws_by_the_distance_of_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    features, scores = some()
    p = scores.double().softmax(1)
    g = torch.einsum("ic,id->icd", p - torch.eye(4)[p.argmax(1)], features.double()).flatten(1)
    weights: list[Tensor] = []
    draw = torch.multinomial
    monkeypatch.setattr(
        torch, "multinomial", lambda w, n, generator: weights.append(w) or draw(w, n, generator=generator)
    )
    chosen = active.badge(scores, features, 5, GEN.manual_seed(0))
    assert int(chosen[0]) == int(g.norm(dim=1).argmax()) and len(set(chosen.tolist())) == 5
    for i, w in enumerate(weights):
        torch.testing.assert_close(w, torch.cdist(g, g[chosen[: i + 1]]).amin(1).square(), rtol=1e-6, atol=1e-6)
    flat = active.badge(torch.zeros(4, 2), torch.ones(4, 3), 4, GEN)
    assert sorted(flat.tolist()) == [0, 1, 2, 3]


def test_clue_asks_one_of_each_uncertain_cluster() -> None:
    rng = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    features = centres.repeat_interleave(10, 0) + 0.1 * torch.randn(40, 2, generator=rng)
    scores = torch.zeros(40, 3)
    scores[30:, 0] = 60.0  # sure of the last cluster: it weighs nothing
    chosen = active.clue(scores, features, 3, 1.0, GEN.manual_seed(1))
    assert sorted((chosen // 10).tolist()) == [0, 1, 2]
    copies = active.clue(scores[:4], torch.ones(4, 2), 3, 1.0, GEN)
    assert len(set(copies.tolist())) == 3
    q = (scores / 0.1).double().softmax(1) + 1e-8
    torch.testing.assert_close(active.clue_weights(scores.double(), 0.1), -(q * q.log()).sum(1))


def test_energies_are_aligned_from_above_only() -> None:
    _, s = some(10)
    _, t = some(10, seed=1)
    t.requires_grad_(True)
    s.requires_grad_(True)
    value = active.energy_alignment(s, t)
    bound = (-s.exp().sum(1).log()).mean()
    torch.testing.assert_close(value, (-t.exp().sum(1).log() - bound).clamp(min=0).mean())
    value.backward()
    assert s.grad is None and bool((t.grad.abs().sum(1) > 0).eq(-t.exp().sum(1).log() > bound).all())


# -- suites -----------------------------------------------------------------------------------------------------------


def suite(**more: object) -> Suite:
    return Suite.of(
        {"name": "ask", "dataset": "digits", "tasks": "upright->rotated", "setting": "active", "curve": True,
         "methods": ["source_only", "target_oracle", "active_margin"], "recipe": {"name": "digits", "steps": 9},
         "backbone": "mlp", "budget": 0.1, "ask_rounds": 3, "validators": [], "seeds": 1, "keep": "0", **more}
    )  # fmt: skip


def test_a_suite_records_rounds_rows_and_the_area_under_the_curve(tmp_path) -> None:
    run_suite(suite(), out=tmp_path)
    found = {r["spec"]["label"]: r for r in records(tmp_path, Damage())}
    asked = found["active_margin"]
    n = len(dazoo.load_task("digits/upright->rotated").target)
    assert len(asked["info"]["asked"]["rows"]) == round(0.1 * n) and sum(asked["info"]["asked"]["rounds"]) == round(
        0.1 * n
    )
    target = [p["target"] for p in asked["checkpoints"]]
    at, values = [t["labels_asked"] for t in target], [t["accuracy"] for t in target]
    assert at[0] == 0 and at[-1] == round(0.1 * n) and len(at) == 4
    assert target[-1]["label_area"] == pytest.approx(float(np.trapezoid(values, at)) / at[-1])
    assert values[0] == found["source_only"]["checkpoints"][-1]["target"]["accuracy"], "no label yet: the source model"
    assert {k: r["spec"]["setting"] for k, r in found.items()} == {
        "source_only": "unsupervised", "target_oracle": "oracle", "active_margin": "active",
    }  # fmt: skip
    assert "asking" in asked["spec"]["protocol"]

    made = load_report(tmp_path)
    (panel,) = asked_curves.asked(made)
    assert panel.series == {"active_margin": [(a / at[-1], v) for a, v in zip(at, values)]}
    assert panel.levels == {
        k: made.board.cells[k, "digits/upright->rotated"].mean for k in ("source_only", "target_oracle")
    }
    drawing = asked_curves.figure(made)
    assert sum(isinstance(p, Line) and p.kind == "data" for p in drawing.parts) == len(at) - 1
    assert {"active_margin", "source_only", "100"} <= {p.text for p in drawing.parts if isinstance(p, Word)}
    assert "label area" in (tmp_path / "leaderboard.md").read_text()
    assert drawing.svg() in (tmp_path / "leaderboard.html").read_text()


def test_suites_that_ask_nothing_keep_their_keys_and_those_that_ask_choose_nothing() -> None:
    assert suite().select_by == "last"
    plain = make_plan(suite(setting="auto")).specs[0]
    assert "asking" not in plain.to_json()["protocol"]
    assert plain.key == make_plan(suite(setting="auto", budget=0.5, ask_rounds=2)).specs[0].key
    assert {s.key for s in make_plan(suite()).specs}.isdisjoint(s.key for s in make_plan(suite(budget=0.5)).specs)
    every = make_plan(suite(setting="auto", validators="*")).specs[0].protocol.validators
    assert (
        "asked_validation" not in every
        and "asked_validation" in make_plan(suite(validators="*")).specs[0].protocol.validators
    )
    assert make_plan(suite(select_by="asked_validation", asked_holdout=0.2)).specs
    with pytest.raises(
        DazooError, match=r"'entropy' knows no label of the target.*take last, or one of asked_validation"
    ):
        make_plan(suite(select_by="entropy"))


def test_the_area_under_a_curve_is_its_mean_height() -> None:
    assert normalised_area([0, 1, 4], [0.0, 1.0, 1.0]) == pytest.approx(3.5 / 4)
    assert normalised_area([3], [0.7]) == 0.7 and normalised_area([2, 2], [0.1, 0.6]) == 0.6
    assert normalised_area(np.log([1, 3, 5]), [0.5, 0.5, 0.5]) == pytest.approx(0.5)
