"""Regression: what is learned does not depend on the unit of the targets, and the defaults learn."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import dazoo
from dazoo.bench.execute.evaluate import evaluate
from dazoo.bench.records.keep import Keeper
from dazoo.bench.records.kept import Kept
from dazoo.contracts import toys
from dazoo.core.setting import FEW_LABELS, UNSUPERVISED
from dazoo.core.types import Labeled, Seen
from dazoo.data.domain import Domain
from dazoo.data.task import Task
from dazoo.engine.fit import FitResult, Options, fit, fit_group
from dazoo.engine.recipe import Recipe
from dazoo.engine.units import Units, units_of
from dazoo.methods.base import METHODS, GradientMethod, ShallowMethod, create_method
from dazoo.shallow.classifiers import classifier
from dazoo.validators.base import VALIDATORS, Evidence, linear_head

BY_GRADIENT = [n for n in METHODS.names() if "values" in METHODS.get(n).targets and toys.is_gradient(METHODS.get(n))]
SHALLOW = [
    n for n in METHODS.names() if "values" in METHODS.get(n).targets and issubclass(METHODS.get(n), ShallowMethod)
]
SHORT = Recipe.named("values", steps=15, bottleneck=8, batch=16, few_steps=0)


def linear(n: int = 200, d: int = 5, scale: float = 1.0, offset: float = 0.0, seed: int = 0, **options: object) -> Task:
    """y = x w, in some unit; the target is moved a little."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=d)
    xs, xt = rng.normal(size=(n, d)), rng.normal(size=(n, d)) + 0.3
    return unit(Task.from_arrays(xs, xs @ w, xt, xt @ w, **options), scale, offset)  # type: ignore[arg-type]


def unit(task: Task, scale: float, offset: float) -> Task:
    """The task with its targets in another unit, in double precision."""

    def turned(domain: Domain) -> Domain:
        assert domain.y is not None
        return dataclasses.replace(domain, y=scale * domain.y.double() + offset)

    return task.change(sources=tuple(map(turned, task.sources)), target=turned(task.target))


def short(method: str, task: Task, **fields: object) -> FitResult:
    made = create_method(method)
    recipe = SHORT if toys.is_gradient(type(made)) and "classifier" not in fields else None
    if getattr(made, "needs_batch_norm", False):
        recipe = dataclasses.replace(SHORT, norm="batch")
    return fit(made, task.seen(), options=Options(recipe=recipe, **fields))  # type: ignore[arg-type]


def values(method: str, task: Task, **fields: object) -> np.ndarray:
    found: np.ndarray = short(method, task, **fields).predictor.predict(task.target.x).values.double().numpy()
    return found


@pytest.mark.parametrize("name", BY_GRADIENT)
def test_predictions_follow_the_unit_of_the_targets(name: str) -> None:
    task = linear(60, setting=toys.setting_of(METHODS.get(name)), source_holdout=0.2)
    plain = values(name, task)
    assert plain.std() > 0
    for scale, offset in [(1e-3, 0.0), (-250.0, 1e4), (1e6, 1e7)]:
        found = values(name, unit(task, scale, offset))
        assert np.abs(found - (scale * plain + offset)).max() < 1e-4 * abs(scale) * plain.std()


@pytest.mark.parametrize("name", SHALLOW)
@pytest.mark.parametrize("chosen", ["ridge", "1nn"])
def test_shallow_methods_follow_the_unit_of_the_targets(name: str, chosen: str) -> None:
    task = linear(40, d=2, setting=toys.setting_of(METHODS.get(name)))
    fields = {"classifier": classifier(chosen)}
    plain = values(name, task, **fields)
    for scale, offset in [(1e-3, 0.0), (-250.0, 1e4), (1e150, 0.0), (1e-150, 0.0)]:
        found = values(name, unit(task, scale, offset), **fields)
        assert np.abs(found - (scale * plain + offset)).max() <= 1e-6 * abs(scale) * plain.std()
    assert np.allclose(values(name, unit(task, 0.0, 12345.678), **fields), 12345.678, rtol=1e-12)


@pytest.mark.parametrize("scale, offset", [(1e-3, 0.0), (1e-3, 5.0), (22.0, 0.0), (1.0, -100.0), (1e6, 1e7)])
def test_source_only_learns_at_its_defaults(scale: float, offset: float) -> None:
    task = linear(scale=scale, offset=offset)
    assert dazoo.evaluate(dazoo.fit("source_only", task), task)["r2"] > 0.95


@pytest.mark.parametrize("name", ["frozen", "tllib", "images", "deepda"])
def test_recipes_made_for_classes_do_not_diverge_under_squared_error(name: str) -> None:
    recipe = Recipe.named(name, steps=120)
    for seed in range(3):
        task = linear(scale=22.0, offset=100.0, seed=seed)
        result = fit(create_method("source_only"), task.seen(), seed=seed, options=Options(recipe=recipe))
        assert evaluate(task, result.predictor)["r2"] > 0.5
        assert any("squared error" in w for w in result.warnings)
    assert recipe.for_values().grad_clip == 1.0 and Recipe.named("values").for_values() == Recipe.named("values")


def test_adversarial_training_learns_at_its_defaults() -> None:
    task = linear(scale=1e6, offset=1e7)
    assert dazoo.evaluate(dazoo.fit("dann", task), task)["r2"] > 0.8


