"""Transport from several sources: proportions, barycenters, and POT's own solvers."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch

from dazoo.core.errors import DazooError
from dazoo.core.setting import MULTI_SOURCE
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import create_method
from dazoo.ops.classwise import one_hot
from dazoo.ops.linalg.linear import distances_between
from tests.test_subspace import context, toy

CENTRES = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])


def draw(rng: np.random.Generator, counts: list[int], spread: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    y = np.repeat(np.arange(3), counts)
    return CENTRES[y] + spread * rng.standard_normal((len(y), 2)), y


def sources(counts: list[list[int]], target: list[int], seed: int = 0, spread: float = 0.5) -> tuple[Seen, np.ndarray]:
    """Sources and a target that differ in their class proportions only, and the target's classes."""
    rng = np.random.default_rng(seed)
    parts = [draw(rng, c, spread) for c in counts]
    xt, yt = draw(rng, target, spread)
    labelled = Labeled(
        torch.from_numpy(np.concatenate([x for x, _ in parts])),
        torch.from_numpy(np.concatenate([y for _, y in parts])),
        torch.from_numpy(np.repeat(np.arange(len(parts)), [len(y) for _, y in parts])),
    )
    return Seen(labelled, Unlabeled(torch.from_numpy(xt)), None, 3, "vector", MULTI_SOURCE, n_sources=len(parts)), yt


def split(seen: Seen) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    rows = [seen.source.domain == k for k in torch.unique(seen.source.domain)]
    return [seen.source.x[r] for r in rows], [seen.source.y[r] for r in rows]


# -- JCPOT --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Algorithm did not converge")
def test_jcpot_equals_pots_class():
    """Round by round: both run the same number of projections."""
    seen, _ = sources([[20, 10, 5], [5, 20, 15]], [6, 12, 18])
    scale = distances_between(seen.source.x, seen.target.x).max().sqrt()
    xs, ys = split(seen)
    theirs = ot.da.JCPOTTransport(reg_e=0.2, max_iter=500, tol=0).fit(
        Xs=[(x / scale).numpy() for x in xs], ys=[y.numpy() for y in ys], Xt=(seen.target.x / scale).numpy()
    )
    mine = create_method("jcpot", reg=0.2, iterations=500, tolerance=0.0).joint(seen, context())
    # POT 0.9 stores the pair (proportions, log) when its log is asked for; either way the proportions come first
    found = theirs.proportions_[0] if isinstance(theirs.proportions_, tuple) else theirs.proportions_
    assert np.allclose(mine.proportions, found, rtol=0, atol=1e-9)
    assert all(np.allclose(a, b, rtol=0, atol=1e-10) for a, b in zip(mine.plans, theirs.coupling_))
    method = create_method("jcpot", reg=0.2, iterations=500, tolerance=0.0, use="features")
    moved = method.fit(seen, context()).predict_source(seen.source.x)
    images = theirs.transform([(x / scale).numpy() for x in xs])
    assert np.allclose(moved.features, np.concatenate(images) * float(scale), atol=1e-8)


def test_jcpot_finds_the_targets_proportions():
    """The sources are even or skewed the other way; the target's true proportions come out."""
    for target in ([10, 20, 70], [60, 30, 10]):
        seen, yt = sources([[40, 40, 40], [70, 20, 30]], target, spread=0.4)
        model = create_method("jcpot", reg=0.01)
        found = model.joint(seen, context()).proportions
        assert np.abs(found.numpy() - np.array(target) / 100).max() < 0.02
        assert (model.fit(seen, context()).predict(seen.target.x).labels.numpy() == yt).mean() > 0.98


def test_jcpot_plans_meet_their_constraints():
    """Columns weigh 1/n_t; rows of a class weigh alike; every source gives a class the same mass."""
    seen, _ = sources([[20, 10, 5], [5, 20, 15]], [6, 12, 18])
    joint = create_method("jcpot", reg=0.2, iterations=5000).joint(seen, context())
    for rows, plan in zip(joint.rows, joint.plans):
        members = one_hot(seen.source.y[rows], 3, torch.float64)
        assert np.allclose(plan.sum(0), 1 / 36, rtol=0, atol=1e-6)
        assert np.allclose(members.T @ plan.sum(1), joint.proportions, rtol=0, atol=1e-6)
        assert np.allclose(plan.sum(1), members @ (joint.proportions / members.sum(0)), rtol=0, atol=1e-6)


