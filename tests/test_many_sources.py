"""Adaptation from several source models: they vote after adaptation, or are mixed and adapted together."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from dazoo.contracts.toys import toy_task
from dazoo.core.memo import Memo
from dazoo.core.portable import load, save
from dazoo.core.setting import Setting
from dazoo.data.task import Task
from dazoo.engine.by_source import MeanPredictor
from dazoo.engine.fit import Checkpoint, Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import create_method
from dazoo.ops import source_free

RECIPE = Recipe.named("frozen", steps=6, batch=16, bottleneck=6, few_steps=0)
OPTIONS = Options(recipe=RECIPE, backbone="mlp", checkpoints=2)
HIDDEN = Setting.of("source_free+multi_source")


def _task(n_sources: int, setting: Setting = HIDDEN) -> Task:
    toys = [toy_task(seed=3, shift=0.2 * i) for i in range(n_sources)]
    xs, ys = zip(*((t.target.x, t.target.y) for t in toys))
    target = toy_task(seed=3)
    return Task.from_arrays(list(xs), list(ys), target.target.x, target.target.y, setting=setting, source_holdout=0.2)


@pytest.mark.parametrize("name", ["shot", "nrc", "source_model"])
def test_models_adapted_by_themselves_vote(name: str, tmp_path) -> None:
    task, stops = _task(2), []
    found = fit(create_method(name), task.seen(), options=OPTIONS, on_checkpoint=stops.append)
    assert isinstance(found.predictor, MeanPredictor)
    alone = [
        fit(create_method(name), task.change(sources=(s,), setting="source_free").seen(), options=OPTIONS)
        for s in task.sources
    ]
    x = task.target.x
    mean = torch.stack([r.predictor.predict(x).probs for r in alone]).mean(0)
    torch.testing.assert_close(found.predictor.predict(x).probs, mean)
    assert [s.fraction for s in stops] == [0.5, 1.0] and isinstance(stops[0], Checkpoint)
    torch.testing.assert_close(stops[-1].predictor.predict(x).probs, mean)
    save(found.predictor, tmp_path / "model.safetensors")
    torch.testing.assert_close(load(tmp_path / "model.safetensors").predict(x).probs, mean)


def test_a_model_per_source_is_trained_once_for_all_tasks() -> None:
    """Alone or among others, for any target and any method, under one seed and recipe."""
    counted: list[str] = []
    memo = Memo()
    task = _task(3)

    original = memo.domains.named

    def named(key, make, most=16):  # type: ignore[no-untyped-def]
        def counting():  # type: ignore[no-untyped-def]
            counted.append(key[-1])
            return make()

        return original(key, counting, most)

    memo.domains.named = named  # type: ignore[method-assign]
    for method in ("shot", "decision"):
        fit(create_method(method), task.seen(), options=OPTIONS, memo=Memo(memo.domains))
    for source, target in itertools.permutations(task.sources, 2):
        pair = Task("pair", (source,), target, setting=Setting.of("source_free"), source_holdout=0.2, seed=task.seed)
        fit(create_method("nrc"), pair.seen(), options=OPTIONS, memo=Memo(memo.domains))
    assert len(counted) == len(set(counted)) == 3


def test_with_the_data_at_hand_sources_are_told_apart_as_well() -> None:
    task = _task(2, Setting.of("multi_source"))
    assert isinstance(fit(create_method("shot"), task.seen(), options=OPTIONS).predictor, MeanPredictor)
    pooled = task.change(setting="unsupervised")
    assert not isinstance(fit(create_method("shot"), pooled.seen(), options=OPTIONS).predictor, MeanPredictor)


def test_decision_with_one_source_is_shot() -> None:
    task = _task(1)
    x = task.target.x
    decision = fit(create_method("decision"), task.seen(), options=OPTIONS).predictor.predict(x)
    shot = fit(create_method("shot"), task.change(setting="source_free").seen(), options=OPTIONS).predictor.predict(x)
    torch.testing.assert_close(decision.scores, shot.scores)


@pytest.mark.parametrize("name", ["decision", "caida"])
def test_mixtures_move_bodies_and_shares_but_no_head(name: str) -> None:
    task = _task(2)
    model = fit(create_method(name), task.seen(), options=OPTIONS).predictor
    still = fit(create_method("source_model"), task.seen(), options=OPTIONS).predictor
    assert isinstance(still, MeanPredictor)
    for i, member in enumerate(still.members):
        for key, value in member.state.items():
            same = torch.equal(model.state[f"models.{i}.{key}"], value)
            assert same == key.startswith("head.") or "num_batches" in key or key == "body.scale", key
    assert model.state["mixing"].abs().sum() > 0
    zero = {"trade_off": 0.0, "pseudo_weight": 0.0, **({"relation_weight": 0.0} if name == "caida" else {})}
    idle = fit(create_method(name, **zero), task.seen(), options=OPTIONS).predictor
    scores = torch.stack([m.predict(task.target.x).scores for m in still.members]).mean(0)
    torch.testing.assert_close(idle.predict(task.target.x).scores, scores)


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_class_relations_equal_loops() -> None:
    gen = torch.Generator().manual_seed(1)
    scores, y = torch.randn(3, 8, 4, generator=gen).double(), torch.tensor([0, 0, 2, 2, 2, 3, 0, 3])
    q = {c: [_softmax(scores[s][y == c].mean(0).numpy()) for s in range(3)] for c in (0, 2, 3)}
    total = 0.0
    for c, s, r in itertools.product(q, range(3), range(3)):
        a, b = q[c][s], q[c][r]
        total += ((a * np.log(a / b)).sum() + (b * np.log(b / a)).sum()) / 2
    assert np.isclose(float(source_free.class_relations(scores, y)), total / (4 * 3))
    assert abs(float(source_free.class_relations(scores[:1], y))) < 1e-12


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def test_anchored_labels_equal_loops() -> None:
    gen = torch.Generator().manual_seed(2)
    f, p = torch.randn(11, 3, generator=gen).double(), (2 * torch.randn(11, 4, generator=gen).double()).softmax(-1)
    u = _unit(torch.cat([f, torch.ones(11, 1).double()], 1))
    sim = u @ _unit((p.T @ u) / p.sum(0)[:, None]).T
    gap_d, gap_p = ((v.sort(1).values[:, -1] - v.sort(1).values[:, -2]) for v in (sim, p))
    sure = [bool(gap_d[i] >= gap_d.median() or gap_p[i] >= gap_p.median()) for i in range(11)]
    moved = []
    for i in range(11):
        j = max((j for j in range(11) if j != i and sure[j]), key=lambda j: float(u[i] @ u[j]))
        moved.append(0.8 * u[i] + 0.2 * u[j])
    v, y = torch.stack(moved), sim.argmax(1)
    centres = {c: v[y == c].mean(0) for c in y.tolist()}
    expected = [max(centres, key=lambda c: float(_unit(row) @ _unit(centres[c]))) for row in v]
    assert source_free.anchored_labels(f, p, 0.8).tolist() == expected
