"""Parameter transfer: which parameters move and how far, penalties against slow transcriptions, limits."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

from dazoo.core.errors import DazooError
from dazoo.core.memo import Memo
from dazoo.core.setting import FEW_LABELS
from dazoo.engine.fit import fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import create_method
from dazoo.nets.parts.stoch_norm import StochNorm, stochastic
from dazoo.ops import transfer as ops
from tests.small import at, draw, small_batch, small_net
from tests.toys import TINY, options_for, toy_task

FEW = toy_task(FEW_LABELS)
PLAIN = Recipe.named("digits", optimizer="sgd", momentum=0.0, lr=0.05, steps=12, batch=16, bottleneck=8, few_steps=1)


def state(name, recipe=TINY, memo=None, seed=0, **hparams):
    """Tensors of a method fitted on the toy task, by name."""
    return fit(
        create_method(name, **hparams), FEW.seen(), seed=seed, options=options_for(name, recipe), memo=memo or Memo()
    ).predictor.state


def source_state(recipe=TINY):
    seen = toy_task().seen()
    few = FEW.seen()
    assert torch.equal(seen.source.x, few.source.x)
    return fit(create_method("source_only"), seen, seed=0, options=options_for("source_only", recipe)).predictor.state


def moved(a, b, part):
    """Whether (any, all) tensors of a part differ."""
    gone = [
        not torch.equal(a[k], b[k]) for k in a if k.startswith(part) and "num_batches" not in k and "scale" not in k
    ]
    assert gone
    return any(gone), all(gone)


# -- groups of parameters ------------------------------------------------------------------------------------------


def test_fine_tuning_starts_from_the_source_model_and_moves_every_part():
    start, end = source_state(), state("fine_tune")
    for part in ("body.backbone", "body.bottleneck", "head"):
        assert moved(start, end, part) == (True, True)


def test_groups_move_at_their_rates():
    """One plain gradient step: the displacement of the body is its rate times that of the same step at rate 1."""
    start = source_state(PLAIN)
    full, tenth, fixed = (
        state("fine_tune", PLAIN, tuned_lr=1.0),
        state("fine_tune", PLAIN, tuned_lr=0.1),
        state("fine_tune", PLAIN, tuned_lr=1.0, fix_backbone=True),
    )
    for key in (k for k in start if k.startswith("body.") and k.endswith(("weight", "bias"))):
        step = full[key] - start[key]
        assert step.abs().max() > 1e-4
        torch.testing.assert_close(tenth[key] - start[key], 0.1 * step, rtol=1e-3, atol=1e-7)
        if key.startswith("body.backbone"):
            assert torch.equal(fixed[key], start[key])
        else:
            torch.testing.assert_close(fixed[key], full[key])
    torch.testing.assert_close(tenth["head.weight"], full["head.weight"])


def test_a_new_head_is_not_the_sources():
    start = source_state(PLAIN)
    kept, new = state("fine_tune", PLAIN), state("fine_tune", PLAIN, new_head=True)
    gap = (start["head.weight"] - kept["head.weight"]).norm(), (start["head.weight"] - new["head.weight"]).norm()
    assert gap[1] > 5 * gap[0] > 0


def test_the_probe_keeps_the_body_and_learns_a_new_head():
    start, end = source_state(), state("linear_probe")
    assert moved(start, end, "body.") == (False, False) and moved(start, end, "head")[1]


def test_the_probe_reaches_logistic_regression():
    recipe = Recipe.named("digits", lr=0.05, steps=12, few_steps=3000, batch=9, bottleneck=8, weight_decay=0.01)
    result = fit(
        create_method("linear_probe"), FEW.seen(), seed=0, options=options_for("linear_probe", recipe), memo=Memo()
    ).predictor
    few = FEW.seen().few
    f = result.predict(few.x).features.double()
    w, b = (result.state[f"head.{k}"].double().requires_grad_() for k in ("weight", "bias"))
    # Adam adds weight_decay * parameter to the gradient: the optimum of the loss plus half of it times the squares
    loss = torch.nn.functional.cross_entropy(f @ w.T + b, few.y) + 0.005 * (w.square().sum() + b.square().sum())
    assert all(g.abs().max() < 1e-4 for g in torch.autograd.grad(loss, (w, b)))


def test_lp_ft_starts_at_the_probe():
    memo = Memo()
    probe, end = state("linear_probe", PLAIN, memo), state("lp_ft", PLAIN, memo, tuned_lr=1e-12)
    for key in (k for k in probe if k.startswith(("body.", "head."))):
        torch.testing.assert_close(end[key], probe[key], rtol=0, atol=1e-9)
    full, tenth = (state("lp_ft", PLAIN, memo, tuned_lr=r) for r in (1.0, 0.1))
    for key in ("head.weight", "body.bottleneck.0.weight", "body.backbone.layers.0.weight"):
        torch.testing.assert_close(tenth[key] - probe[key], 0.1 * (full[key] - probe[key]), rtol=1e-3, atol=1e-7)
        assert (full[key] - probe[key]).abs().max() > 1e-4


def test_bitfit_moves_biases_and_head_only():
    start, end = source_state(), state("bitfit")
    for key in (k for k in start if k.startswith(("body.", "head.")) and "scale" not in k):
        assert torch.equal(start[key], end[key]) == (key.startswith("body.") and not key.endswith("bias")), key


def test_layers_are_released_from_the_top():
    method = create_method("gradual_unfreeze", groups=3, until=0.9)
    net = small_net(method)
    layers = [f"body.backbone.layers.{i}" for i in (0, 2)] + ["body.bottleneck.0"]
    resting = {f: method.resting(net, at(f)) for f in (0.0, 0.29, 0.31, 0.59, 0.61, 1.0)}
    every = frozenset(f"{name}.{p}" for name in layers for p in ("weight", "bias"))
    assert resting[0.0] == resting[0.29] == every
    assert resting[0.31] == resting[0.59] == frozenset(n for n in every if n.startswith(layers[0]))
    assert resting[0.61] == resting[1.0] == frozenset()


def test_resting_layers_do_not_move_even_with_weight_decay():
    recipe = Recipe.named("digits", steps=12, few_steps=4, batch=16, bottleneck=8, weight_decay=0.1)
    start = source_state(recipe)
    end = state("gradual_unfreeze", recipe, groups=2, until=1.0)
    assert moved(start, end, "body.") == (True, True)
    short = Recipe.named("digits", steps=12, few_steps=1, batch=16, bottleneck=8, weight_decay=0.1)
    first = state("gradual_unfreeze", short, groups=2, until=1.0)
    assert moved(start, first, "body.") == (False, False) and moved(start, first, "head")[1]


# -- weight 0 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "zero"),
    [
        ("l2_sp", {"trade_off": 0.0}), ("delta", {"trade_off": 0.0}), ("bss", {"trade_off": 0.0}),
        ("knowledge_distillation", {"trade_off": 0.0}), ("lwf", {"trade_off": 0.0, "new_head": False}),
        ("co_tuning", {"trade_off": 0.0, "new_head": False}), ("wise_ft", {"mix": 1.0}),
        ("bi_tuning", {"trade_off": 0.0, "projection_weight": 0.0}),
    ],
)  # fmt: skip
def test_weight_zero_is_fine_tuning_bit_for_bit(name, zero):
    memo = Memo()
    plain, off = state("fine_tune", memo=memo), state(name, memo=memo, **zero)
    on = state(name, memo=memo, **{k: 0.3 for k in zero if k != "new_head"})
    keys = [k for k in plain if k.startswith(("body.", "head."))]
    assert all(torch.equal(plain[k], off[k]) for k in keys)
    assert not all(torch.equal(plain[k], on[k]) for k in keys)


# -- penalties -----------------------------------------------------------------------------------------------------


def shifted(name, **hparams):
    """A net that has moved away from where it started, and its method."""
    method = create_method(name, **hparams)
    net = small_net(method)
    with torch.no_grad():
        for i, p in enumerate(net.body.parameters()):
            p.add_(0.1 * draw(*p.shape, seed=i))
        net.head.weight.add_(0.1)
    return method, net


def numpy_probs(scores):
    e = np.exp(scores.detach().numpy())
    return e / e.sum(1, keepdims=True)


def test_l2_sp_penalises_the_distance_from_the_start():
    method, net = shifted("l2_sp", trade_off=0.3)
    out = method.losses(net, small_batch(), at(0.5))
    size = sum(
        float(((p - q) ** 2).sum().detach())
        for part in ("body", "head")
        for p, q in zip(getattr(net, part).parameters(), getattr(net.origin, part).parameters())
    )
    assert size > 0.1 and out["start"].item() == pytest.approx(0.15 * size, rel=1e-10)
    (grad,) = torch.autograd.grad(out["start"], net.head.weight)
    torch.testing.assert_close(grad, 0.3 * (net.head.weight - net.origin.head.weight).detach())
    method, net = shifted("l2_sp", trade_off=0.3, head_weight=0.7, new_head=True)
    out = method.losses(net, small_batch(), at(0.5))
    squares = float((net.head.weight**2).sum().detach() + (net.head.bias**2).sum().detach())
    assert out["head"].item() == pytest.approx(0.35 * squares, rel=1e-10)


def test_channel_attention_matches_loops():
    f, w, b = draw(6, 4), draw(3, 4, seed=1), draw(3, seed=2)
    y = torch.tensor([0, 1, 2, 2, 1, 0])

    def loss(features):
        p = numpy_probs(features @ w.T + b)
        return np.mean([-math.log(p[i][y[i]]) for i in range(6)])

    rises = []
    for j in range(4):
        off = f.clone()
        off[:, j] = 0
        rises.append(math.exp(loss(off) - loss(f)))
    expected = torch.tensor([r / sum(rises) for r in rises], dtype=torch.float64)
    torch.testing.assert_close(ops.channel_attention(f, w, b, y), expected)


def test_delta_weighs_the_features_that_moved():
    method, net = shifted("delta", trade_off=0.5)
    a = torch.softmax(draw(7), 0)
    b = small_batch(memory={"attention": a})
    out = method.losses(net, b, at(0.5))
    f, old = (body(b.xf).detach() for body in (net.body, net.origin.body))
    value = sum(a[j] * (f[i, j] - old[i, j]) ** 2 for i in range(6) for j in range(7)) / 6
    assert out["features"].item() == pytest.approx(0.5 * value.item(), rel=1e-10) and value > 0


def test_smallest_singular_values_match_numpy_and_pass_over_repeated_samples():
    f = draw(6, 9)
    s = np.linalg.svd(f.numpy(), compute_uv=False)
    assert ops.smallest_singular(f, 2).item() == pytest.approx((s[-2:] ** 2).sum(), rel=1e-9)
    twice = torch.cat([f, f[:2]])
    s = np.linalg.svd(twice.numpy(), compute_uv=False)
    assert s[6] < 1e-12 and ops.smallest_singular(twice, 1).item() == pytest.approx(s[5] ** 2, rel=1e-9)
    g = twice.clone().requires_grad_()
    (grad,) = torch.autograd.grad(ops.smallest_singular(g, 1), g)
    assert 0 < grad.abs().max() < 10


def test_the_relation_is_the_mean_prediction_per_class():
    p, y = torch.softmax(draw(7, 3), 1), torch.tensor([0, 0, 1, 1, 1, 0, 1])
    out = ops.label_relation(p, y, 3)
    for c in (0, 1):
        torch.testing.assert_close(out[c], torch.stack([p[i] for i in range(7) if y[i] == c]).mean(0))
    assert out[2].abs().sum() == 0


def test_co_tuning_matches_loops():
    method, net = shifted("co_tuning", trade_off=2.3)
    relation = torch.softmax(draw(3, 3), 1)
    b = small_batch(memory={"relation": relation})
    out = method.losses(net, b, at(0.5))
    p = numpy_probs(net.source_head(net.body(b.xf)))
    value = np.mean([-sum(relation[b.yf[i], c].item() * math.log(p[i][c]) for c in range(3)) for i in range(6)])
    assert out["source"].item() == pytest.approx(2.3 * value, rel=1e-10)
    assert net.source_head is not net.head and not torch.equal(net.source_head.weight, net.head.weight)


def test_lwf_matches_loops_and_is_least_where_answers_are_kept():
    method, net = shifted("lwf", trade_off=0.7, temperature=2.0)
    b = small_batch()
    out = method.losses(net, b, at(0.5))["old"]
    old, new = numpy_probs(net.origin(b.xf)[0] / 2), numpy_probs(net.source_head(net.body(b.xf)) / 2)
    assert out.item() == pytest.approx(0.7 * np.mean([-sum(o * np.log(n)) for o, n in zip(old, new)]), rel=1e-10)
    net.body.load_state_dict(net.origin.body.state_dict())
    kept = method.losses(net, b, at(0.5))["old"]
    assert kept < out
    assert all(g.abs().max() < 1e-12 for g in torch.autograd.grad(kept, list(net.source_head.parameters())))


def test_distillation_matches_loops_and_vanishes_at_the_teacher():
    method, net = shifted("knowledge_distillation", trade_off=0.5, temperature=4.0)
    b = small_batch()
    out = method.losses(net, b, at(0.5))["soft"]
    p, q = numpy_probs(net.teacher(b.xt)[0] / 4), numpy_probs(net.head(net.body(b.xt)) / 4)
    value = np.mean([sum(pi * (np.log(pi) - np.log(qi))) for pi, qi in zip(p, q)])
    assert out.item() == pytest.approx(0.5 * 16 * value, rel=1e-9) and value > 0
    same = draw(5, 3).requires_grad_()
    loss = ops.distillation(same, same.detach(), 4.0)
    assert loss.item() == pytest.approx(0, abs=1e-12) and torch.autograd.grad(loss, same)[0].abs().max() < 1e-12


def test_contrasts_match_loops():
    y = torch.tensor([0, 1, 1, 2, 0])
    z, k, w = (torch.nn.functional.normalize(draw(*s, seed=i), dim=1) for i, s in enumerate([(5, 4), (5, 4), (3, 4)]))
    samples, classes = [], []
    for i in range(5):
        s = [math.exp(float(z[i] @ k[j]) / 0.2) for j in range(5)]
        positive = [j for j in range(5) if y[j] == y[i]]
        samples.append(-np.mean([math.log(s[j] / sum(s)) for j in positive]))
        among = [math.exp(float(w[y[i]] @ (z[i] if j == i else k[j])) / 0.2) for j in range(5)]
        classes.append(-np.mean([math.log(among[j] / sum(among)) for j in positive]))
    assert ops.categorical_contrast(z, k, y, 0.2).item() == pytest.approx(np.mean(samples), rel=1e-10)
    assert ops.class_contrast(z, k, w, y, 0.2).item() == pytest.approx(np.mean(classes), rel=1e-10)


def test_bi_tuning_keys_follow_and_have_no_gradient():
    method, net = shifted("bi_tuning", momentum=0.9)
    b = small_batch()
    before = net.key.body.bottleneck[0].weight.clone()
    out = method.losses(net, b, at(0.5))
    keys = [*net.key.parameters(), *net.key_projector.parameters()]
    assert not any(p.requires_grad for p in keys) and out["classes"] > 0 and out["samples"] > 0
    with torch.no_grad():
        method.after_step(net, b, at(0.5))
    torch.testing.assert_close(
        net.key.body.bottleneck[0].weight, 0.9 * before + 0.1 * net.body.bottleneck[0].weight.detach()
    )


def test_wise_ft_is_between_the_source_model_and_fine_tuning():
    memo = Memo()
    start, tuned = source_state(), state("fine_tune", memo=memo)
    none, half = state("wise_ft", memo=memo, mix=0.0), state("wise_ft", memo=memo, mix=0.25)
    for key in (k for k in start if k.startswith(("body.", "head."))):
        assert torch.equal(none[key], start[key])
        torch.testing.assert_close(half[key], 0.75 * start[key] + 0.25 * tuned[key], rtol=1e-5, atol=1e-7)


# -- normalisation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 3)])
def test_stoch_norm_draws_between_two_kinds_of_statistics(shape):
    x = 2.0 * draw(*shape) + 1.0
    kind = torch.nn.BatchNorm1d if x.ndim == 2 else torch.nn.BatchNorm2d
    origin = kind(4).double()
    with torch.no_grad():
        origin.weight.copy_(draw(4, seed=1))
        origin.bias.copy_(draw(4, seed=2))
        origin.running_mean.copy_(draw(4, seed=3))
    still = kind(4).double().eval()
    still.load_state_dict(origin.state_dict())
    moving, batch = still(x), origin(x)
    view = (1, 4, *([1] * (x.ndim - 2)))

    def made(p):
        holder = torch.nn.Sequential(kind(4).double())
        holder[0].load_state_dict(still.state_dict())
        stochastic(holder, p)
        assert isinstance(holder[0], StochNorm)
        return holder

    torch.testing.assert_close(made(0.0)(x), moving)
    torch.testing.assert_close(made(1.0)(x), batch)
    torch.manual_seed(0)
    mixed = made(0.5)
    out = mixed(x)
    torch.manual_seed(0)
    s = (torch.rand(4) >= 0.5).double().view(view)
    assert 0 < s.sum() < 4
    torch.testing.assert_close(out, (1 - s) * moving + s * batch)
    torch.testing.assert_close(mixed[0].running_mean, origin.running_mean)
    torch.testing.assert_close(mixed.eval()(x), origin.eval()(x))


def test_stoch_norm_refuses_a_network_without_batch_normalisation():
    with pytest.raises(DazooError, match="norm='batch'"):
        fit(create_method("stoch_norm"), FEW.seen(), options=options_for("fine_tune"))


# -- low rank ------------------------------------------------------------------------------------------------------


def test_lora_adds_a_low_rank_update_and_keeps_the_weights():
    pytest.importorskip("peft", reason="the optional library peft is not installed")
    start, end = source_state(), state("lora", rank=2, alpha=6)
    key = "body.bottleneck.0"
    assert torch.equal(end[f"{key}.base_layer.weight"], start[f"{key}.weight"])
    a, b = end[f"{key}.lora_A.default.weight"], end[f"{key}.lora_B.default.weight"]
    assert a.shape[0] == b.shape[1] == 2 and b.abs().max() > 0
    result = fit(create_method("lora", rank=2, alpha=6), FEW.seen(), seed=0, options=options_for("lora"), memo=Memo())
    net = result.predictor.net
    layer = net.body.bottleneck[0]
    x = torch.randn(4, layer.base_layer.in_features)
    update = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    expected = x @ (layer.base_layer.weight + 3.0 * update).T + layer.base_layer.bias
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_lora_starts_as_the_source_model():
    pytest.importorskip("peft", reason="the optional library peft is not installed")
    method = create_method("lora")
    plain, net = small_net(create_method("fine_tune")), small_net(method)
    x = small_batch().xf
    torch.testing.assert_close(net.head(net.body(x)), plain.head(plain.body(x)))
    free = {n for n, p in net.named_parameters() if p.requires_grad}
    assert free == {n for n, _ in net.named_parameters() if "lora_" in n or n.startswith("head.")}


def test_lora_without_peft_is_a_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(DazooError, match="pip install"):
        small_net(create_method("lora"))
