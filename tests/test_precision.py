"""Half precision stays inside the parts of a network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dazoo.contracts import toys
from dazoo.engine.fit import Options, fit, fit_group
from dazoo.engine.precision import parts_in
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import Batch, GradientMethod, Progress, create_method
from dazoo.nets.net import NetSpec, build_net

SPEC = NetSpec("mlp", (6,), "vector", 3, 8, norm="batch", pretrained=False)
HALF = Recipe.named("digits", precision="bf16", steps=6, batch=8, bottleneck=8)


def batch() -> Batch:
    gen = torch.Generator().manual_seed(0)
    xs, xt = torch.randn(8, 6, generator=gen), torch.randn(8, 6, generator=gen) + 0.01
    rows = torch.arange(8)
    return Batch(xs, rows % 3, torch.zeros(8, dtype=torch.int64), xt, rows, rows)


@pytest.mark.parametrize("name", ["dan", "deep_coral", "jan", "dann", "mcc", "deep_jdot"])
def test_losses_are_computed_in_float32_from_features_in_half_precision(name: str) -> None:
    method = create_method(name)
    assert isinstance(method, GradientMethod)
    net = build_net(SPEC, 0, method.build)
    method.setup(net)
    b, t = batch(), Progress(0.5, 5, 10, 0.8)
    outputs: list[tuple[nn.Module, Tensor]] = []
    for part in net.children():
        part.register_forward_hook(lambda module, args, out: outputs.append((module, out)))
    exact = method.losses(net, b, t)
    precise = [out for _, out in outputs]
    outputs.clear()
    with parts_in(net, "cpu", torch.bfloat16):
        half = method.losses(net, b, t)
    assert all(v.dtype == torch.float32 for v in half.values())
    rounded = [out for _, out in outputs]
    assert all(out.dtype == torch.float32 for out in rounded)
    assert all(torch.equal(out, out.bfloat16().float()) for out in rounded)  # the parts did compute in half precision
    assert not all(torch.equal(a, c) for a, c in zip(precise, rounded))
    # the very same losses in float32 of those outputs: nothing behind the parts was rounded
    replay = iter(rounded)
    handles = [part.register_forward_hook(lambda module, args, out: next(replay)) for part in net.children()]
    again = method.losses(net, b, t)
    assert all(torch.equal(half[k], again[k]) for k in half) and half.keys() == exact.keys()
    assert all(handle is not None for handle in handles)


def test_parts_are_as_before_after_the_block_even_where_it_fails() -> None:
    net = build_net(SPEC, 0, lambda width, n: {"many": nn.ModuleList([nn.Linear(width, n)])})
    with pytest.raises(ValueError, match="stop"), parts_in(net, "cpu", torch.bfloat16):
        assert "forward" in net.many[0].__dict__ and "forward" in net.body.__dict__
        raise ValueError("stop")
    assert not any("forward" in module.__dict__ for module in net.modules())


def test_a_small_distance_survives_half_precision() -> None:
    task = toys.toy_task()
    whole = fit(create_method("dan"), task.seen(), options=Options(recipe=Recipe.named("digits", steps=6, batch=8)))
    half = fit(
        create_method("dan"),
        task.seen(),
        options=Options(recipe=Recipe.named("digits", precision="bf16", steps=6, batch=8)),
    )
    for name, curve in whole.curves.items():
        assert [v for _, v in half.curves[name]] == pytest.approx([v for _, v in curve], rel=0.1, abs=0.02)


def test_groups_train_in_half_precision_too() -> None:
    task = toys.toy_task()
    methods = [create_method("dann", trade_off=w) for w in (0.5, 1.0)]
    found = fit_group(methods, task.seen(), seeds=[0, 1], options=Options(recipe=HALF))  # type: ignore[arg-type]
    for method, seed, one in zip(methods, (0, 1), found):
        alone = fit(method, task.seen(), seed=seed, options=Options(recipe=HALF))
        for name, curve in alone.curves.items():
            assert [v for _, v in one.curves[name]] == pytest.approx([v for _, v in curve], rel=0.05, abs=0.02)