def test_jcpot_refuses_a_source_without_a_class():
    seen, _ = sources([[30, 30, 0], [20, 20, 20]], [10, 20, 30])
    with pytest.raises(DazooError, match="source 0 has no sample of class 2"):
        create_method("jcpot").fit(seen, context())


def test_jcpot_is_finite_on_wide_features():
    rng = np.random.default_rng(0)
    wide = Labeled(torch.from_numpy(rng.standard_normal((60, 800))), torch.arange(60) % 3, torch.arange(60) // 30)
    far = torch.from_numpy(1e3 * rng.standard_normal((40, 800)))
    for reg in (0.005, 0.05):
        model = create_method("jcpot", reg=reg).fit(
            Seen(wide, Unlabeled(far), None, 3, "vector", MULTI_SOURCE, n_sources=2), context()
        )
        assert torch.isfinite(model.predict(far).scores).all()


@pytest.mark.parametrize("name", ["jcpot", "wbt"])
def test_one_source_is_a_clear_error(name):
    with pytest.raises(DazooError, match="two sources"):
        create_method(name).fit(toy(), context())


# -- WBT ----------------------------------------------------------------------------------------------------------


def test_wbt_barycenter_is_a_fixed_point():
    """B = mean_k m P_k X_k, with P_k the exact plan from B to source k, for every class."""
    seen, _ = sources([[20, 10, 8], [6, 20, 15]], [10, 10, 10])
    points, labels = create_method("wbt", support=0.5).barycenter(seen, context())
    assert torch.equal(torch.bincount(labels), torch.tensor([13, 15, 12]))
    xs, ys = split(seen)
    for c in range(3):
        b = points[labels == c].numpy()
        images = []
        for x, y in zip(xs, ys):
            cloud = x[y == c].numpy()
            images.append(len(b) * ot.emd(ot.unif(len(b)), ot.unif(len(cloud)), ot.dist(b, cloud)) @ cloud)
        assert np.allclose(np.mean(images, axis=0), b, atol=1e-6)


def test_wbt_of_translated_sources_is_their_mean():
    """Copies of one cloud moved by t and -t have the cloud itself as their barycenter."""
    rng = np.random.default_rng(0)
    cloud, y = draw(rng, [12, 12, 12], 0.3)
    move = np.array([30.0, -20.0])
    x = torch.from_numpy(np.concatenate([cloud + move, cloud - move]))
    source = Labeled(x, torch.from_numpy(np.tile(y, 2)), torch.arange(72) // 36)
    seen = Seen(source, Unlabeled(torch.from_numpy(cloud)), None, 3, "vector", MULTI_SOURCE, n_sources=2)
    points, labels = create_method("wbt", support=0.5).barycenter(seen, context())
    for c in range(3):
        here, there = points[labels == c].numpy(), cloud[y == c]
        assert np.allclose(here.mean(0), there.mean(0), atol=1e-6)
        assert ot.emd2(ot.unif(12), ot.unif(12), ot.dist(here, there)) < 0.1


def test_wbt_moves_its_classes_onto_the_target():
    """Sources moved far apart, a target elsewhere: the pooled sources fail, the merged and moved ones do not."""
    rng = np.random.default_rng(3)
    parts = [draw(rng, [15, 15, 15], 0.4) for _ in range(3)]
    moves = [np.array([9.0, 9.0]), np.array([-9.0, -9.0]), np.array([4.0, 40.0])]
    (x0, y0), (x1, y1), (xt, yt) = [(x + m, y) for (x, y), m in zip(parts, moves)]
    source = Labeled(
        torch.from_numpy(np.concatenate([x0, x1])), torch.from_numpy(np.r_[y0, y1]), torch.arange(90) // 45
    )
    seen = Seen(source, Unlabeled(torch.from_numpy(xt)), None, 3, "vector", MULTI_SOURCE, n_sources=2)
    model = create_method("wbt", reg=0.02).fit(seen, context())
    assert (model.predict(seen.target.x).labels.numpy() == yt).mean() > 0.95
    assert (model.predict_source(source.x).labels == source.y).float().mean() > 0.95
    pooled = context().classifier.fit(source.x, source.y, 3)
    assert (pooled(seen.target.x).argmax(1).numpy() == yt).mean() < 0.8
