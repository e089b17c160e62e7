"""Metrics of targets with unknown samples, of clusters and of estimated priors: counted out, limits, missing parts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dazoo.bench.metrics.formulas import (
    cluster_metrics,
    harmonic_mean,
    open_set_metrics,
    prior_errors,
    unknown_ranking,
)
from dazoo.bench.metrics.registry import Answers, measure, primary
from dazoo.core.errors import DazooError
from dazoo.core.setting import OPEN_SET, PARTIAL, UNSUPERVISED, Setting

Y = np.array([0, 0, 0, 0, 1, 1, 3, 3])  # of three known classes, 2 is absent; 3 is unknown
H = np.array([0, 0, 0, 3, 1, 2, 3, 0])


def test_open_set_metrics_are_counted():
    found = open_set_metrics(H, Y, 3)
    assert found == {
        "os_star": (3 / 4 + 1 / 2) / 2,
        "unk": 0.5,
        "os": (3 / 4 + 1 / 2 + 1 / 2) / 3,
        "hos": pytest.approx(5 / 9),
    }
    assert open_set_metrics(np.full(8, 3), Y, 3) == {"os_star": 0.0, "unk": 1.0, "os": 1 / 3, "hos": 0.0}
    assert open_set_metrics(np.zeros(8, int), Y, 3)["hos"] == 0.0


def test_what_has_no_samples_is_missing():
    closed = open_set_metrics(H[:6], Y[:6], 3)
    assert math.isnan(closed["unk"]) and math.isnan(closed["hos"]) and closed["os"] == closed["os_star"]
    strange = open_set_metrics(H[6:], Y[6:], 3)
    assert math.isnan(strange["os_star"]) and math.isnan(strange["hos"]) and strange["os"] == strange["unk"] == 0.5
    for rows in (slice(0, 6), slice(6, 8)):
        assert all(math.isnan(v) for v in unknown_ranking(H[rows], Y[rows], np.arange(8.0)[rows], 3).values())
    assert math.isnan(harmonic_mean(0.5, float("nan"))) and harmonic_mean(0.0, 1.0) == 0.0


def by_pairs(h, y, u, k):
    pairs = [(u[j] > u[i]) + (u[j] == u[i]) / 2 for i in range(len(y)) for j in range(len(y)) if y[i] < k == y[j]]
    right = [h[i] == y[i] for i in range(len(y)) for j in range(len(y)) if y[i] < k == y[j]]
    return {"auroc_unknown": np.mean(pairs), "oscr": np.mean(np.multiply(pairs, right))}


@pytest.mark.parametrize("seed", range(3))
def test_ranking_of_unknown_is_that_of_all_pairs(seed):
    rng = np.random.default_rng(seed)
    y, h, u = rng.integers(0, 4, 30), rng.integers(0, 3, 30), rng.integers(0, 6, 30) / 5
    assert unknown_ranking(h, y, u, 3) == pytest.approx(by_pairs(h, y, u, 3))


def test_ranking_at_its_limits():
    u = np.array([0, 1, 2, 3, 4, 5, 9, 9.0])
    best = unknown_ranking(Y, Y, u, 3)
    assert best == {"auroc_unknown": 1.0, "oscr": 1.0}
    assert unknown_ranking(Y, Y, np.where(Y == 3, np.inf, -np.inf), 3) == best
    assert unknown_ranking(np.full(8, 2), Y, u, 3) == {"auroc_unknown": 1.0, "oscr": 0.0}
    assert unknown_ranking(Y, Y, np.zeros(8), 3) == {"auroc_unknown": 0.5, "oscr": 0.5}
    with pytest.raises(DazooError, match="1 scores"):
        unknown_ranking(Y, Y, np.where(np.arange(8) == 2, np.nan, u), 3)


def test_clusters_may_be_called_anything():
    y = np.array([0, 0, 1, 1, 5])
    assert cluster_metrics(np.array([7, 7, -1, -1, 3]), y) == {"cluster_acc": 1.0, "nmi": pytest.approx(1), "ari": 1.0}
    one = cluster_metrics(np.zeros(5, int), y)
    assert one["cluster_acc"] == 0.4 and one["nmi"] == pytest.approx(0) and one["ari"] == pytest.approx(0)
    assert cluster_metrics(np.arange(5), y)["cluster_acc"] == 0.6  # one of each class is matched


def test_prior_errors_of_one_and_of_many_rows():
    t, q = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.5, 0.25])
    found = prior_errors(q, t, 0.1)
    assert found["prior_mae"] == pytest.approx(0.5 / 3)
    assert found["prior_rae"] == pytest.approx((0.25 / 0.6 + 0.25 / 0.1) / 3)
    assert found["prior_kld"] == pytest.approx((0.6 * np.log(0.6 / 0.35) + 0.1 * np.log(0.1 / 0.35)) / 1.3)
    assert prior_errors(np.stack([q, t]), np.stack([t, t]), 0.1) == pytest.approx({k: v / 2 for k, v in found.items()})
    assert set(prior_errors(t, t, 0.01).values()) == {0.0}


def answers(**more):
    fine = np.array([0, 0, 0, 0, 1, 1, 3, 4])
    return Answers(3, Y, H, closed=np.minimum(H, 2), unknown=np.arange(8.0), fine=fine, **more)


def test_the_registry_measures_what_a_setting_has():
    found = measure(OPEN_SET, answers())
    assert list(found) == ["hos", "os", "os_star", "unk", "auroc_unknown", "oscr"]
    closed = measure(UNSUPERVISED, Answers(3, Y[:6], H[:6].clip(0, 2), H[:6].clip(0, 2)))
    assert set(closed) == set(measure(PARTIAL, Answers(3, Y[:6], H[:6].clip(0, 2), H[:6]))) == {
        "accuracy", "balanced_accuracy", "macro_f1"
    }  # fmt: skip
    assert [primary(Setting.of(s)) for s in ("open_set", "universal", "partial", "source_free_open")] == [
        "hos", "hos", "accuracy", "hos"
    ]  # fmt: skip
    assert primary(UNSUPERVISED, values=True) == "rmse"


def test_clusters_and_priors_are_measured_where_a_method_gives_them():
    apart = measure(OPEN_SET, answers(cluster=np.array([9, 9, 9, 9, 9, 9, 1, 2])))
    assert apart["nmi_private"] == pytest.approx(1)
    assert apart["h3"] == pytest.approx(3 / (1 / apart["os_star"] + 1 / apart["unk"] + 1))
    together = measure(OPEN_SET, answers(cluster=np.zeros(8, int)))
    assert together["nmi_private"] == pytest.approx(0) and together["h3"] == pytest.approx(0, abs=1e-9)
    known = Answers(3, Y[:6], H[:6].clip(0, 2), H[:6], prior=np.array([0.5, 0.5, 0.0]))
    assert measure(PARTIAL, known)["prior_mae"] == pytest.approx((1 / 6 + 1 / 6) / 3)
