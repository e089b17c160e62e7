"""Batches: samples, labels, sources, views and row numbers belong together, and methods keep them together."""

from __future__ import annotations

import dataclasses
import inspect
import math
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dazoo.contracts import toys
from dazoo.contracts.failure import tensor_difference
from dazoo.core.handles import Handles
from dazoo.core.setting import FEW_LABELS
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.engine import train
from dazoo.engine.feed import Feed, Preparer
from dazoo.engine.learner import stack_batches
from dazoo.engine.recipe import RECIPES, Recipe
from dazoo.methods.base import METHODS, Batch, GradientMethod
from dazoo.ops import draws as counted

BY_GRADIENT = [n for n in METHODS.names() if toys.is_gradient(METHODS.get(n))]
BY_ROWS = [n for n in BY_GRADIENT if "_rows" in inspect.getsource(sys.modules[METHODS.get(n).__module__])]
# no momentum and no adaptive steps, which would turn rounding into steps of full length
SMOOTH = dataclasses.replace(
    toys.TINY, steps=8, optimizer="sgd", lr=0.02, momentum=0.0, nesterov=False, ramp="constant"
)
LEARNED = dataclasses.replace(SMOOTH, steps=40, lr=0.1)  # enough for predictions of several classes
Change = Callable[[Batch], Batch]
SHIFTS = {"ar": 3.0}  # near domains get equal weights, which say nothing of rows
STRONG, FEW, TARGET = 10_000.0, 2_000.0, 1_000.0


# -- the feed ---------------------------------------------------------------------------------------------------------


class Watched(GradientMethod):
    """Takes everything a batch can hold."""

    name = "watched"
    handles = Handles(marked={"none", "few"})
    strong_views = True


def numbered(n_source: int = 37, n_target: int = 23, n_few: int = 5, offset: float = 0.0) -> Seen:
    """Every sample's one feature is its row, plus what tells the domain; labels are rows too, sources follow them."""

    def part(n: int, base: float) -> Labeled:
        rows = torch.arange(n)
        return Labeled((rows + base)[:, None].float(), rows + int(base), rows % 3)

    target = Unlabeled((torch.arange(n_target) + TARGET + offset)[:, None])
    return Seen(part(n_source, offset), target, part(n_few, FEW), 5_000, "vector", FEW_LABELS, None, 3)


def feed(seen: Seen, batch: int = 8, seed: int = 0, cycle: str = "fresh") -> Feed:
    views = Preparer(lambda x, gen: x, lambda x, gen: x + STRONG, lambda x: x)
    return Feed(seen, Watched(), views, batch, seed, torch.device("cpu"), cycle)


def check(b: Batch, offset: float = 0.0) -> None:
    """All parts of a batch tell of the same rows."""
    assert b.xf is not None and b.yf is not None
    assert b.xs_strong is not None and b.xt_strong is not None and b.xf_strong is not None
    assert torch.equal(b.xs[..., 0], b.s_rows + offset) and torch.equal(b.ys, b.s_rows + int(offset))
    assert torch.equal(b.ds, b.s_rows % 3)
    assert torch.equal(b.xt[..., 0], b.t_rows + TARGET + offset)
    assert torch.equal(b.xf[..., 0], b.yf.float())
    for plain, strong in ((b.xs, b.xs_strong), (b.xt, b.xt_strong), (b.xf, b.xf_strong)):
        assert torch.equal(strong, plain + STRONG)
    assert len(b.t_rows.unique()) > 1  # rolled rows would show


@pytest.mark.parametrize("cycle", ["fresh", "repeat"])
@pytest.mark.parametrize("batch", [8, 23, 30, 64])
def test_rows_are_those_of_the_samples(batch: int, cycle: str) -> None:
    made = feed(numbered(), batch, cycle=cycle)
    for _ in range(12):
        check(made({}))


@pytest.mark.parametrize("pieces", [2, 3, 8])
def test_micro_batches_cut_all_parts_alike(pieces: int) -> None:
    whole = feed(numbered())({})
    parts = train._split(whole, pieces)
    for part in parts:
        assert torch.equal(part.ys, part.s_rows) and torch.equal(part.xs[:, 0], part.s_rows)
        assert torch.equal(part.xt[:, 0], part.t_rows + TARGET) and torch.equal(part.ds, part.s_rows % 3)
        assert part.xt_strong is not None and torch.equal(part.xt_strong, part.xt + STRONG)
        assert part.xf is not None and part.yf is not None and torch.equal(part.xf[:, 0], part.yf.float())
    assert torch.equal(torch.cat([p.t_rows for p in parts]), whole.t_rows)


