"""Streams: each batch answered on arrival, by a method that starts from the source's model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dazoo
from dazoo.core.errors import DazooError, NonFiniteError
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, StreamMethod, create_method
from dazoo.methods.base_stream import norm_layers
from dazoo.ops.entropy import entropy_of_logits

RECIPE = Recipe.named("digits", steps=60, batch=16, bottleneck=8, norm="batch")
QUICK = Options(recipe=RECIPE, backbone="mlp")
STREAMS = [n for n, cls in METHODS.items() if issubclass(cls, StreamMethod)]


def task(**more: object) -> dazoo.Task:
    return dazoo.load_task("digits/upright->noisy", setting="test_time", batch=32, **more)


def source_net(options: Options = QUICK) -> torch.nn.Module:
    free = task().change(setting="source_free")
    zero = {"trade_off": 0.0, "pseudo_weight": 0.0}
    return fit(create_method("shot", **zero), free.seen(), options=options).predictor.net


def test_the_order_of_arrival_is_the_seeds_and_no_pool_is_seen() -> None:
    one, other, third = (task(seed=s).seen() for s in (0, 0, 1))
    assert torch.equal(one.stream.x, other.stream.x) and not torch.equal(one.stream.x, third.stream.x)
    assert len(one.target) == 0 and one.source is None and one.origin.stream is None and len(one.stream) == 299
    hidden = task().hidden()
    assert torch.equal(hidden.x, one.stream.x) and torch.equal(hidden.at, torch.arange(299))


@pytest.mark.parametrize("name", STREAMS)
def test_every_answer_is_recorded_and_tested_as_it_was_given(name: str) -> None:
    given = task()
    model = fit(create_method(name), given.seen(), options=QUICK).predictor
    assert len(model.recorded.scores) == 299
    found = dazoo.evaluate(model, given)
    right = (model.recorded.labels == given.hidden().y).double().mean()
    assert found["online_accuracy"] == pytest.approx(float(right)) and found["online_accuracy"] > (
        0.2 if name == "lame" else 0.3  # it agrees with neighbours, which are of other classes in shuffled streams
    )
    assert model.predict(given.hidden().x[:5]).scores.shape == (5, 10)


def test_batch_statistics_are_a_pass_in_training_mode_that_leaves_no_trace() -> None:
    net = source_net()
    x = task().seen().stream.x[:32].float()
    answers = fit(create_method("bn_adapt"), task().seen(), options=QUICK).predictor
    before = {k: v.clone() for k, v in net.state_dict().items()}
    for _, layer in norm_layers(net):
        layer.train()
    with torch.no_grad():
        expected = net.head(net.body(x))
    assert torch.allclose(answers.recorded.scores[:32], expected, atol=1e-6)
    assert all(torch.equal(v, before[k]) for k, v in answers.final.state.items() if k in before)


def test_tent_at_rate_zero_is_the_source_with_batch_statistics() -> None:
    seen = task().seen()
    method = create_method("tent")
    object.__setattr__(method, "lr", 0.0)
    zero = fit(method, seen, options=QUICK).predictor.recorded.scores
    assert torch.equal(zero, fit(create_method("bn_adapt"), seen, options=QUICK).predictor.recorded.scores)


def test_one_step_of_tent_moves_the_affine_weights_and_nothing_else() -> None:
    net, seen = source_net(), task().seen()
    x = seen.stream.x[:32].float()
    short = type(seen)(**{**vars(seen), "stream": type(seen.stream)(seen.stream.x[:32], 32)})
    made = fit(create_method("tent", lr=0.01), short, options=QUICK).predictor.final.state
    names = {f"{n}.{p}" for n, layer in norm_layers(net) for p, _ in layer.named_parameters()}
    moving = [p for n, p in net.named_parameters() if n in names]
    for p in net.parameters():
        p.requires_grad_(False)
    for p in moving:
        p.requires_grad_(True)
    for _, layer in norm_layers(net):
        layer.train()
        layer.momentum = 0.0
    entropy_of_logits(net.head(net.body(x))).mean().backward()
    torch.optim.Adam(moving, lr=0.01).step()
    changed = set()
    for name, value in net.state_dict().items():
        if "num_batches" not in name and name in made:
            assert torch.allclose(made[name], value, atol=1e-6), name
        if name in names:
            changed.add(name)
    assert changed == names and len(names) >= 2


def test_answers_that_are_not_finite_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    cls = METHODS.get("bn_adapt")
    step = cls.step

    def spoilt(self, net, x, state, t):
        return step(self, net, x, state, t).apply(lambda v: v / 0 if t == 1 else v)

    monkeypatch.setattr(cls, "step", spoilt)
    with pytest.raises(NonFiniteError, match="'bn_adapt' answers batch 1 with NaN or infinite scores"):
        fit(create_method("bn_adapt"), task().seen(), options=QUICK)


def test_what_cannot_be_adapted_is_said() -> None:
    plain = Options(recipe=Recipe.named("digits", steps=2, batch=16, bottleneck=8, norm="none"), backbone="mlp")
    with pytest.raises(DazooError, match="'tent' adapts normalisation layers and this network has none"):
        fit(create_method("tent"), task().seen(), options=plain)
    with pytest.raises(DazooError, match="'dann' does not run in the setting 'test_time'"):
        fit(create_method("dann"), task().seen(), options=QUICK)
    with pytest.raises(DazooError, match="'tent' does not run in the setting 'unsupervised'"):
        fit(create_method("tent"), task().change(setting="unsupervised").seen(), options=QUICK)
    with pytest.raises(DazooError, match="batch must be a whole number"):
        task().change(batch=0)


def test_a_single_sample_keeps_the_statistics_of_the_source() -> None:
    seen = task().seen()
    ones = type(seen)(**{**vars(seen), "stream": type(seen.stream)(seen.stream.x[:5], 1)})
    net = source_net()
    with torch.no_grad():
        expected = net.eval().head(net.body(seen.stream.x[:5].float()))
    found = fit(create_method("bn_adapt"), ones, options=QUICK).predictor.recorded.scores
    assert np.allclose(found.numpy(), expected.numpy(), atol=1e-6)


def test_a_stream_is_tested_on_its_own_answers_or_not_at_all(tmp_path) -> None:
    given = task()
    model = dazoo.fit("tent", given, recipe=RECIPE, backbone="mlp")
    assert dazoo.evaluate(model, given)["online_accuracy"] > 0.3
    for other in (given.change(seed=5), dazoo.load_task("digits/upright->scaled", setting="test_time", batch=32)):
        with pytest.raises(DazooError, match="answers are those of another stream"):
            dazoo.evaluate(model, other)
    dazoo.save(model, tmp_path / "m.safetensors")
    again, x = dazoo.load(tmp_path / "m.safetensors"), given.hidden().x[:7]
    assert torch.equal(again.predict(x).scores, model.predict(x).scores)
    assert dazoo.evaluate(again, given) == dazoo.evaluate(model, given)


def test_batch_statistics_need_layers_that_have_some() -> None:
    plain = Options(recipe=Recipe.named("digits", steps=2, batch=16, bottleneck=8, norm="none"), backbone="mlp")
    with pytest.raises(DazooError, match="'bn_adapt' acts on batch normalisation and this network has none"):
        fit(create_method("bn_adapt"), task().seen(), options=plain)
