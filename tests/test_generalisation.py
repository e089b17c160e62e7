"""Methods for unseen targets: formulas against transcriptions, what weight 0 is, and what is seen of the target."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from dazoo.contracts.toys import TINY, fit_toy, options_for, task_for
from dazoo.core.errors import DazooError
from dazoo.core.setting import Setting
from dazoo.data.registry import load_task
from dazoo.data.task import Task
from dazoo.engine.feed import EvenSampler
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, create_method
from dazoo.methods.generalisation import _valley as valley
from dazoo.nets.net import NetSpec, build_net
from dazoo.nets.parts.sources import SourceVariances, SourceWeights
from dazoo.nets.parts.taps import Tap, changed, channels, early_layers
from dazoo.ops import draws
from dazoo.ops import generalisation as ops
from dazoo.ops.classwise import one_hot

NAMES = [n for n in METHODS.names() if METHODS.get(n).family == "generalisation"]
F64 = torch.float64


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def rows(n: int = 12, m: int = 3, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores (n, C), labels (n,) and sources (n,) in turns."""
    y = torch.from_numpy(np.random.default_rng(1).integers(0, classes, n))
    return drawn(n, classes), y, torch.arange(n) % m


def state_of(name: str, task: Task | None = None, **hparams: object) -> dict[str, torch.Tensor]:
    cls = METHODS.get(name)
    found = fit_toy(cls, task or task_for(cls), **hparams).predictor.state
    return {k: v for k, v in found.items() if k.startswith(("body.", "head."))}


# -- the setting ------------------------------------------------------------------------------------------------------


def test_generalisation_is_an_unseen_target_and_several_sources() -> None:
    assert Setting.of("unseen+multi_source") == Setting.of("generalisation")
    assert Setting.of("generalisation").change(n_sources="one").name == "unseen"


@pytest.mark.parametrize("setting", ["unseen", "generalisation"])
def test_nothing_of_an_unseen_target_is_in_what_is_seen(setting: str) -> None:
    seen = load_task("digits/upright+noisy->rotated", setting=setting, source_holdout=0.2).seen()
    assert seen.target.x.shape == (0, 64) and seen.target.domain is None and seen.few is None


def test_a_method_that_reads_target_batches_is_refused() -> None:
    class Greedy(METHODS.get("erm")):
        name = "greedy"
        uses_target = True

    task = load_task("digits/upright+noisy->rotated", setting="generalisation")
    with pytest.raises(DazooError, match="batches of the target"):
        fit(Greedy(), task.seen(), options=options_for(METHODS.get("erm")))


def test_a_transform_that_looks_at_the_target_is_refused() -> None:
    from dazoo.data.transform import apply_to_task

    task = load_task("digits/upright+noisy->rotated", setting="generalisation")
    with pytest.raises(DazooError, match="zscore_source"):
        apply_to_task(task, "zscore")
    moved, _ = apply_to_task(task, "zscore_within")
    other = task.change(target=replace(task.target, x=task.target.x * 3 + 1))
    assert torch.equal(apply_to_task(other, "zscore_within")[0].sources[0].x, moved.sources[0].x)


# -- batches ----------------------------------------------------------------------------------------------------------


def test_batches_hold_as_many_rows_of_each_source_in_turns() -> None:
    domain = torch.tensor([0] * 20 + [1] * 5 + [2] * 9)
    sampler = EvenSampler(domain, 13, [0, 1, 2])
    for _ in range(8):
        found = domain[sampler()]
        assert found.tolist() == [0, 1, 2] * 4
    again = EvenSampler(domain, 13, [0, 1, 2])
    again.restore(sampler.state())
    assert torch.equal(again(), sampler())


def test_partners_are_of_another_source() -> None:
    x = torch.zeros(1)
    for step in range(20):
        order = draws.partners(12, 3, step, x)
        assert sorted(order.tolist()) == list(range(12)) and bool((order % 3 != torch.arange(12) % 3).all())
    assert bool((draws.partners(5, 1, 0, x) != torch.arange(5)).all()) and draws.partners(1, 1, 0, x).tolist() == [0]


