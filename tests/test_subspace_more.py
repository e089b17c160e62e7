"""Feature selection, feature expansion, graphs and conditional shift: planted structure and independent solutions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch
from sklearn.metrics import mutual_info_score

from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import create_method
from dazoo.methods.subspace._graph import cosine_graph, scaled_by_degree
from dazoo.methods.subspace.fmmd import discrepancy_weights
from dazoo.methods.subspace.mmd_location_scale import location_scale
from dazoo.methods.subspace.scl import shared_directions
from dazoo.methods.subspace.sfa import clusters, mutual_information
from dazoo.ops.linalg.linear import gram, median_gamma
from tests.test_subspace import context, toy


def seen_of(xs, ys, xt, n_classes=2) -> Seen:
    xs, ys, xt = (torch.as_tensor(v) for v in (xs, ys, xt))
    return Seen(Labeled(xs, ys, torch.zeros_like(ys)), Unlabeled(xt), None, n_classes, "vector", UNSUPERVISED)


# -- label propagation ----------------------------------------------------------------------------------------------


def test_label_propagation_is_the_fixed_point_of_its_iteration():
    """F <- alpha S F + (1 - alpha) Y, run until it stands still, gives the same labels and shares."""
    seen = toy(40, 30)
    model = create_method("label_propagation", alpha=0.9, neighbours=6).fit(seen, context())
    both = torch.cat([seen.source.x, seen.target.x])
    spread = scaled_by_degree(cosine_graph(both, 6))
    start = torch.cat([torch.eye(3, dtype=torch.float64)[seen.source.y], torch.zeros(30, 3, dtype=torch.float64)])
    f = start
    for _ in range(400):
        f = 0.9 * spread @ f + 0.1 * start
    shares = f[40:] / f[40:].sum(1, keepdim=True)
    assert torch.allclose(model.predict(seen.target.x).scores.exp(), shares, atol=1e-6)


def test_label_propagation_follows_the_moons():
    """Two arcs of a circle, labelled at one end: the far end of each is nearer to the other's labels."""
    angle = np.linspace(0, 1, 60)
    arcs = [np.c_[np.cos(a), np.sin(a)] for a in (2.4 * angle, 2.9 + 2.4 * angle)]
    xs, xt = np.concatenate([a[:8] for a in arcs]), np.concatenate([a[8:] for a in arcs])
    ys, yt = np.repeat([0, 1], 8), np.repeat([0, 1], 52)
    model = create_method("label_propagation", neighbours=3).fit(seen_of(xs, ys, xt), context())
    plain = context().classifier.fit(torch.as_tensor(xs), torch.as_tensor(ys), 2)
    accuracy = (model.predict(torch.as_tensor(xt)).labels.numpy() == yt).mean()
    assert accuracy == 1.0
    assert (plain(torch.as_tensor(xt)).argmax(1).numpy() == yt).mean() < 0.8


