"""SHOT++: which samples are easy, what each part of training minimises, and when the head moves."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from dazoo.contracts.toys import fit_toy, toy_task
from dazoo.core.setting import Setting
from dazoo.data.domain import Domain
from dazoo.data.task import Task
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, Progress, create_method
from dazoo.ops.selftraining import step_draws
from dazoo.ops.source_free import easy_rows
from tests.small import at, small_batch, small_net


def test_easy_samples_are_the_surest_of_each_class() -> None:
    first = torch.tensor([0.98, 0.6, 0.97, 0.55, 0.45, 0.03, 0.01, 0.4])
    p = torch.stack([first, 1 - first], 1)
    h = -(p * p.log()).sum(1)
    share = float((h < h.mean()).double().mean())
    assert share == 0.5
    assert easy_rows(p).tolist() == [True, False, True, False, False, True, True, False]
    assert not easy_rows(torch.full((4, 3), 1 / 3)).any()


def _parts():
    method = create_method("shot_pp", guess_weight=30.0)
    net = small_net(method)
    memory = {
        "labels": torch.tensor([2, 1, 0, 0, 1, 2]), "predicted": torch.tensor([0, 1, 2, 0, 1, 2]),
        "easy": torch.tensor([True, False, True, False, False, True]),
    }  # fmt: skip
    return method, net, small_batch(memory=memory)


def test_the_second_part_equals_loops() -> None:
    method, net, b = _parts()
    t = Progress(0.75, 8, 10, 1.0)
    draws = step_draws(8, 2013)
    u = float(draws.beta(0.75, 0.75))
    lam, order = max(u, 1 - u), draws.permutation(12)
    x = torch.cat([b.xt, b.xt_strong])
    p = net.head(net.body(b.xt)).softmax(-1).detach()
    sharp = p.square() / p.square().sum(1, keepdim=True)
    easy = b.memory["easy"][b.t_rows]
    hard = one_hot(b.memory["predicted"][b.t_rows], 3).double()
    q = torch.stack([hard[i] if easy[i] else sharp[i] for i in range(6)]).repeat(2, 1)
    ce, sq = [], []
    for i, j in enumerate(order):
        got = net.head(net.body(lam * x[i : i + 1] + (1 - lam) * x[j : j + 1])).softmax(-1)[0].detach()
        wanted = lam * q[i] + (1 - lam) * q[j]
        if easy[i % 6]:
            ce.append(-float((wanted * got.log()).sum()))
        else:
            sq.append(float((got - wanted).square().mean()))
    terms = method.losses(net, b, t)
    assert np.isclose(float(terms["easy"].detach()), np.mean(ce))
    assert np.isclose(float(terms["hard"].detach()), 30 * 0.5 * np.mean(sq))


def test_the_first_part_is_shot() -> None:
    method, net, b = _parts()
    terms = method.losses(net, b, at(0.2))
    shot = create_method("shot").losses(net, b, at(0.2))
    assert set(terms) == set(shot) and all(torch.isclose(terms[k], shot[k]) for k in shot)
    assert method.resting(net, at(0.2)) == {"head.weight", "head.bias"} and not method.resting(net, at(0.8))


def test_the_head_moves_in_the_second_part() -> None:
    task = toy_task()
    start = fit_toy(METHODS.get("source_only"), task).predictor.state
    end = fit_toy(METHODS.get("shot_pp"), task).predictor.state
    assert not torch.equal(start["head.weight"], end["head.weight"])


@pytest.mark.parametrize("side", [8])
def test_pictures_are_turned(side: int) -> None:
    gen = torch.Generator().manual_seed(0)
    x = torch.randint(0, 255, (24, side, side, 1), generator=gen, dtype=torch.uint8)
    y = torch.arange(24) % 2
    domain = Domain("p", x, y, ("a", "b"), "image")
    task = Task("pictures", (domain,), domain, setting=Setting.of("source_free"))
    recipe = Recipe.named("digits", steps=4, batch=8, bottleneck=4, few_steps=0)
    found = fit(create_method("shot_pp"), task.seen(), options=Options(recipe=recipe, backbone="cnn"))
    assert [math.isfinite(v) and v > 0 for _, v in found.curves["turn"]] == [True, True]