def test_members_of_a_stack_keep_their_own_rows() -> None:
    feeds = [feed(numbered(), seed=0), feed(numbered(), seed=1), feed(numbered(offset=100.0), seed=2)]
    for _ in range(5):
        both = stack_batches([f({}) for f in feeds])
        for i, offset in enumerate((0.0, 0.0, 100.0)):
            one = {k: v[i] if isinstance(v, Tensor) and v.numel() else v for k, v in vars(both).items()}
            check(Batch(**one), offset)
        assert not torch.equal(both.t_rows[0], both.t_rows[1])


@pytest.mark.parametrize("cycle", ["fresh", "repeat"])
def test_rows_go_on_after_a_kill(cycle: str) -> None:
    first = feed(numbered(), cycle=cycle)
    for _ in range(7):
        first({})
    other = feed(numbered(), seed=9, cycle=cycle)
    other.restore(first.state())
    for _ in range(7):
        a, b = first({}), other({})
        check(b)
        assert torch.equal(a.s_rows, b.s_rows) and torch.equal(a.t_rows, b.t_rows)
        assert a.xf is not None and b.xf is not None and torch.equal(a.xf, b.xf)


# -- the methods ------------------------------------------------------------------------------------------------------


def trained(
    name: str, change: Change, monkeypatch: pytest.MonkeyPatch, recipe: Recipe, draws: int = 0
) -> dict[str, Tensor]:
    """The tensors of a short run whose batches pass ``change``; ``draws`` reseeds what a method itself draws."""
    plain, rng = Feed.__call__, counted._rng
    bank: dict[str, Tensor] = {}

    def call(self: Feed, memory: dict[str, Tensor]) -> Batch:
        bank.update({f"memory.{k}": v for k, v in memory.items()})  # written to by after_step, too
        found = change(plain(self, memory))
        torch.manual_seed(draws + sum(sampler.at for sampler in self.samplers.values()))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Feed, "__call__", call)
        patch.setattr(counted, "_rng", lambda what, step: rng(what, step + 1000 * draws))
        counted._small.cache_clear()
        for home in {c.__module__ for c in METHODS.get(name).__mro__}:
            if hasattr(sys.modules[home], "step_draws"):
                patch.setattr(sys.modules[home], "step_draws", lambda step, label: Still())
        shift = SHIFTS.get(name, 0.3)
        predictor = toys.fit_toy(METHODS.get(name), toys.task_for(METHODS.get(name), shift=shift), 3, recipe).predictor
    counted._small.cache_clear()
    state: dict[str, Tensor] = predictor.state  # type: ignore[attr-defined]
    return {**state, **bank}


class Still:
    """In the place of draws that belong to places in a batch: every sample is its own partner, all shares are equal."""

    def permutation(self, n: int) -> np.ndarray:
        return np.arange(n)

    def integers(self, low: int, high: int | None = None, size: int = 0) -> np.ndarray:
        return np.full(size, 0 if high is None else low)

    def beta(self, a: float, b: float, size: int | None = None) -> np.ndarray | float:
        return 0.3 if size is None else np.full(size, 0.3)


def rolled(b: Batch) -> Batch:
    return dataclasses.replace(b, s_rows=b.s_rows.roll(1), t_rows=b.t_rows.roll(1), held={})


def nudged(b: Batch) -> Batch:
    """Samples that differ by little more than rounding."""
    return dataclasses.replace(b, xs=b.xs * (1 + 1e-6), xt=b.xt * (1 + 1e-6), held={})


def reordered(b: Batch) -> Batch:
    """The same samples with all that belongs to them, in another order."""

    def turn(x: Tensor | None) -> Tensor | None:
        if x is None or not x.numel():
            return x
        return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(len(x)))]

    return dataclasses.replace(b, **{k: turn(v) for k, v in vars(b).items() if k not in ("memory", "held")}, held={})


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """Euclidean; endless where shapes differ, as of clusters that were found. Equal infinities are equal."""
    if any(a[k].shape != b[k].shape for k in a):
        return math.inf
    return math.sqrt(sum(float((a[k].double() - b[k].double())[a[k] != b[k]].square().sum()) for k in a))