@pytest.mark.parametrize("name", BY_GRADIENT)
def test_constant_targets_and_tiny_sources_have_an_answer(name: str) -> None:
    setting = toys.setting_of(METHODS.get(name))
    task = unit(linear(30, setting=setting), 0.0, 12345.678)
    assert np.array_equal(values(name, task), np.full(len(task.target.x), 12345.678))
    two = linear(30, setting=setting)
    source = two.sources[0]
    assert source.y is not None
    two = two.change(sources=(dataclasses.replace(source, x=source.x[:2], y=source.y[:2]),))
    assert np.isfinite(values(name, two)).all()


def test_units_hold_at_every_size() -> None:
    y = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    plain = Units.of(y)
    assert plain.mean == pytest.approx(7 / 3) and plain.scale == pytest.approx(-float(y.std(correction=0)))
    assert Units.of(-y) == Units(-plain.mean, -plain.scale)
    for size in (1e-300, 1e-150, 1e150, 1e300):
        units = Units.of(y * size)
        assert torch.allclose(units.standardise(y * size), plain.standardise(y), atol=1e-12)
    assert Units.of(torch.full((5,), 0.1)).scale == 0 and Units.of(torch.zeros(3)) == Units(0.0, 0.0)
    assert Units.of(torch.tensor([1e7, 1e7 + 1e-9], dtype=torch.float64)).scale == 0  # rounding is no deviation


def test_units_are_those_of_the_labels_a_method_learns_from() -> None:
    def part(*y: float) -> Labeled:
        return Labeled(torch.zeros(len(y), 2), torch.tensor(y, dtype=torch.float64), torch.zeros(len(y)))

    seen: Seen = dataclasses.replace(linear(setting=FEW_LABELS).seen(), source=part(0.0, 2.0), few=part(16.0, 32.0))
    assert units_of(seen, True) == Units(1.0, -1.0) and units_of(seen, False) == Units(24.0, -8.0)
    assert units_of(seen, False, Units(5.0, 3.0)) == Units(5.0, 3.0)  # those of the weights it begins from
    assert units_of(seen, False, Units(5.0, 0.0)) == Units(24.0, -8.0)  # which had nothing to learn
    assert units_of(dataclasses.replace(seen, few=part(7.0)), False) == Units(1.0, -1.0)
    assert units_of(dataclasses.replace(seen, n_classes=2), True) is None


def test_a_warm_start_begins_where_its_model_ended() -> None:
    task = linear(60, scale=50.0, offset=1e3, setting=FEW_LABELS)
    still = dataclasses.replace(SHORT, lr=1e-30)
    start = fit(create_method("source_only"), task.change(setting=UNSUPERVISED).seen(), options=Options(recipe=still))
    begun = fit(create_method("fine_tune"), task.seen(), options=Options(recipe=still))
    assert torch.equal(start.predictor.predict(task.target.x).values, begun.predictor.predict(task.target.x).values)


def test_a_saved_model_keeps_its_units(tmp_path: Path) -> None:
    task = linear(60, scale=1e6, offset=1e7)
    model = short("dann", task).predictor
    dazoo.save(model, tmp_path / "m.safetensors")
    again = dazoo.load(tmp_path / "m.safetensors")
    assert torch.equal(again.predict(task.target.x).values, model.predict(task.target.x).values)


def test_stacked_runs_keep_their_own_units() -> None:
    tasks = [linear(60, scale=s, offset=o, seed=i) for i, (s, o) in enumerate([(1e-3, 0.0), (1e4, 5e4)])]
    method = create_method("dann")
    assert isinstance(method, GradientMethod)
    together = fit_group([method, method], [t.seen() for t in tasks], seeds=[0, 0], options=Options(recipe=SHORT))
    for task, result in zip(tasks, together):
        alone = values("dann", task)
        found = result.predictor.predict(task.target.x).values.numpy()
        assert np.abs(found - alone).max() < 1e-4 * alone.std()


def test_validators_judge_values_in_the_unit_of_the_data() -> None:
    task = linear(80, source_holdout=0.25)
    names = [n for n in VALIDATORS.names() if not VALIDATORS.get(n).of_group]
    plain, big = (Evidence(short("source_only", t).predictor, t.seen()) for t in (task, unit(task, 1e3, 1e5)))
    for name in names:
        one, other = VALIDATORS.get(name)(plain), VALIDATORS.get(name)(big)
        if name in ("source_validation", "iwcv", "dev"):
            assert one is not None and other == pytest.approx(1e6 * one, rel=1e-3)
        else:
            assert (one is None) == (other is None)
    head = linear_head(short("source_only", task).predictor, plain.target)
    there = linear_head(short("source_only", unit(task, 1e3, 1e5)).predictor, big.target)
    assert head is not None and there is not None and torch.allclose(there, 1e3 * head, rtol=1e-4)


@pytest.mark.parametrize("portable", [True, False])
def test_kept_values_do_not_lose_their_digits_to_an_offset(portable: bool, tmp_path: Path) -> None:
    task = linear(400, offset=1e7, source_holdout=0.2)
    model = short("source_only", task).predictor
    evidence = Evidence(model, task.seen())
    keeper = Keeper(tmp_path, "k", 1 << 30, 1, portable)
    keeper.add(0, 1, 1.0, evidence, model)
    assert keeper.finish(1, evidence) is not None
    with Kept(tmp_path, "k") as kept:
        scores = kept.scores(0)
        assert scores is not None and torch.equal(scores, evidence.target_scores)


def test_labels_keep_the_digits_they_were_given_with() -> None:
    y = 1e9 + np.arange(20) / 16
    task = Task.from_arrays(np.ones((20, 2)) * y[:, None], y, np.ones((20, 2)), y)
    for domain in (*task.sources, task.target):
        assert domain.y is not None and np.array_equal(domain.y.numpy(), y)
