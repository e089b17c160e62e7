"""Looks at runs while they train: planted faults are named, clean runs are not, and no bit of a result changes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dazoo.core.paper import Paper
from dazoo.data.task import Task
from dazoo.engine import train
from dazoo.engine.fit import FitResult, Options, fit, fit_group
from dazoo.engine.recipe import Recipe
from dazoo.engine.watch import Looks, answers, apparent, check, gradient_shares, look_steps, one_answer, probed
from dazoo.methods.adversarial.dann import DANN
from dazoo.methods.base import Batch, GradientMethod, Progress, create_method
from dazoo.nets.net import Net
from tests.toys import fit_toy, same

RECIPE = Recipe.named("frozen", steps=60, batch=32, bottleneck=16, norm="none")


def shifted(move: float = 1.0, seed: int = 0) -> Task:
    rng = np.random.default_rng(seed)
    y = np.arange(120) % 2
    xs, xt = (rng.standard_normal((120, 6)) + 2.0 * np.eye(2, 6)[y] for _ in range(2))
    return Task.from_arrays(xs, y, xt + move * np.eye(1, 6, 5), y)


def trained(method: GradientMethod, move: float = 1.0, seed: int = 0, recipe: Recipe = RECIPE) -> FitResult:
    return fit(method, shifted(move, seed).seen(), seed=seed, options=Options(recipe=recipe))


def kinds(result: FitResult) -> set[tuple[str, str]]:
    return {(f["kind"], f["subject"]) for f in result.info["findings"]}


@dataclass(frozen=True)
class Planted(GradientMethod):
    """Source-only with a fault."""

    name, family, paper = "planted", "custom", Paper("-", "-", 2026, "https://example.org")


class Unconnected(Planted):
    """A term that no parameter reaches."""

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        gap = (fs.mean(0) - ft.mean(0)).square().sum()
        return {"cls": net.criterion(net.head(fs), b.ys), "gap": gap.detach()}


class Faint(Planted):
    """A term whose weight is far too small."""

    weight = 1e-6

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        gap = (fs.mean(0) - ft.mean(0)).square().sum()
        return {"cls": net.criterion(net.head(fs), b.ys), "gap": self.weight * gap}


class Heard(Faint):
    weight = 1.0


class Blind(DANN):
    """A discriminator that never moves."""

    def part_lr(self) -> dict[str, float]:
        return {"disc": 0.0}

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        parts = super().build(width, n_classes)
        for p in parts["disc"].parameters():
            p.data *= 0.3
        return parts


# -- planted faults -----------------------------------------------------------------------------------------------


def test_a_term_without_gradient_is_inert():
    assert kinds(trained(Unconnected())) == {("inert term", "gap")}
    result = trained(create_method("deep_coral", trade_off=0.1))
    assert not kinds(result) and set(result.info["gradient_shares"]) == {"cls", "coral"}


def test_a_term_of_hardly_any_weight_is_inert():
    result = trained(Faint())
    assert kinds(result) == {("inert term", "gap")}
    text = result.info["findings"][0]["text"]
    assert text.startswith("the loss term 'gap' has at most") and "5 looks" in text
    assert not kinds(trained(Heard()))


def test_a_discriminator_that_is_never_fooled_is_saturated():
    weak = replace(RECIPE, lr=0.1, steps=120)
    result = trained(create_method("dann", trade_off=0.05), move=20.0, recipe=weak)
    assert kinds(result) == {("saturated discriminator", "disc")}
    accuracy = [row[1] for row in result.info["discriminators"]["disc"]]
    assert min(accuracy) >= 0.98


def test_a_discriminator_that_does_not_move_is_blind():
    result = trained(Blind(trade_off=1.0), move=4.0)
    assert kinds(result) == {("blind discriminator", "disc")}
    assert all(abs(row[2] - math.log(2)) < 0.02 and row[3] > 0.75 for row in result.info["discriminators"]["disc"])


def test_discriminators_of_the_classes_are_judged_as_one():
    """MADA has one per class; GVB's stands behind a perceptron."""
    weak = replace(RECIPE, lr=0.1, steps=120)
    result = trained(create_method("mada", trade_off=0.05), move=20.0, recipe=weak)
    assert kinds(result) == {("saturated discriminator", "discs")}
    assert set(trained(create_method("gvb")).info["discriminators"]) == {"domain"}
    g, f, d = torch.rand(5, 3).softmax(1), torch.randn(5, 4), torch.randn(3, 5, 1)
    z, x = one_answer(d, g.T[:, :, None] * f)
    torch.testing.assert_close(x, f)
    torch.testing.assert_close(z[:, 0], (g * d[:, :, 0].T).sum(1))


