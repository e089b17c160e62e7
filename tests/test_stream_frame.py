"""What the engine promises of streams: normalisation as declared, a look at the source where it is asked for, killed
runs that go on with the same bits, and what is measured beside the answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm
from torch.nn.functional import batch_norm

import dazoo
from dazoo.core.errors import DazooError
from dazoo.engine import stream
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, StreamMethod, create_method
from dazoo.nets.parts.norm_mode import BATCH, STORED, NormMode, mixed, norms_under

RECIPE = Recipe.named("digits", steps=20, batch=16, bottleneck=8, norm="batch")
QUICK = Options(recipe=RECIPE, backbone="mlp", save_batches=2)


def task(**more: object) -> dazoo.Task:
    return dazoo.load_task("digits/upright->noisy", setting="test_time", batch=32, **more)


def net_of_norms() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4)
    )
    net(torch.randn(16, 2, 4, 4) * 2 + 1)
    return net.eval().double()


def test_modes_are_those_of_the_layers_and_leave_no_trace() -> None:
    net, x = net_of_norms(), torch.randn(6, 2, 4, 4).double()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    stored = net(x)
    found = {}
    for mode in (STORED, BATCH, mixed(0.0), mixed(0.3), mixed(1.0, unbiased=False)):
        with norms_under(net, mode, len(x)):
            found[mode] = net(x)
    assert torch.equal(found[STORED], stored) and torch.equal(found[mixed(0.0)], stored)
    assert torch.allclose(found[BATCH], found[mixed(1.0, unbiased=False)], atol=1e-12)
    assert not torch.allclose(found[mixed(0.3)], stored) and not torch.allclose(found[BATCH], stored)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items()) and torch.equal(net(x), stored)
    one, layer = net[0](x), net[1]
    by_hand = batch_norm(one, None, None, layer.weight, layer.bias, training=True, eps=layer.eps)
    with norms_under(net, BATCH, len(x)):
        assert torch.equal(layer(one), by_hand)
    with norms_under(net, BATCH, 1), norms_under(net, mixed(0.5), 1):
        assert torch.isfinite(net(x[:1])).all()
    with pytest.raises(DazooError, match="alpha in"):
        NormMode("mixed", 1.5)


def test_a_block_that_fails_restores_the_layers() -> None:
    net, x = net_of_norms(), torch.randn(6, 2, 4, 4).double()
    stored = net(x)
    for mode in (BATCH, mixed(0.5)):
        with pytest.raises(ZeroDivisionError), norms_under(net, mode, 6):
            raise ZeroDivisionError
    assert torch.equal(net(x), stored)


def test_the_source_row_is_the_sources_model_in_any_order_and_batch() -> None:
    given = task()
    free = given.change(setting="source_free")
    model = fit(create_method("source_model"), free.seen(), options=QUICK).predictor
    found = fit(create_method("source_stream"), given.seen(), options=QUICK).predictor
    assert torch.allclose(found.recorded.scores, model.predict(given.hidden().x).scores, atol=1e-6)
    metrics = dazoo.evaluate(found, given)
    assert metrics["after"] == metrics["online_accuracy"] and metrics["forgetting"] == 0


def test_what_a_stream_leaves_behind_is_measured() -> None:
    given = task(source_holdout=0.3)
    result = fit(create_method("tent", lr=0.05), given.seen(), options=QUICK)
    found = dazoo.evaluate(result.predictor, given)
    right = result.predictor.after == given.hidden().y
    assert found["after"] == pytest.approx(float(right.double().mean()))
    assert found["forgetting"] != 0 and result.info["start"]["rows"] == "held out"
    assert fit(create_method("bn_adapt"), given.seen(), options=QUICK).predictor.forgetting == 0
    assert result.info["seconds_per_batch"] > 0
    episodic = fit(create_method("tent"), task(episodic=True).seen(), options=QUICK).predictor
    assert set(dazoo.evaluate(episodic, task(episodic=True))) == {"online_accuracy"}


@pytest.mark.parametrize("kind", ["batch", "layer", "group"])
def test_bodies_have_normalisations_of_every_kind(kind: str) -> None:
    recipe = Recipe.named("digits", steps=20, batch=16, bottleneck=0, body_norm=kind)
    for kind_of, backbone in (("vector", "mlp"), ("image", "cnn")):
        given = dazoo.load_task("digits/upright->noisy", setting="test_time", kind=kind_of)
        result = fit(create_method("tent", lr=0.01), given.seen(), options=Options(recipe=recipe, backbone=backbone))
        net, layers = result.predictor.final.net, {"batch": (BatchNorm1d, BatchNorm2d), "layer": (LayerNorm, GroupNorm)}
        found = [m for m in net.modules() if isinstance(m, layers.get(kind, GroupNorm))]
        assert len(found) == (2 if backbone == "mlp" else 3)
        assert any(bool((m.bias != 0).any()) for m in found)
        assert kind != "group" or found[0].num_groups == 8
    with pytest.raises(DazooError, match="backbone 'none' has its own normalisation, or none"):
        fit(create_method("source_stream"), task().seen(), options=Options(recipe=recipe, backbone="none"))
    assert "body_norm" not in Recipe.named("digits").to_json()


@dataclass(frozen=True)
class Reader(StreamMethod):
    """Answers by the class means of the source, which it reads at set-up."""

    name = "reader"
    needs_source_stats = True

    def source_stats(self, net, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        x, y = (torch.cat(parts) for parts in zip(*batches))
        return {"means": torch.stack([net.body(x[y == c]).mean(0) for c in range(10)])}

    def step(self, net, x, state, t):
        features = net.body(x)
        return dazoo.core.types.Prediction(-torch.cdist(features, state.source["means"]), features)


def test_set_up_that_reads_the_source_is_offered_it_once_and_marked() -> None:
    for episodic in (False, True):
        result = fit(Reader(), task(episodic=episodic).seen(), options=QUICK)
        assert result.info["reads_source"] == "at set-up"
        assert dazoo.evaluate(result.predictor, task(episodic=episodic))["online_accuracy"] > 0.15
    assert "reads_source" not in fit(create_method("tent"), task().seen(), options=QUICK).info


@pytest.mark.parametrize("name", ["tent", "cotta", "t3a"])
@pytest.mark.parametrize("episodic", [False, True])
def test_a_killed_stream_goes_on_with_the_same_bits(tmp_path: Path, name: str, episodic: bool, monkeypatch) -> None:
    seen, state = task(episodic=episodic).seen(), tmp_path / "run.pt"
    whole = fit(create_method(name), seen, options=QUICK).predictor
    cls, calls = METHODS.get(name), []
    step = cls.step

    def killed(self, net, x, memory, t):
        calls.append(t)
        if t == 7 and len(calls) == 8:
            raise KeyboardInterrupt
        return step(self, net, x, memory, t)

    monkeypatch.setattr(cls, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(create_method(name), seen, options=QUICK, state=state)
    assert state.is_file()
    again = fit(create_method(name), seen, options=QUICK, state=state).predictor
    assert calls == [*range(8), *range(6, 10)] and not state.exists()
    assert torch.equal(again.recorded.scores, whole.recorded.scores)
    assert all(torch.equal(v, whole.final.state[k]) for k, v in again.final.state.items())
    assert (again.after is None) == episodic and (episodic or torch.equal(again.after, whole.after))


def test_a_state_that_cannot_be_written_is_a_warning(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(stream, "write_state", lambda path, state: "could not be saved")
    result = fit(create_method("source_stream"), task().seen(), options=QUICK, state=tmp_path / "run.pt")
    assert result.warnings == ["could not be saved"] and len(result.predictor.recorded.scores) == 299
