"""Two processes train one run: the parameters of a single process, whatever the loss does with its batch."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from dazoo.core.errors import DazooError
from dazoo.data.registry import load_task
from dazoo.engine import parallel
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import create_method
from dazoo.nets.backbones.none import Flat

METHODS = ("source_only", "dann", "deep_coral", "mcc")
# SGD: Adam divides by the root of gradients that may be zero, and would magnify the rounding of one that is
RECIPE = Recipe.named("tllib", steps=3, batch=7, augment="none", backbone_lr=1.0, body_norm="batch", bottleneck=8)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without torch.distributed")
def test_two_processes_give_the_parameters_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = load_task("digits/upright->noisy", kind="image").seen()
    one = Options(recipe=RECIPE, backbone="cnn", checkpoints=2)
    two = dataclasses.replace(one, processes=2)
    looked, cut, gather = [], [], parallel.Group.gather
    monkeypatch.setattr(
        parallel.Group, "gather", lambda group, part, n: (cut.append((len(part), n)), gather(group, part, n))[1]
    )
    start = fit(create_method("source_only"), seen, options=dataclasses.replace(one, recipe=IDLE))
    try:
        for name in METHODS:
            alone = fit(create_method(name), seen, options=one)
            shared = fit(create_method(name), seen, options=two, on_checkpoint=lambda c: looked.append(c.step))
            assert shared.info["processes"] == 2 and "processes" not in alone.info
            assert any(isinstance(m, nn.BatchNorm2d) for m in alone.predictor.net.body.backbone.modules())
            moved = 0.0
            for key, value in alone.predictor.state.items():
                assert torch.allclose(value, shared.predictor.state[key], rtol=1e-5, atol=1e-5), (name, key)
                if "backbone" in key and "weight" in key:
                    moved = max(moved, float((value - start.predictor.state[key]).abs().max()))
            assert moved > 1e-3, "training moves them further than they may differ"
            assert alone.curves.keys() == shared.curves.keys()
        assert len(looked) == 2 * len(METHODS) and set(cut) == {(3, 7), (7, 14)}, "each takes its share of every batch"
    finally:
        for team in list(parallel._TEAMS.values()):
            team.close()


IDLE = dataclasses.replace(RECIPE, lr=0.0)


def test_statistics_of_one_process_are_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda t: None)
    x = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).float()
    a, b = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    u, v = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours, theirs = parallel.synced(a, u), b(v)
    (ours.pow(3).sum() + a.weight.sum()).backward()
    (theirs.pow(3).sum() + b.weight.sum()).backward()
    assert torch.allclose(ours, theirs, atol=1e-6) and torch.allclose(a.running_var, b.running_var, atol=1e-6)
    assert torch.allclose(u.grad, v.grad, atol=1e-5) and torch.allclose(a.weight.grad, b.weight.grad, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)), "draws would differ between processes"),
        (nn.Sequential(nn.Linear(2, 2), nn.SyncBatchNorm(2)), "sees the rows of one process only"),
    ],
)
def test_a_backbone_whose_rows_or_draws_meet_is_refused(module: nn.Module, why: str) -> None:
    net = nn.Module()
    net.body = nn.Module()
    net.body.backbone = module
    with pytest.raises(DazooError, match=f"{why}; train it by one process"):
        parallel.Group(0, 2).spread(net, "a_method")


def test_a_method_that_acts_inside_the_backbone_is_refused_and_one_without_parameters_shares_nothing() -> None:
    net = nn.Module()
    net.body = nn.Module()
    net.body.backbone = nn.Sequential(nn.Linear(2, 2))
    net.body.backbone[0].register_forward_hook(lambda m, given, out: out)
    with pytest.raises(DazooError, match="'a_method' acts on layers inside the backbone"):
        parallel.Group(0, 2).spread(net, "a_method")
    net.body.backbone = Flat(2)
    assert not parallel.Group(0, 2).spread(net, "a_method")


def test_shares_of_rows_are_all_rows() -> None:
    for n in (2, 7, 8):
        parts = [parallel.Group(r, 3).rows(n) for r in range(3)]
        assert [i for p in parts for i in range(n)[p]] == list(range(n))