@pytest.mark.parametrize(
    ("name", "off"),
    [
        ("irm", {"trade_off": 0.0}),
        ("vrex", {"trade_off": 0.0}),
        ("dg_coral", {"trade_off": 0.0}),
        ("dg_dann", {"trade_off": 0.0}),
        ("fishr", {"trade_off": 0.0}),
        ("mixstyle", {"chance": 0.0}),
    ],
)
def test_switched_off_a_method_is_erm(name: str, off: dict[str, float]) -> None:
    erm, none, default = state_of("erm"), state_of(name, **off), state_of(name)
    assert all(torch.equal(none[k], v) for k, v in erm.items())
    assert not all(torch.equal(default[k], v) for k, v in erm.items())


# -- formulas ---------------------------------------------------------------------------------------------------------


def test_the_irm_penalty_is_a_product_of_slopes() -> None:
    scores, y, d = rows(14)
    found = ops.irm_penalty(scores, y, one_hot(d, 3, F64))
    for m in range(3):
        mine, labels = scores[d == m], y[d == m]
        scale = torch.ones((), dtype=F64, requires_grad=True)
        slopes = [
            torch.autograd.grad(cross_entropy(mine[k::2] * scale, labels[k::2]), scale, create_graph=True)[0]
            for k in (0, 1)
        ]
        assert float(found[m]) == pytest.approx((slopes[0] * slopes[1]).item(), rel=1e-9)


def test_group_weights_follow_the_losses() -> None:
    shares, q = SourceWeights(3).double(), np.full(3, 1 / 3)
    for step in range(4):
        e = np.abs(np.random.default_rng(step).normal(size=3))
        found = shares(torch.from_numpy(e), torch.ones(3, dtype=F64), 0.3)
        q = q * np.exp(0.3 * e)
        q /= q.sum()
        assert found.numpy() == pytest.approx(q, rel=1e-6)
    shares.eval()
    shares(torch.ones(3, dtype=F64), torch.ones(3, dtype=F64), 5.0)
    assert shares.q.numpy() == pytest.approx(q, rel=1e-6)


def test_coral_over_sources_is_a_mean_over_pairs() -> None:
    f, d = drawn(13, 5), torch.arange(13) % 3
    parts = [f[d == m].numpy() for m in range(3)]
    expected = np.mean(
        [
            np.mean((a.mean(0) - b.mean(0)) ** 2) + np.mean((np.cov(a.T) - np.cov(b.T)) ** 2)
            for a, b in combinations(parts, 2)
        ]
    )
    assert float(ops.pairwise_coral(f, one_hot(d, 3, F64))) == pytest.approx(expected, rel=1e-9)
    assert float(ops.pairwise_coral(f, one_hot(d, 4, F64))) == pytest.approx(expected, rel=1e-9), "a source is missing"


def test_head_gradients_and_their_variances_are_those_of_autograd() -> None:
    _, y, d = rows(9, 3, 4)
    f, head = drawn(9, 5), nn.Linear(5, 4, dtype=F64)
    expected = []
    for i in range(9):
        loss = cross_entropy(head(f[i : i + 1]), y[i : i + 1])
        w, b = torch.autograd.grad(loss, [head.weight, head.bias])
        expected.append(torch.cat([w.reshape(-1), b]))
    g = ops.head_gradients(f, head(f), y)
    assert torch.allclose(g, torch.stack(expected), atol=1e-12)
    v, there = ops.gradient_variances(g, one_hot(d, 3, F64))
    assert there.tolist() == [1, 1, 1]
    assert torch.allclose(v[1], g[d == 1].var(0, unbiased=False), atol=1e-12)


def test_averages_of_variances_pass_the_new_gradient_on_at_its_size() -> None:
    held, new = SourceVariances(2, 3), torch.ones(2, 3, requires_grad=True)
    out = held(new, torch.tensor([1.0, 0.0]), 0.9)
    out[0].sum().backward()
    assert torch.allclose(new.grad[0], torch.ones(3)) and out[1].tolist() == [0, 0, 0]
    assert torch.allclose(held.v[0], torch.full((3,), 0.1))


