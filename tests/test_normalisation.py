"""Domain-wise normalisation: which statistics move, what they equal, and what they undo."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import create_method
from dazoo.nets.backbones.base import BACKBONES, Backbone
from dazoo.nets.parts.domain_norm import FeatureMatch, TargetNorms
from tests.small import at, draw, small_batch, small_net
from tests.toys import TINY, options_for, toy_task

BATCH_NORM = Recipe.named("digits", steps=12, batch=16, bottleneck=8, norm="batch")


def two_layers() -> nn.Sequential:
    torch.manual_seed(0)
    body = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU()).double().eval()
    with torch.no_grad():
        for m in (body[0], body[2]):
            m.weight.copy_(draw(m.num_features, seed=1))
            m.bias.copy_(draw(m.num_features, seed=2))
    return body


def test_statistics_match_a_transcription_layer_by_layer():
    body, x = two_layers(), 3.0 * draw(12, 5, seed=3) - 1.0
    norms = TargetNorms(body)
    norms.estimate(body, [x])
    a = x.numpy()
    for layer, own, linear in zip(norms.layers, (body[0], body[2]), (body[1], None)):
        mean, var = a.mean(0), a.var(0)
        np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(layer.running_var.numpy(), var * 12 / 11, rtol=1e-10)
        a = (a - mean) / np.sqrt(var + 1e-5) * own.weight.detach().numpy() + own.bias.detach().numpy()
        if linear is not None:
            a = a @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()


def test_statistics_of_chunks_are_averaged_and_the_body_is_left_alone():
    body, x = two_layers(), draw(12, 5, seed=3)
    before = {k: v.clone() for k, v in body.state_dict().items()}
    norms = TargetNorms(body)
    norms.estimate(body, [x[:6], x[6:]])
    torch.testing.assert_close(norms.layers[0].running_mean, x.mean(0))
    torch.testing.assert_close(norms.layers[0].running_var, (x[:6].var(0) + x[6:].var(0)) / 2)
    assert all(torch.equal(v, before[k]) for k, v in body.state_dict().items())
    assert not body[0].training and body[0].momentum == 0.1


def test_an_affine_shift_of_the_inputs_is_undone():
    body, x = two_layers(), draw(40, 5, seed=3)
    shifted = x * torch.tensor([2.0, 0.5, 3.0, 1.5, 4.0], dtype=torch.float64) + draw(5, seed=4)
    source, target = TargetNorms(body), TargetNorms(body)
    source.estimate(body, [x])
    target.estimate(body, [shifted])
    # not bit for bit: eps weighs more on small variances
    torch.testing.assert_close(target(body, shifted), source(body, x), rtol=1e-3, atol=1e-4)
    assert (source(body, shifted) - source(body, x)).abs().max() > 0.5


@pytest.mark.parametrize("recipe", [TINY, BATCH_NORM])
def test_adabn_trains_as_source_only_and_changes_target_predictions(recipe):
    seen = toy_task(shift=2.0).seen()
    plain, adapted = (
        fit(create_method(n), seen, seed=0, options=options_for(n, recipe)).predictor for n in ("source_only", "adabn")
    )
    for key, value in plain.state.items():
        assert torch.equal(adapted.state[key], value), key
    x = seen.source.x
    torch.testing.assert_close(adapted.predict_source(x).scores, plain.predict(x).scores)
    assert (adapted.predict(seen.target.x).scores - plain.predict(seen.target.x).scores).abs().max() > 0.01


def normed(shape, *, pretrained=False):
    layers = nn.Sequential(nn.Linear(shape[0], 6), nn.BatchNorm1d(6), nn.ReLU())
    layers.width = 6
    return layers


@pytest.mark.parametrize(("name", "moves"), [("source_only", False), ("adabn", True), ("dsbn", True)])
def test_frozen_statistics_do_not_hold_a_method_that_is_about_them(name, moves, monkeypatch):
    """The source must be normalised by its own statistics, or the target's would be swapped for the pretrained ones."""
    monkeypatch.setitem(BACKBONES._items, "normed", Backbone("normed", frozenset({"vector"}), normed))
    recipe = Recipe.named("images", steps=3, batch=8, bottleneck=8, augment="none")
    seen = toy_task(shift=2.0).seen()
    state = fit(create_method(name), seen, seed=0, options=Options(recipe=recipe, backbone="normed")).predictor.state
    means = [v for k, v in state.items() if k.startswith("body.backbone") and k.endswith("running_mean")]
    assert means and all(bool(m.any()) == moves for m in means)


def test_without_batch_normalisation_features_get_the_sources_moments():
    seen = toy_task(shift=2.0).seen()
    model = fit(create_method("adabn"), seen, seed=0, options=options_for("adabn", TINY)).predictor
    fs, ft = model.predict_source(seen.source.x).features, model.predict(seen.target.x).features
    raw = model.predict_source(seen.target.x).features
    alive = raw.var(0) > 1e-3
    torch.testing.assert_close(ft.mean(0), fs.mean(0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ft[:, alive].std(0), fs[:, alive].std(0), rtol=2e-2, atol=1e-3)
    assert alive.sum() >= 2 and (raw.mean(0) - fs.mean(0)).abs().max() > 0.05


def test_feature_match_by_batches():
    match = FeatureMatch(4).double()
    fs, ft = 2.0 * draw(9, 4) + 1.0, draw(7, 4, seed=1)
    out = match(ft, fs)
    torch.testing.assert_close(out.mean(0), fs.mean(0))
    torch.testing.assert_close(out.var(0, correction=0), fs.var(0, correction=0), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(match.mean_t, 0.1 * ft.mean(0))
    torch.testing.assert_close(match.var_s, 0.9 + 0.1 * fs.var(0, correction=0))
    torch.testing.assert_close(match.eval()(fs, fs), fs)
    source = fs.clone().requires_grad_()
    assert not match(ft, source).requires_grad


def test_each_domain_has_its_own_statistics_and_affine_map():
    method = create_method("dsbn")
    net, b = small_net(method, norm="batch"), small_batch()
    source, target = net.body.bottleneck[1], net.target_norms.layers[0]
    with torch.no_grad():
        target.weight.mul_(1.5)
    hidden = [net.body.bottleneck[0](net.body.backbone(x)) for x in (b.xs, b.xt)]
    out = method.losses(net, b, at(0.5))
    for layer, h in zip((source, target), hidden):
        torch.testing.assert_close(layer.running_mean, 0.1 * h.detach().mean(0))
    assert int(source.num_batches_tracked) == int(target.num_batches_tracked) == 1
    z = (hidden[1] - hidden[1].mean(0)) / torch.sqrt(hidden[1].var(0, correction=0) + 1e-5)
    torch.testing.assert_close(method.features(net, b)[1], torch.relu(1.5 * z))
    for term, (own, other) in {"cls": (source, target), "sem": (target, source)}.items():
        grads = torch.autograd.grad(out[term], (own.weight, other.weight), allow_unused=True, retain_graph=True)
        assert grads[0].abs().sum() > 0
        assert term != "cls" or grads[1] is None
    net.eval()
    assert (method.predict(net, b.xt).scores - method.predict_source(net, b.xt).scores).abs().max() > 1e-3


def test_dsbn_without_batch_normalisation_matches_moments():
    method = create_method("dsbn")
    net, b = small_net(method), small_batch()
    fs, ft = method.features(net, b)
    torch.testing.assert_close(fs, net.body(b.xs))
    torch.testing.assert_close(ft.mean(0), fs.mean(0))
