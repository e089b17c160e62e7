"""Passes beside the one that the losses are about normalise by batch statistics and leave the running ones alone."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.methods.base import METHODS, Batch, Progress, create_method
from dazoo.nets.net import NetSpec, build_net
from dazoo.nets.parts.domain_norm import norms_of, still_norms

SPEC = NetSpec(backbone="mlp", shape=(6,), kind="vector", n_classes=3, bottleneck=5, norm="batch")
PASSES = {
    "vada": lambda net, b: net.features(b.xs, b.xt),
    "dirt_t": lambda net, b: net.body(b.xt),
    "adamatch": lambda net, b: net.body(torch.cat([b.xs, b.xs_strong, b.xt, b.xt_strong])),
}


def batch() -> Batch:
    gen = torch.Generator().manual_seed(0)
    xs, xt, ss, st = torch.randn(4, 8, 6, generator=gen)
    rows = torch.arange(8)
    return Batch(xs, rows % 3, rows * 0, xt + 1, rows, rows, xs_strong=ss, xt_strong=st + 1)


def statistics(net: torch.nn.Module) -> list[torch.Tensor]:
    return [v.clone() for m in norms_of(net.body).values() for v in (m.running_mean, m.running_var)]


@pytest.mark.parametrize("name", PASSES)
def test_the_running_statistics_are_those_of_the_main_pass(name):
    method = create_method(name)
    net = build_net(SPEC, 0, method.build)
    method.setup(net)
    net.train()
    plain, start = copy.deepcopy(net), statistics(net)
    PASSES[name](plain, batch())
    method.losses(net, batch(), Progress(0.5, 5, 10, 0.8))
    assert all(torch.equal(a, b) for a, b in zip(statistics(net), statistics(plain)))
    assert any(not torch.equal(a, b) for a, b in zip(statistics(net), start))


def test_still_norms_use_the_batch_and_are_undone():
    net = build_net(SPEC, 0, lambda width, n: {}).train()
    x = batch().xs
    before, moved = statistics(net), net.body(x)
    after = statistics(net)
    with still_norms(net.body):
        assert torch.equal(net.body(x), moved)
    assert all(torch.equal(a, b) for a, b in zip(statistics(net), after))
    assert not torch.equal(before[0], after[0]) and all(m.momentum == 0.1 for m in norms_of(net.body).values())


def test_a_revision_moves_the_keys_of_its_method_alone(monkeypatch):
    suite = Suite.of({"dataset": "digits", "tasks": "upright->rotated", "methods": ["dan", "mcc", "dan+mcc"],
                      "recipe": "digits", "backbone": "mlp"})  # fmt: skip
    before = {s.method: (s.key, s.variant) for s in make_plan(suite).specs}
    monkeypatch.setattr(METHODS.get("mcc"), "revision", 1)
    specs = make_plan(suite).specs
    after = {s.method: (s.key, s.variant) for s in specs}
    assert after["dan"] == before["dan"]
    assert after["mcc"][0] != before["mcc"][0] and after["mcc"][1] != before["mcc"][1]
    changed = next(s for s in specs if s.method == "mcc")
    assert changed.to_json()["revision"] == 1 and replace(changed, revision=0).key == before["mcc"][0]
