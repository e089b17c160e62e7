"""Settings in suites: baselines, admissible rules, contradictions, several targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import dazoo
from dazoo.bench.metrics.formulas import class_metrics
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.bench.suite_run import run_suite
from dazoo.core.errors import DazooError
from dazoo.engine.fit import Options
from dazoo.engine.recipe import Recipe
from dazoo.validators.base import VALIDATORS
from dazoo.validators.info_max_prior import info_max_prior
from dazoo.validators.unknown_split import unknown_split

QUICK = Options(recipe=Recipe.named("digits", steps=10, batch=16, bottleneck=8), backbone="mlp")


def blobs(classes: str, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = {c: 4 * np.random.default_rng(ord(c)).normal(size=6) for c in "abcdefgh"}
    y = np.array([classes[i % len(classes)] for i in range(n)])
    return np.stack([centres[c] for c in y]) + rng.normal(size=(n, 6)), y


# -- suites and validators --------------------------------------------------------------------------------------------


def suite(**more: object) -> Suite:
    return Suite.of(
        {"dataset": {"name": "digits", "classes": {"shared": 5, "source": 5}}, "tasks": "upright->rotated",
         "methods": ["source_only", "coral"], "recipe": "digits", **more}
    )  # fmt: skip


def test_closed_set_methods_run_where_a_suite_asks_for_baselines() -> None:
    with pytest.raises(DazooError, match="closed_set_baselines: true"):
        make_plan(suite())
    plan = make_plan(suite(closed_set_baselines=True))
    assert {s.setting for s in plan.specs} == {"partial"} and len(plan.specs) == 2
    assert plan.specs[0].protocol.classes == {"shared": 5, "source": 5}


def test_rules_that_want_all_classes_choose_nothing_where_some_are_missing() -> None:
    assert suite().select_by == "last" and Suite.of({"dataset": "digits", "methods": "dann"}).select_by == "info_max"
    for rule in ("info_max", "diversity", "bnm", "corr_c", "class_cluster"):
        assert VALIDATORS.get(rule).problem("partial") and not VALIDATORS.get(rule).problem("closed")
    with pytest.raises(DazooError, match=r"'info_max' rewards models that spread.*take last, or one of .*entropy"):
        make_plan(suite(select_by="info_max", closed_set_baselines=True))
    names = make_plan(suite(validators="*", closed_set_baselines=True)).specs[0].protocol.validators
    assert "info_max_prior" in names and "info_max" not in names and "unknown_split" not in names
    assert "info_max" in make_plan(suite(validators="info_max", closed_set_baselines=True)).specs[0].protocol.validators


def test_the_best_split_of_unknown_scores() -> None:
    u = torch.tensor([0.1, 0.9, 0.2, 0.8, 0.85], dtype=torch.float64)
    shares = []
    for t in u.sort().values[:-1]:
        a, b = u[u <= t], u[u > t]
        shares.append(float(len(a) * len(b) / len(u) ** 2 * (a.mean() - b.mean()) ** 2 / u.var(correction=0)))
    assert unknown_split(u) == pytest.approx(max(shares), rel=1e-12)
    assert unknown_split(torch.tensor([0.0, 1.0, 1.0])) == pytest.approx(1.0)
    assert unknown_split(torch.ones(4)) is None


def test_prior_aware_information() -> None:
    gen = torch.Generator().manual_seed(0)
    p = torch.softmax(3 * torch.randn(200, 4, generator=gen, dtype=torch.float64), 1)
    y = torch.arange(40) % 4
    q = torch.full((4,), 0.25, dtype=torch.float64)
    for _ in range(100):
        r = p * q / 0.25
        q = (r / r.sum(1, keepdim=True)).mean(0)
    mean = p.mean(0)
    kl = float((mean * (mean / q).log()).sum())
    assert float(info_max_prior(p, y)) == pytest.approx(float((p * p.log()).sum(1).mean()) - kl, abs=1e-6)
    only_two = torch.eye(4, dtype=torch.float64)[torch.arange(50) % 2]
    assert float(info_max_prior(only_two, y)) == pytest.approx(0.0, abs=1e-9)


def test_nothing_is_unknown_where_nothing_can_be() -> None:
    for classes in (None, "partial"):
        task = dazoo.load_task("digits/upright->rotated", **({} if classes is None else {"classes": classes}))
        for method in ("msp", "knn_distance", "ovanet"):
            model = dazoo.fit(method, task)
            out = model.predict(task.hidden().x)
            assert int(out.labels.max()) < task.n_classes and "unknown" not in set(out.names)
            found = dazoo.evaluate(model, task)
            hits = [float((out.labels == task.hidden().y)[task.hidden().y == c].double().mean()) for c in range(5)]
            assert classes is None or found["balanced_accuracy"] == pytest.approx(sum(hits) / 5)


def test_unknown_is_a_miss_where_a_label_is_asked() -> None:
    found = class_metrics(np.array([0, 3, 1, 3]), np.array([0, 0, 1, 2]), 3)
    assert found["accuracy"] == 0.5 and found["balanced_accuracy"] == pytest.approx((0.5 + 1 + 0) / 3)


def test_rules_that_may_not_choose_are_refused_by_fit_too() -> None:
    task = dazoo.load_task("digits/upright->rotated", classes="universal")
    with pytest.raises(DazooError, match=r"'info_max' rewards.*leave select_by out, or take one of .*entropy"):
        dazoo.fit("ovanet", task, select_by="info_max")
    with pytest.raises(DazooError, match="'dev' has no value in the setting 'source_free'"):
        dazoo.fit("shot", dazoo.load_task("digits/upright->rotated", setting="source_free"), select_by="dev")
    with pytest.raises(DazooError, match="'dev' has no value in the setting 'source_free'"):
        make_plan(Suite.of({"dataset": "digits", "methods": "shot", "recipe": "digits", "setting": "source_free",
                            "select_by": "dev"}))  # fmt: skip


def test_contradictions_are_named() -> None:
    with pytest.raises(DazooError, match="makes universal label sets, but the setting 'partial'"):
        dazoo.load_task("digits/upright->rotated", classes="universal", setting="partial")
    with pytest.raises(DazooError, match="makes universal label sets, but the setting 'partial'"):
        make_plan(Suite.of({"dataset": {"name": "digits", "classes": "universal"}, "methods": "pada",
                            "recipe": "digits", "setting": "partial"}))  # fmt: skip
    (xs, ys), (xt, yt) = blobs("abc", 60), blobs("gh", 60, 1)
    with pytest.raises(DazooError, match="share no class"):
        dazoo.Task.from_arrays(xs, ys, xt, yt, setting="universal")
    with pytest.raises(DazooError, match="called 'unknown'"):
        dazoo.Task.from_arrays(xs, np.where(ys == "a", "unknown", ys), xt, ys, setting="open_set")
    with pytest.raises(DazooError, match="regression, without classes"):
        dazoo.Task.from_arrays(xs, xs[:, 0], xt, setting="partial")


# -- several targets --------------------------------------------------------------------------------------------------


def test_several_targets_are_pooled_and_tested_each_by_itself() -> None:
    both = dazoo.load_task("digits/upright->noisy+rotated")
    singles = [dazoo.load_task(f"digits/upright->{t}") for t in ("noisy", "rotated")]
    assert both.setting.name == "multi_target" and len(both.target) == sum(len(t.target) for t in singles)
    assert both.seen().target.domain.bincount().tolist() == [len(t.target) for t in singles]
    model = dazoo.fit("source_only", both)
    found, each = dazoo.evaluate(model, both), [dazoo.evaluate(model, t)["accuracy"] for t in singles]
    assert [found["accuracy on noisy"], found["accuracy on rotated"]] == pytest.approx(each)
    assert found["accuracy"] == pytest.approx(sum(each) / 2)
    for name in ("digits/upright->noisy+noisy", "digits/noisy->noisy+rotated"):
        with pytest.raises(DazooError, match="names a domain twice"):
            dazoo.load_task(name)
    with pytest.raises(DazooError, match="no domain 'nosiy'"):
        make_plan(Suite.of({"dataset": "digits", "methods": "coral", "tasks": "upright->nosiy+rotated"}))


def test_a_suite_runs_several_targets(tmp_path: Path) -> None:
    path = tmp_path / "mt.yaml"
    path.write_text("dataset: digits\ntasks: upright->noisy+scaled\nmethods: [source_only, sa]\n")
    frame = dazoo.load_records(run_suite(path, out=tmp_path / "out").folder)
    assert set(frame["setting"]) == {"multi_target"} and {"metric.accuracy", "metric.accuracy on noisy"} <= set(
        frame.columns
    )