@pytest.mark.parametrize("name", ["source_only", "dann", "cdan", "dan", "mcc", "adda", "mcc+dann", "mada", "gvb"])
def test_clean_runs_are_not_accused(name):
    for move in (0.0, 1.5):
        assert not trained(create_method(name), move).info["findings"]


def test_a_fooled_discriminator_is_not_blind():
    """Domains that are equal: its loss stays at log 2, and there is nothing to see."""
    result = trained(create_method("dann"), move=0.0)
    assert not kinds(result) and result.info["discriminators"]["disc"]
    assert np.mean([row[3] for row in result.info["discriminators"]["disc"]]) < 0.65


# -- no bit changes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dann", "mcd", "sdat", "wdgrl", "vada", "bss", "cdan+mcc", "mada"])
def test_looking_changes_no_bit(name, monkeypatch):
    seen = fit_toy(name)
    monkeypatch.setattr(train, "look_steps", lambda steps: frozenset())
    plain = fit_toy(name)
    assert same(seen, plain) and seen.curves == plain.curves
    assert seen.info["gradient_shares"] and not plain.info["gradient_shares"]


@pytest.mark.parametrize("name", ["dann", "mada"])
def test_a_stack_is_looked_at_like_its_members(name):
    task, options = shifted(), Options(recipe=RECIPE)
    methods = [create_method(name, trade_off=w) for w in (0.1, 1.0)]
    stack = fit_group(methods, task.seen(), seeds=[0, 1], options=options)
    for one, (method, seed) in zip(stack, zip(methods, (0, 1))):
        alone = fit(method, task.seen(), seed=seed, options=options)
        for what in ("gradient_shares", "discriminators"):
            assert one.info[what].keys() == alone.info[what].keys()
            for key, rows in alone.info[what].items():
                np.testing.assert_allclose(one.info[what][key], rows, rtol=1e-3, atol=1e-4)


# -- the parts ----------------------------------------------------------------------------------------------------


def test_looks_are_spread_over_the_run():
    assert sorted(look_steps(100)) == [10, 30, 50, 70, 90]
    assert sorted(look_steps(2)) == [0, 1] and len(look_steps(12)) == 5


def test_shares_are_those_of_the_gradient_norms():
    w, v = torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)
    terms = {"a": 3 * w.sum(), "b": w.sum() + 100 * v.sum(), "c": 5 * v.sum(), "d": torch.ones(())}

    def norm(grads):
        return torch.linalg.vector_norm(torch.cat([g.flatten() for g in grads]))

    found = gradient_shares(terms, ["body.w", "head.v"], [w, v], norm, lambda x: x)
    # b reaches the body, so its large share of the head says nothing about what it does there
    assert {k: round(float(s), 4) for k, s in found.items()} == {"a": 0.75, "b": 0.25, "c": round(5 / 105, 4), "d": 0.0}
    assert probed(["body.backbone.a", "body.bottleneck.b", "disc.c"]) == ["body.bottleneck.b", "disc.c"]
    assert probed(["body.backbone.a", "disc.c"]) == ["body.backbone.a", "disc.c"]


def test_answers_of_a_discriminator():
    x = torch.cat([torch.randn(40, 3) + 4, torch.randn(20, 3)])
    z = torch.cat([torch.full((40,), 2.0), torch.full((10,), -2.0), torch.full((10,), 2.0)])
    accuracy, loss, there = answers(torch.cat([z[:, None], x], 1), 40)
    right, wrong = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    assert accuracy == pytest.approx(0.75) and there > 0.95
    assert loss == pytest.approx((right + (right + wrong) / 2) / 2)
    assert apparent(torch.randn(400, 3), torch.randn(400, 3)) == pytest.approx(0.5, abs=0.08)
    assert apparent(x[:3], x[3:]) == 0.5


def test_too_few_looks_say_nothing():
    looks = Looks({"a": [[0, 0.0], [1, 0.0]]}, {"disc": [[0, 1.0, 0.0, 1.0], [1, 1.0, 0.0, 1.0]]})
    assert check(looks) == []
    looks.add_share("a", 2, 0.0)
    looks.add_share("a", 2, 5e-4)  # another phase of the same step: the larger share counts
    looks.add_answer("disc", 2, (0.99, 0.1, 1.0))
    assert [f["kind"] for f in check(looks)] == ["inert term", "saturated discriminator"]
    looks.add_share("a", 3, 0.5)
    looks.add_answer("disc", 3, (0.6, 0.6, 1.0))
    assert check(looks) == []
