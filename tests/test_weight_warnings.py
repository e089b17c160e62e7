"""What weights of source samples say of themselves: degenerate, without a solution, against their own assumption."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dazoo.core.types import Seen
from dazoo.methods.base import METHODS, Context, create_method
from dazoo.methods.reweighting import bbse, rlls
from dazoo.methods.reweighting._label_shift import Confusion
from dazoo.methods.shallow import Reweighting, usable
from tests.gaussians import context
from tests.test_subspace import toy

RATIOS = [n for n in METHODS.names() if issubclass(METHODS.get(n), Reweighting)]


def fitted(name: str, seen: Seen) -> tuple[Context, torch.Tensor]:
    ctx = context()
    return ctx, create_method(name).fit(seen, ctx).predict(seen.target.x).scores


@pytest.mark.parametrize("name", ["gaussian_ratio", "kde_ratio", "kmm"])
def test_domains_that_hardly_overlap_are_reported(name):
    seen = toy(60, 50, d=20, move=0.3)
    seen = replace(seen, target=replace(seen.target, x=seen.target.x + 3.0))
    ctx, scores = fitted(name, seen)
    assert torch.isfinite(scores).all()
    assert any(w.startswith(name) and ("effective sample size" in w or "left as it is" in w) for w in ctx.warnings)


@pytest.mark.parametrize("name", RATIOS)
def test_equal_domains_are_not_reported(name):
    seen = toy(90, 90, d=2, move=0.0)
    seen = replace(seen, target=replace(seen.target, x=seen.source.x.flip(0) + 0.01))
    assert not [w for w in fitted(name, seen)[0].warnings if "converge" not in w]


def test_the_effective_sample_size_is_that_of_the_formula():
    seen = toy(40, 20)
    for few, said in ((3, True), (5, False)):  # of 40: 7.5 % and 12.5 %
        ctx = context()
        weights = torch.zeros(40, dtype=torch.float64)
        weights[:few] = 7.0
        assert torch.equal(usable("x", seen, ctx, weights), weights)
        assert bool(ctx.warnings) is said
        assert not said or f" {few}.0 equal ones" in ctx.warnings[0]


@pytest.mark.parametrize("weights", [[0.0] * 9, [1.0, 0, 0, 1.0, 0, 0, 0, 0, 0]])
def test_weights_that_leave_one_class_leave_the_source_as_it_is(weights):
    ctx = context()
    w = torch.tensor(weights, dtype=torch.float64)
    assert torch.equal(usable("x", toy(9, 6), ctx, w), torch.ones_like(w))
    assert "left as it is" in ctx.warnings[0]


@pytest.mark.parametrize("name", ["bbse", "rlls", "mmd_target_shift", "em_prior"])
def test_a_target_of_one_class_is_no_error_and_is_said(name):
    """All target samples look like class 0: the estimate removes the others, which trains on a single class."""
    seen = toy(60, 40)
    one = seen.source.x[seen.source.y == 0]
    ctx, scores = fitted(name, replace(seen, target=replace(seen.target, x=torch.cat([one, one + 0.01]))))
    assert torch.isfinite(scores).all()
    assert any("all but" in w or "at most 10% as frequent" in w for w in ctx.warnings)


def test_predictions_that_no_proportions_explain_are_said():
    """Both classes are mostly predicted as class 0 in the source; on the target class 1 is predicted throughout."""
    joint = torch.tensor([[0.45, 0.35], [0.05, 0.15]], dtype=torch.float64)
    share = joint.sum(0)
    impossible = Confusion(joint, torch.tensor([0.0, 1.0], dtype=torch.float64), share)
    possible = Confusion(joint, joint @ torch.tensor([0.5, 1.5], dtype=torch.float64), share)
    for c, said in ((impossible, True), (possible, False)):
        ctx = context()
        bbse.solve_bbse(c, ctx)
        assert any("explain" in w for w in ctx.warnings) is said
    assert rlls.note_unexplained is bbse.note_unexplained