@pytest.mark.parametrize("name", BY_ROWS)
def test_wrong_rows_change_what_a_method_learns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a method that turns right rows into wrong ones learns something else in every order of the batch."""
    changes = (lambda b: b, rolled, reordered, nudged)
    right, wrong, other, near = (trained(name, c, monkeypatch, LEARNED) for c in changes)
    assert distance(right, wrong) > 0.1
    assert distance(right, other) < 1e-3 + 10 * distance(right, near)  # spectra magnify rounding


@pytest.mark.parametrize("name", BY_GRADIENT)
def test_the_order_within_a_batch_plays_no_part(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that gives a sample its neighbour's label, row, source or strong view learns something else."""
    first = trained(name, lambda b: b, monkeypatch, SMOOTH)
    if tensor_difference(first, trained(name, lambda b: b, monkeypatch, SMOOTH, draws=1)):
        assert name not in BY_ROWS  # draws that belong to places in the batch; no method with rows may hide there
        return
    found = trained(name, reordered, monkeypatch, SMOOTH)
    for key, value in first.items():
        torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-4, msg=lambda m, k=key: f"{k}: {m}")


@pytest.mark.parametrize("name", [n for n in BY_GRADIENT if METHODS.get(n).after_step is not GradientMethod.after_step])
def test_what_comes_after_a_step_moves_no_batch_statistics(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cls, calls = METHODS.get(name), []
    plain = cls.after_step

    def watched(self, net, b, t) -> None:
        before = {k: v.clone() for k, v in net.body.named_buffers()}
        plain(self, net, b, t)
        calls.append(tensor_difference(before, dict(net.body.named_buffers())))
        modes.append(net.body.training)

    modes: list[bool] = []
    monkeypatch.setattr(cls, "after_step", watched)
    result = toys.fit_toy(cls, recipe=dataclasses.replace(toys.TINY, norm="batch", steps=4))
    assert calls == [""] * 4 and not any(modes)
    state = result.predictor.state  # type: ignore[attr-defined]
    assert int(state["body.bottleneck.1.num_batches_tracked"]) > 0  # the steps themselves do


# -- schedules --------------------------------------------------------------------------------------------------------


def test_one_cycle_warms_up_for_a_twentieth_and_falls_as_a_cosine() -> None:
    recipe = Recipe.named("digits", schedule="onecycle", steps=200)
    factors = [recipe.lr_factor(i) for i in range(200)]
    assert factors[:11] == pytest.approx([i / 10 for i in range(11)])
    assert max(factors) == factors[10] == 1.0
    for i in range(10, 200):
        assert factors[i] == pytest.approx(math.cos(math.pi / 2 * (i - 10) / 190) ** 2)
    assert recipe.lr_factor(105) == pytest.approx(0.5) and recipe.lr_factor(200) == pytest.approx(0, abs=1e-12)
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_the_other_schedules_have_their_values() -> None:
    def at(step: int, **fields: object) -> float:
        return Recipe.named("digits", steps=100, **fields).lr_factor(step)

    assert [at(s, schedule="constant") for s in (0, 50, 100)] == [1, 1, 1]
    assert [at(s, schedule="cosine") for s in (0, 50, 100)] == pytest.approx([1, 0.5, 0])
    inverse = [at(s, schedule="inverse", gamma=10.0, power=0.75) for s in (0, 50, 100)]
    assert inverse == pytest.approx([1, 6**-0.75, 11**-0.75])
    by_step = [at(s, schedule="inverse_step", gamma=1e-3, power=0.75) for s in (0, 100, 1000)]
    assert by_step == pytest.approx([1, 1.1**-0.75, 2**-0.75])
    assert [at(s, schedule="stairs", gamma=0.1, stair=0.4) for s in (0, 39, 40, 80)] == pytest.approx([1, 1, 0.1, 0.01])


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_learning_rates_reach_the_optimiser(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, list[float]]] = []
    step = train.Loop._gradient_step

    def watch(self, *args, **more):
        seen.append((self.step, [g["lr"] / base for g, base in zip(self.optimizer.param_groups, self.base_lr) if base]))
        return step(self, *args, **more)

    monkeypatch.setattr(train.Loop, "_gradient_step", watch)
    recipe = dataclasses.replace(RECIPES[name], steps=6, epochs=0, batch=16, bottleneck=4, freeze_norm=False)
    recipe = dataclasses.replace(recipe, frozen_stages=0)  # a small network has none
    toys.fit_toy(METHODS.get("source_only"), toys.toy_task(), recipe=recipe)
    assert [i for i, _ in seen] == list(range(6))
    for i, factors in seen:
        assert factors == pytest.approx([recipe.lr_factor(i)] * len(factors))
