"""Boosted trees behind every method that weights source samples: the weights reach them, and they answer."""

from __future__ import annotations

import pytest
import torch

from dazoo.contracts.toys import task_for
from dazoo.core.hparam import configure
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import METHODS
from dazoo.shallow import classifiers

NAMES = [n for n, c in METHODS.items() if c.family == "reweighting"]
SHORT = {"tradaboost_r2": {"rounds": 3}, "two_stage_tradaboost_r2": {"steps": 2, "rounds": 2, "folds": 2}}
ANSWERS = ("em_prior", "tradaboost")  # corrects answers, not weights; stops in round 1 where trees make no mistake


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_samples_reach_the_trees(name, monkeypatch):
    given = []
    real = classifiers.fit_trees

    def watched(z, y, k, options, weights):
        given.append(weights)
        return real(z, y, k, options, weights)

    monkeypatch.setattr(classifiers, "fit_trees", watched)
    cls = METHODS.get(name)
    task = task_for(cls, n=45)
    options = Options(recipe=None, classifier=classifiers.classifier("trees", rounds=2))
    found = fit(configure(cls, SHORT.get(name, {})), task.seen(), seed=0, options=options)
    x = task.hidden().x
    answer = found.predictor.predict(x)
    assert len(answer.scores) == len(x) and torch.isfinite(answer.scores).all()
    weighted = [w for w in given if w is not None and bool((w != w[0]).any())]
    assert given and (bool(weighted) or name in ANSWERS)


def test_weights_change_trees_as_copies_of_samples_do():
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(60, 3, generator=gen, dtype=torch.float64)
    y = (x[:, 0] + 0.5 * torch.randn(60, generator=gen, dtype=torch.float64) > 0).long()
    times = torch.randint(1, 4, (60,), generator=gen)
    trees = classifiers.classifier("trees", rounds=1, leaves=2)
    weighted = trees.fit(x, y, 2, times.double())
    copied = trees.fit(x.repeat_interleave(times, 0), y.repeat_interleave(times), 2)
    assert torch.allclose(weighted(x), copied(x), atol=1e-9)
    assert not torch.allclose(weighted(x), trees.fit(x, y, 2)(x), atol=1e-3)