def test_rsc_mutes_what_says_most() -> None:
    cls, n = METHODS.get("rsc"), 9
    net = build_net(NetSpec("none", (6,), "vector", 4, 0), 0, cls().build)
    f, y = drawn(n, 6).float(), torch.arange(n) % 4
    g = net.head.weight[y].detach().numpy()
    keep = (g < np.percentile(g, 100 * 2 / 3, axis=1, keepdims=True)).astype(np.float32)
    p = [net.head(z).softmax(1)[torch.arange(n), y].detach().numpy() for z in (f, f * torch.from_numpy(keep))]
    spared = p[0] - p[1] < np.percentile(p[0] - p[1], 100 * 2 / 3)
    keep[spared] = 1
    assert cls().kept(net, f, y).numpy().tolist() == keep.tolist()
    assert keep.min() == 0


def test_fish_steps_through_the_sources_and_goes_part_of_the_way() -> None:
    task = task_for(METHODS.get("fish"))
    recipe = replace(TINY, optimizer="sgd", lr=0.05, momentum=0.0, nesterov=False, steps=1)
    options = options_for(METHODS.get("fish"), recipe)

    def after(rate: float) -> dict[str, torch.Tensor]:
        return fit(create_method("fish", meta_rate=rate), task.seen(), options=options).predictor.state

    half, whole, start = after(0.5), after(1.0), after(0.0)
    for k in (k for k in half if k.startswith(("body.", "head.")) and half[k].is_floating_point()):
        assert torch.allclose(half[k], (start[k] + whole[k]) / 2, atol=1e-6)
    assert not torch.equal(start["head.weight"], whole["head.weight"])


# -- styles -----------------------------------------------------------------------------------------------------------


def test_style_of_maps_and_of_vectors() -> None:
    x = drawn(4, 3, 5, 5)
    mean, std = ops.style(x)
    assert mean.shape == (4, 3, 1, 1) and std[1, 2].item() == pytest.approx((x[1, 2].var() + 1e-5).sqrt().item())
    assert torch.allclose(ops.restyled(x, mean, std), x)
    flat = drawn(4, 7)
    assert ops.style(flat)[0][:, 0].tolist() == pytest.approx(flat.mean(1).tolist())


def test_mixed_maps_have_the_mixed_style_and_no_gradient_through_it() -> None:
    cls = METHODS.get("mixstyle")
    z, order, share = drawn(6, 3, 4, 4).requires_grad_(), torch.tensor([1, 2, 3, 4, 5, 0]), drawn(6).sigmoid()
    out = cls._mixed((order, share), z)
    mean, std = ops.style(z.detach())
    lam = share.reshape(6, 1, 1, 1)
    wanted = lam * mean + (1 - lam) * mean[order]
    assert torch.allclose(ops.style(out)[0], wanted, atol=1e-9)
    (grad,) = torch.autograd.grad(out.sum(), z)
    scale = (lam * std + (1 - lam) * std[order]) / std
    assert torch.allclose(grad, scale.expand_as(grad)), "mean and deviation are constants"
    assert cls._mixed(None, z) is z


@pytest.mark.parametrize("name", ["mixstyle", "sagnet"])
def test_styles_need_a_map_or_a_hidden_layer(name: str) -> None:
    task = task_for(METHODS.get(name))
    bare = Options(recipe=Recipe.named("digits", steps=2, bottleneck=0), backbone="none")
    with pytest.raises(DazooError, match="first hidden layer"):
        fit(create_method(name), task.seen(), options=bare)
    pictures = load_task("digits/upright+noisy->blurred", setting="generalisation", kind="image")
    small = Options(recipe=Recipe.named("digits", steps=2, batch=8, bottleneck=8), backbone="cnn")
    model = fit(create_method(name), pictures.seen(), options=small).predictor
    assert torch.equal(model.predict(pictures.target.x).scores, model.predict(pictures.target.x).scores)


