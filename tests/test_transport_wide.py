"""Transport methods on wide, z-scored and badly scaled features: finite answers, and no dependence on the scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import METHODS, create_method
from tests.test_subspace import context, toy

NAMES = [n for n in METHODS.names() if METHODS.get(n).family == "transport" and UNSUPERVISED in METHODS.get(n).settings]


def wide(scale: float) -> Seen:
    """Fewer samples than features, z-scored, then multiplied."""
    rng = np.random.default_rng(0)
    ys = np.arange(30) % 3
    centres = rng.standard_normal((3, 800))
    parts = [centres[ys] + rng.standard_normal((30, 800)), centres[ys[:24]] + 1 + rng.standard_normal((24, 800))]
    xs, xt = (torch.from_numpy(scale * (x - x.mean(0)) / x.std(0)) for x in parts)
    return Seen(Labeled(xs, torch.from_numpy(ys), torch.zeros(30)), Unlabeled(xt), None, 3, "vector", UNSUPERVISED)


@pytest.mark.parametrize("name", NAMES)
def test_wide_features_of_any_scale_give_finite_scores(name):
    """Squared distances are above 1e8."""
    seen = wide(1e3)
    model = create_method(name).fit(seen, context())
    assert torch.isfinite(model.predict(seen.target.x).scores).all()
    assert torch.isfinite(model.predict_source(seen.source.x).features).all()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("jdot", "sot")])
def test_predictions_do_not_depend_on_the_unit_of_the_features(name):
    """All regularisers are relative to the cost. (jdot has a ridge on the raw features, sot mixtures with a floor.)"""
    seen = toy(40, 30)
    source = Labeled(64 * seen.source.x, seen.source.y, seen.source.domain)
    scaled = Seen(source, Unlabeled(64 * seen.target.x), None, 3, "vector", UNSUPERVISED)
    one = create_method(name).fit(seen, context()).predict(seen.target.x).labels
    other = create_method(name).fit(scaled, context()).predict(scaled.target.x).labels
    assert (one == other).float().mean() >= 0.95


@pytest.mark.parametrize("name", NAMES)
def test_repeated_samples_are_no_trouble(name):
    """Every source sample five times, all targets equal."""
    seen = toy(6, 8)
    source = Labeled(seen.source.x.repeat(5, 1), seen.source.y.repeat(5), torch.zeros(30))
    still = Seen(source, Unlabeled(seen.target.x[:1].repeat(8, 1)), None, 3, "vector", UNSUPERVISED)
    model = create_method(name).fit(still, context())
    assert torch.isfinite(model.predict(still.target.x).scores).all()