def test_cosine_graph_is_symmetric_without_loops():
    x = torch.randn(30, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    w = cosine_graph(x, 5)
    assert torch.equal(w, w.T) and w.diagonal().abs().max() == 0 and (w >= 0).all()
    assert ((w > 0).sum(1) >= 1).all() and (w > 0).sum() <= 2 * 5 * 30


# -- f-MMD ----------------------------------------------------------------------------------------------------------


def test_fmmd_weights_solve_the_programme():
    seen = toy(d=4)
    xs, xt = seen.source.x.numpy(), seen.target.x.numpy()
    pooled = (xs.var(0) * len(xs) + xt.var(0) * len(xt)) / (len(xs) + len(xt) - 2)
    m = (xs.mean(0) - xt.mean(0)) ** 2 / pooled
    best = scipy.optimize.minimize(
        lambda w: -w @ m,
        np.full(4, 0.4),
        bounds=[(0, None)] * 4,
        constraints={"type": "ineq", "fun": lambda w: 1 - w @ w},
        options={"ftol": 1e-12},
    )
    assert np.allclose(discrepancy_weights(seen.source.x, seen.target.x), best.x, atol=1e-4)


def test_fmmd_drops_the_features_that_moved():
    rng = np.random.default_rng(0)
    xs, xt = rng.standard_normal((80, 6)), rng.standard_normal((70, 6))
    xt[:, [1, 4]] += 5
    seen = seen_of(xs, np.arange(80) % 2, xt)
    step = create_method("fmmd").align(seen, context()).target_steps[0]
    assert step.index.tolist() == [0, 2, 3, 5]
    assert create_method("fmmd", threshold=1.0).align(seen, context()).zs.shape == (80, 6)


def test_fmmd_without_shift_keeps_everything():
    seen = toy()
    same = seen_of(seen.source.x, seen.source.y, seen.source.x, 3)
    assert create_method("fmmd").align(same, context()).zs.shape == seen.source.x.shape


# -- location-scale -------------------------------------------------------------------------------------------------


def test_location_scale_recovers_a_planted_map():
    """Each class stretched and moved in its own way; the fitted numbers come near and the discrepancy vanishes."""
    rng = np.random.default_rng(0)
    y = torch.arange(240) % 2
    centres = torch.tensor([[3.0, 0.0], [-3.0, 0.0]], dtype=torch.float64)
    xs = centres[y] + torch.from_numpy(rng.standard_normal((240, 2)))
    scale = torch.tensor([[1.2, 0.8], [0.9, 1.3]], dtype=torch.float64)
    place = torch.tensor([[0.8, 1.0], [-0.5, 0.9]], dtype=torch.float64)
    xt = scale[y] * (centres[y] + torch.from_numpy(rng.standard_normal((240, 2)))) + place[y]
    a, b = location_scale(xs, y, xt, 2, 1e-5, 200)

    def gap(z):
        gamma = median_gamma(xt)
        means = [gram("rbf", p, q, gamma).mean() for p, q in ((z, z), (z, xt), (xt, xt))]
        return float(means[0] - 2 * means[1] + means[2])

    assert gap(a[y] * xs + b[y]) < 0.05 * gap(xs)
    truth = scale[y] * xs + place[y]
    assert (a[y] * xs + b[y] - truth).square().mean() < 0.1 * (xs - truth).square().mean()


# -- SCL, SFA -------------------------------------------------------------------------------------------------------


def words(seed: int = 0, n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Documents of two classes. Features 0-3 are bridge words (two per class) in both domains; 4-7 are words of the
    source, 8-11 words of the target, two per class; 12-15 are noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2

    def draw(own: int) -> np.ndarray:
        rate = np.full((n, 16), 0.05)
        rate[:, 12:] = 0.3
        for c in (0, 1):
            rows = np.flatnonzero(y == c)
            rate[np.ix_(rows, [2 * c, 2 * c + 1])] = 0.6
            rate[np.ix_(rows, [own + 2 * c, own + 2 * c + 1])] = 0.6
        absent = [k for k in range(4, 12) if not own <= k < own + 4]
        rate[:, absent] = 0.0
        return (rng.random((n, 16)) < rate).astype(float)

    return draw(4), y, draw(8), y


def test_scl_joins_features_that_stand_for_the_same_pivot():
    xs, _, xt, _ = words()
    both = torch.from_numpy(np.concatenate([xs, xt]))
    u = shared_directions(both, torch.arange(4), 1.0, 1)[:, 0]
    assert torch.equal(u[:4], torch.zeros(4, dtype=torch.float64))
    first, second = u[[4, 5, 8, 9]], u[[6, 7, 10, 11]]
    assert (torch.sign(first) == torch.sign(first[0])).all()
    assert (torch.sign(second) == -torch.sign(first[0])).all()
    assert u[12:].abs().max() < 0.5 * torch.cat([first, second]).abs().min()


@pytest.mark.parametrize(("name", "options"), [("scl", {"pivots": 4, "dim": 1}), ("sfa", {"bridge": 4, "dim": 2})])
def test_added_features_carry_the_classes_over(name, options):
    xs, ys, xt, yt = words()
    # without the bridge words in the target, only the correspondence can help
    test = xt.copy()
    test[:, :4] = 0
    seen = seen_of(xs, ys, xt)
    model = create_method(name, **options).fit(seen, context("logistic"))
    plain = context("logistic").classifier.fit(seen.source.x, seen.source.y, 2)
    hits = (model.predict(torch.from_numpy(test)).labels.numpy() == yt).mean()
    assert hits > 0.75 > 0.6 > (plain(torch.from_numpy(test)).argmax(1).numpy() == yt).mean()


def test_sfa_joins_features_that_occur_with_the_same_bridge():
    xs, _, xt, _ = words(n=2000)
    u = clusters(torch.from_numpy(xs), torch.from_numpy(xt), 4, 2)
    chosen = torch.nonzero((u == 0).all(1))[:, 0]
    assert set(range(4, 12)).isdisjoint(chosen.tolist())  # words of one domain tell the domain
    unit = u / u.norm(dim=1, keepdim=True).clamp(min=1e-12)
    assert float(unit[4] @ unit[8]) > 0.9  # the same class in different domains
    assert float(unit[4] @ unit[6]) < 0.5  # the same domain, different classes


def test_mutual_information_agrees_with_scikit_learn():
    xs, _, xt, _ = words()
    mine = mutual_information(torch.from_numpy(xs), torch.from_numpy(xt)).numpy()
    domain = np.r_[np.zeros(len(xs)), np.ones(len(xt))]
    both = np.concatenate([xs, xt])
    assert np.allclose(mine, [mutual_info_score(domain, both[:, k]) for k in range(16)])