def test_taps_act_inside_their_block_alone_and_copies_have_their_own() -> None:
    import copy

    net = build_net(NetSpec("cnn", (8, 8, 1), "image", 3, 8), 0, lambda w, c: {})
    layers = early_layers(net.body, "it")
    assert [channels(net.body, layer) for layer in layers] == [32, 64]
    net.add_module("taps", nn.ModuleList(map(Tap, layers)))
    x = torch.rand(5, 1, 8, 8)
    twin, plain = copy.deepcopy(net), net.body(x)
    with changed(net.taps, [torch.zeros_like, torch.zeros_like]):
        assert not torch.equal(net.body(x), plain) and torch.equal(twin.body(x), plain)
    assert torch.equal(net.body(x), plain)


def test_a_network_of_tokens_has_no_maps() -> None:
    body, backbone, model = nn.Module(), nn.Module(), nn.Module()
    model.patches = nn.Conv2d(3, 4, 2)
    model.blocks = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    backbone.model, body.backbone = model, backbone
    with pytest.raises(DazooError, match="feature maps"):
        early_layers(body, "mixstyle")
    model.blocks = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 5, 1), nn.Conv2d(5, 6, 1))
    assert [channels(body, layer) for layer in early_layers(body, "mixstyle")] == [4, 5]


def test_a_term_of_early_layers_is_not_called_inert() -> None:
    task = load_task("digits/upright+noisy->blurred", setting="generalisation", kind="image")
    options = Options(recipe=Recipe.named("digits", steps=6, batch=12, bottleneck=8), backbone="cnn")
    info = fit(create_method("sagnet", trade_off=5.0), task.seen(), options=options).info
    assert all(share > 0 for _, share in info["gradient_shares"]["even"]) and not info["findings"]


def test_the_style_network_moves_by_its_own_loss_alone() -> None:
    narrow, wide = (state_of("sagnet", trade_off=0.0, style_width=w) for w in (16, 64))
    assert all(torch.equal(narrow[k], v) for k, v in wide.items()), "at weight 0 it leaves body and head alone"
    assert not all(torch.equal(state_of("sagnet", style_width=16)[k], v) for k, v in narrow.items())


# -- SWAD -------------------------------------------------------------------------------------------------------------


def by_the_paper(losses: list[float], ns: int, ne: int, ratio: float) -> list[int] | None:
    """Segments of the valley, looking at all losses at once; None where it never begins."""
    for start in range(len(losses) - ns + 1):
        if losses[start] == min(losses[start : start + ns]):
            limit = np.mean(losses[start : start + ns]) * (1 + ratio)
            inside = []
            for j in range(start, len(losses)):
                if min(losses[j : j + ne]) > limit:
                    break
                inside.append(j)
            return inside
    return None


@pytest.mark.parametrize("seed", range(6))
def test_the_valley_is_that_of_the_paper_at_every_moment(seed: int) -> None:
    rng = np.random.default_rng(seed)
    losses = list(np.abs(np.linspace(3, -4, 24)) + 0.8 * rng.random(24))
    weights = torch.from_numpy(rng.normal(size=(24, 5)))
    state = valley.begun(weights[0])
    for i in range(24):
        state = valley.added(state, weights[i], torch.tensor(losses[i]), 3, 6, 0.3)
        inside = by_the_paper(losses[: i + 1], 3, 6, 0.3)
        expected = weights[i] if inside is None else weights[inside].mean(0)
        assert torch.allclose(valley.average(state), expected)
    assert len(state["pending"]) <= 6


def test_swad_predicts_by_averages_and_trains_as_erm() -> None:
    averaged, last = state_of("swad"), state_of("erm")
    assert not torch.equal(averaged["head.weight"], last["head.weight"])
    gap = max(float((averaged[k] - v).abs().max()) for k, v in last.items() if v.is_floating_point())
    assert gap < 0.1
