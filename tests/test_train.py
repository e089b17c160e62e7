"""The training loop: restarts, micro-batches, clipping, divergence, recipes, samplers."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from dazoo.contracts.gradient import check_continues
from dazoo.core.errors import DazooError, UnknownName
from dazoo.engine import build
from dazoo.engine import fit as engine
from dazoo.engine.feed import Sampler
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import RECIPES, Recipe
from dazoo.engine.terms import Diverged
from dazoo.methods.base import METHODS, create_method
from tests.toys import TINY, fit_toy, is_gradient, options_for, same, task_for, toy_task


@pytest.mark.parametrize("name", [n for n in METHODS.names() if is_gradient(n)])
def test_a_killed_run_continues_with_the_same_bits(name):
    """Weights, optimiser, samplers, random state, banks and teachers are all restored."""
    check_continues(METHODS.get(name))


def test_a_damaged_state_starts_over(tmp_path):
    state = tmp_path / "state.pt"
    state.write_bytes(b"half a file")
    whole = fit_toy("dann")
    task = task_for(METHODS.get("dann"))
    again = fit(create_method("dann"), task.seen(), seed=0, options=options_for("dann"), state=state)
    assert same(whole, again)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_micro_batches_give_the_gradient_of_the_whole_batch(optimizer):
    recipe = dataclasses.replace(TINY, optimizer=optimizer)
    whole = fit_toy("source_only", recipe=recipe).predictor.state
    parts = fit_toy("source_only", recipe=dataclasses.replace(recipe, accumulate=4)).predictor.state
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-4, atol=1e-4)


def test_source_only_is_plain_sgd():
    """One step of the loop is one step of torch's optimiser on cross-entropy, from the same start."""
    task = toy_task()
    recipe = dataclasses.replace(TINY, optimizer="sgd", steps=1, lr=0.5, momentum=0.0, nesterov=False)
    options = Options(recipe=recipe, backbone="none")
    start = build.start_net(
        create_method("source_only"),
        task.seen(),
        0,
        build.net_spec(task.seen(), recipe, options),
        engine.Memo(),
        None,
    )
    rows = Sampler(len(task.seen().source), 16, engine.part_seed(0, "sample source"))()
    x, y = task.seen().source.x[rows], task.seen().source.y[rows]
    torch.nn.functional.cross_entropy(start.head(start.body(x)), y).backward()
    with torch.no_grad():
        for p in start.parameters():
            p -= 0.5 * p.grad
    got = fit(create_method("source_only"), task.seen(), seed=0, options=options).predictor.state
    for key, value in start.state_dict().items():
        torch.testing.assert_close(got[key], value, rtol=1e-6, atol=1e-7)


def test_gradient_clipping_bounds_the_step():
    recipe = dataclasses.replace(TINY, optimizer="sgd", momentum=0.0, nesterov=False, lr=1.0, steps=1, grad_clip=1e-3)
    start = fit_toy("source_only", recipe=dataclasses.replace(recipe, lr=1e-30)).predictor.state
    moved = fit_toy("source_only", recipe=recipe).predictor.state
    distance = sum(float((moved[k] - start[k]).square().sum()) for k in start) ** 0.5
    assert 0.9e-3 < distance <= 1.001e-3


def test_a_diverging_run_says_where(monkeypatch):
    recipe = dataclasses.replace(TINY, optimizer="sgd", lr=1e30, steps=20)
    with pytest.raises(Diverged, match=r"step \d+ in the term 'cls'.*last finite values"):
        fit_toy("source_only", recipe=recipe)


def test_checkpoints_are_spaced_evenly_and_do_not_disturb_training():
    task = task_for(METHODS.get("dann"))
    seen = []
    options = dataclasses.replace(options_for("dann"), checkpoints=4)
    watched = fit(create_method("dann"), task.seen(), seed=0, options=options, on_checkpoint=seen.append)
    assert [c.step for c in seen] == [3, 6, 9, 12] and seen[-1].fraction == 1.0
    assert same(watched, fit_toy("dann"))
    first, last = (c.predictor.predict(task.target.x).scores for c in (seen[0], seen[-1]))
    assert not torch.equal(first, last)


def test_bf16_runs_and_differs_little():
    exact = fit_toy("source_only").predictor.predict(toy_task().target.x).probs
    rough = (
        fit_toy("source_only", recipe=dataclasses.replace(TINY, precision="bf16"))
        .predictor.predict(toy_task().target.x)
        .probs
    )
    assert 0 < float((exact - rough).abs().max()) < 0.05


def test_samplers_cover_an_epoch_and_repeat_small_domains():
    sampler = Sampler(10, 5, seed=0)
    assert sorted(torch.cat([sampler(), sampler()]).tolist()) == list(range(10))
    small = Sampler(3, 8, seed=0)()
    assert len(small) == 8 and set(small.tolist()) == {0, 1, 2}


def test_recipes_are_hashed_data():
    assert Recipe.named("digits").hash == dataclasses.replace(RECIPES["digits"], name="other").hash
    assert Recipe.named("digits", lr=0.5).hash != Recipe.named("digits").hash
    assert json.loads(json.dumps(Recipe.named("tllib").to_json()))["gamma"] == 1e-3
    for recipe in RECIPES.values():
        assert recipe.lr_factor(0) <= 1.0 and 0 <= recipe.ramp_at(recipe.steps) <= 1
    with pytest.raises(UnknownName, match="did you mean 'steps'"):
        Recipe.named("digits", step=3)
    with pytest.raises(DazooError, match="optimizer must be one of"):
        Recipe.named("digits", optimizer="lion")
    with pytest.raises(UnknownName, match="digits"):
        Recipe.named("digit")


def test_schedules_follow_their_formulas():
    r = Recipe.named("digits", schedule="inverse", gamma=10.0, power=0.75, steps=100)
    assert r.lr_factor(50) == pytest.approx((1 + 10 * 0.5) ** -0.75)
    assert Recipe.named("tllib").lr_factor(1000) == pytest.approx(2**-0.75)
    assert Recipe.named("digits", schedule="cosine", steps=100).lr_factor(50) == pytest.approx(0.5)
    assert Recipe.named("tllib").ramp_at(1000) == pytest.approx(0.46211716, abs=1e-6)
    assert Recipe.named("digits", steps=100).ramp_at(10) == pytest.approx(0.46211716, abs=1e-6)


def test_the_wrong_setting_is_named():
    with pytest.raises(DazooError, match="few_labels"):
        fit_toy("fine_tune", toy_task())
    with pytest.raises(DazooError, match="needs a recipe"):
        fit(create_method("dann"), toy_task().seen(), options=Options())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_cpu():
    task = toy_task()
    cpu = fit(create_method("dann"), task.seen(), options=options_for("dann")).predictor.state
    gpu = fit(
        create_method("dann"), task.seen(), options=dataclasses.replace(options_for("dann"), device="cuda")
    ).predictor.state
    for key, value in cpu.items():
        torch.testing.assert_close(gpu[key].cpu(), value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["asa", "mcd", "wdgrl"])
def test_parts_without_parameters_do_not_move(name):
    """On fixed features under a recipe without a bottleneck only the head learns, with phases of any kind."""
    recipe = dataclasses.replace(TINY, bottleneck=0, norm="none")
    task = task_for(METHODS.get(name))
    found = fit(create_method(name), task.seen(), seed=0, options=Options(recipe=recipe))
    assert "cls" in found.curves
    with pytest.raises(DazooError, match=r"nothing can learn: .* take a recipe with a bottleneck"):
        fit(create_method("shot"), task.seen(), seed=0, options=Options(recipe=recipe))
