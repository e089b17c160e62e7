"""Clusters of two domains where no label is seen: nothing of a label is, maps are those of their methods, both sides
are measured, and moved clusters are found again."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.datasets import make_moons

import dazoo
from dazoo.bench.execute.evaluate import evaluate
from dazoo.bench.metrics.formulas import cluster_metrics, domain_mixing
from dazoo.bench.metrics.registry import primary
from dazoo.core.errors import DazooError
from dazoo.core.setting import Setting
from dazoo.data.task import Task
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import METHODS, create_method
from dazoo.methods.unlabelled._clusters import centre_scores, cluster_centres
from dazoo.methods.unlabelled.dec_mmd import sharpened, stretch
from dazoo.methods.unlabelled.gaussian_mixture import DiagonalGaussians
from dazoo.methods.unlabelled.kmeans_matched import matching
from dazoo.validators.base import Evidence, admission, score_all
from tests.gaussians import context

NAMES = [n for n in METHODS.names() if METHODS.get(n).family == "unlabelled"]
SHALLOW = [n for n in NAMES if n != "dec_mmd"]


def moved(n: int = 90, shift: float = 40.0, stretch: float = 1.0, seed: int = 0) -> Task:
    """Three far-apart classes in four dimensions; the target lies far away, in a scale of its own."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    centres = np.array([[6.0, 0, 0, 0], [0, 6, 0, 0], [0, 0, 6, 0]])
    xs, xt = (centres[y] + rng.normal(size=(n, 4)) * 0.7 for _ in range(2))
    return Task.from_arrays(xs, y, xt * stretch + shift, y, setting="unlabelled")


def test_no_label_is_seen() -> None:
    task = moved().change(source_holdout=0.2)
    seen = task.seen()
    assert seen.source is not None and seen.source.y.unique().tolist() == [-1] and len(seen.source) == 90
    assert seen.source_val is None and seen.few is None and seen.n_classes == 3
    hidden = task.hidden()
    assert hidden.source is not None and torch.equal(hidden.source.y, task.sources[0].y)
    assert "classes" not in Setting.of("unlabelled").name and not Setting.of("unlabelled").labelled
    with pytest.raises(DazooError, match="does not run in the setting"):
        fit(create_method("coral"), seen)
    x = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(DazooError, match="regression"):
        Task.from_arrays(x, x[:, 0], x, setting="unlabelled")


@pytest.mark.parametrize("name", SHALLOW)
def test_no_source_label_reaches_a_method(name) -> None:
    """The contract of every method, here where the labels are those of the clusters; and the split takes no part."""
    task = moved(60)
    first = fit(create_method(name), task.seen(), seed=1).predictor.predict(task.target.x)
    y = task.sources[0].y.flip(0)
    other = task.change(sources=(dazoo.Task.from_arrays(task.sources[0].x, y, task.target.x).sources[0],))
    second = fit(create_method(name), other.change(source_holdout=0.3).seen(), seed=1).predictor.predict(task.target.x)
    assert torch.equal(first.scores, second.scores) and torch.equal(first.cluster, second.cluster)


@pytest.mark.parametrize("name", [n for n in SHALLOW if n != "kmeans"])
def test_clusters_of_moved_domains_are_found_again(name) -> None:
    """Each domain's classes are found, and the same ones bear the same name."""
    task = moved(shift=2.0 if name == "tca_kmeans" else 40.0)  # which scales samples to norm 1
    found = evaluate(task, fit(create_method(name), task.seen(), seed=0).predictor)
    assert found["cluster_acc"] > 0.95 and found["cluster_acc on source"] > 0.95, found
    assert found["cluster_acc on both"] > 0.95 and (found["mixing"] > 0.8 or name == "tca_kmeans"), found


def test_pooled_clusters_divide_domains_instead() -> None:
    task = moved()
    found = evaluate(task, fit(create_method("kmeans"), task.seen(), seed=0).predictor)
    assert found["cluster_acc on both"] < 0.7 and found["mixing"] < 0.1


@pytest.mark.parametrize(("name", "of"), [("coral_kmeans", "coral"), ("sa_kmeans", "sa"), ("ot_kmeans", "ot_linear")])
def test_maps_are_those_of_their_methods(name, of) -> None:
    seen = moved(stretch=2.0).seen()
    aligned, own = (create_method(n).align(seen, context()) for n in (of, name))
    assert torch.equal(aligned.zs, own.zs) and len(aligned.target_steps) == len(own.target_steps)
    z = create_method("zscore_kmeans").align(seen, context()).zs
    torch.testing.assert_close(z.mean(0), torch.zeros(4).to(z))
    torch.testing.assert_close(z.std(0, unbiased=False), torch.ones(4).to(z))
    model = fit(create_method(name), seen, seed=0).predictor
    features = model.predict_source(seen.source.x).features
    torch.testing.assert_close(features, own.zs)


def test_cluster_centres_both_domains_are_matched_at_least_cost() -> None:
    rng = np.random.default_rng(0)
    source = torch.from_numpy(rng.normal(size=(4, 3)))
    order = torch.tensor([2, 0, 3, 1])
    target = source[order] + 0.01
    assert torch.equal(target[matching(source, target)], source + 0.01)
    task = moved()
    model = fit(create_method("kmeans_matched"), task.seen(), seed=0).predictor
    assert torch.equal(model.predict(task.target.x).cluster, model.predict_source(task.sources[0].x).cluster)


def test_kmeans_is_that_of_the_centres() -> None:
    z = moved().target.x.double()
    centres = cluster_centres(z, 3, torch.Generator().manual_seed(0), lambda text: pytest.fail(text))
    labels = centre_scores(centres)(z).argmax(1)
    torch.testing.assert_close(torch.stack([z[labels == k].mean(0) for k in range(3)]), centres)
    with pytest.raises(DazooError, match="not so many different samples"):
        cluster_centres(torch.ones(9, 2).double(), 3, torch.Generator(), print)


def test_mixture_scores_are_log_densities() -> None:
    means, variances = torch.tensor([[0.0, 1.0], [2.0, -1.0]]).double(), torch.tensor([[1.0, 0.5], [0.2, 3.0]]).double()
    z = torch.tensor([[0.3, 0.7], [1.0, -2.0]]).double()
    weights = torch.tensor([0.25, 0.75]).double()
    normal = torch.distributions.Normal(means, variances.sqrt())
    expected = weights.log() + normal.log_prob(z[:, None]).sum(2)
    torch.testing.assert_close(DiagonalGaussians(means, variances, weights)(z), expected)


def test_spectral_clusters_follow_what_hangs_together() -> None:
    """Two interleaved half circles in either domain, which centres cannot tell apart."""
    (xs, ys), (xt, yt) = (make_moons(150, noise=0.04, random_state=s) for s in (0, 1))
    task = Task.from_arrays(xs, ys, xt + 5, yt, setting="unlabelled")
    found = {n: evaluate(task, fit(create_method(n), task.seen()).predictor) for n in ("spectral", "zscore_kmeans")}
    assert found["spectral"]["cluster_acc on both"] > 0.97 > 0.92 > found["zscore_kmeans"]["cluster_acc on both"]


def test_dec_equals_a_transcription() -> None:
    rng = np.random.default_rng(0)
    q, g = rng.dirichlet(np.ones(3), size=5), rng.uniform(1, 5, size=3)
    p = np.array([[row[k] ** 2 / g[k] / sum(row[m] ** 2 / g[m] for m in range(3)) for k in range(3)] for row in q])
    np.testing.assert_allclose(sharpened(torch.from_numpy(q), torch.from_numpy(g)), p)
    x, f = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    pairs = [(i, j) for i in range(6) for j in range(i)]
    dx, df = (np.array([np.linalg.norm(v[i] - v[j]) for i, j in pairs]) for v in (x, f))
    expected = ((dx / dx.mean() - df / df.mean()) ** 2).mean()
    assert float(stretch(torch.from_numpy(x), torch.from_numpy(f))) == pytest.approx(expected, rel=1e-6)
    assert float(stretch(torch.from_numpy(x), torch.from_numpy(3 * x))) == pytest.approx(0, abs=1e-9)


def test_metrics_are_those_of_both_sides() -> None:
    task = moved()
    model = fit(create_method("kmeans_matched"), task.seen(), seed=0).predictor
    found = evaluate(task, model)
    hidden = task.hidden()
    out, source = model.predict(hidden.x), model.predict_source(hidden.source.x)
    assert primary(task.setting) == "cluster_acc"
    for name, part in (("", (out.cluster, hidden.y)), (" on source", (source.cluster, hidden.source.y))):
        expected = cluster_metrics(*(v.numpy() for v in part))
        assert all(found[k + name] == pytest.approx(expected[k]) for k in ("cluster_acc", "nmi"))
    both = cluster_metrics(
        torch.cat([out.cluster, source.cluster]).numpy(), torch.cat([hidden.y, hidden.source.y]).numpy()
    )
    assert found["cluster_acc on both"] == pytest.approx(both["cluster_acc"]) and "accuracy" not in found


def test_mixing_counts_pairs_that_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(400, 3))
    assert domain_mixing(a[:200], a[200:]) > 0.85
    assert domain_mixing(a[:200], a[200:] + 50) == 0.0
    assert np.isnan(domain_mixing(a[:3], a))


def test_silhouette_and_davies_bouldin_may_choose_and_no_classifiers_rule() -> None:
    rules = admission(Setting.of("unlabelled"))
    assert set(rules.able) == {"silhouette", "davies_bouldin"}
    assert all("learned where no label is seen" in r or "was made for" in r for r in rules.refused)
    task = moved()
    evidence = Evidence(fit(create_method("zscore_kmeans"), task.seen()).predictor, task.seen())
    scores, problems = score_all(["silhouette", "davies_bouldin", "source_validation", "dev"], evidence)
    assert scores["silhouette"] > 0.5 and scores["davies_bouldin"] is not None and not problems
    assert scores["source_validation"] is None and scores["dev"] is None  # there is no label to judge by


def test_kept_outputs_hold_no_label_either(tmp_path) -> None:
    from dazoo.bench.execute.evidence import evidence_of
    from dazoo.bench.records.store import Damage, records
    from dazoo.bench.suite_run import run_suite

    suite = {
        "name": "s", "dataset": "digits", "tasks": ["upright->rotated"], "setting": "unlabelled", "seeds": 1,
        "methods": ["zscore_kmeans"], "classifier": "logistic", "validators": ["silhouette"],
    }  # fmt: skip
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps(suite))
    folder = run_suite(path, out=tmp_path / "out").folder
    record = next(iter(records(folder, Damage())))
    assert record["status"] == "ok" and record["checkpoints"][0]["target"]["cluster_acc on both"] > 0.4
    evidence = evidence_of(folder, record, 0)
    assert evidence.source_labels is None
    scores, _ = score_all(["source_validation", "silhouette"], evidence)
    assert scores["source_validation"] is None and scores["silhouette"] is not None


def test_a_model_names_clusters_and_no_classes(tmp_path) -> None:
    task = moved(shift=0.5)
    model = dazoo.fit("kmeans_matched", task)
    assert set(model.predict(task.target.x).names) <= {"cluster 0", "cluster 1", "cluster 2"}
    dazoo.save(model, tmp_path / "m.safetensors")
    again = dazoo.load(tmp_path / "m.safetensors")
    assert dazoo.evaluate(again, task) == dazoo.evaluate(model, task)
    assert torch.equal(again.predict_source(task.sources[0].x).cluster, model.predict_source(task.sources[0].x).cluster)


def test_dec_draws_domains_together_and_finds_their_clusters() -> None:
    task = moved(60, shift=4.0)
    options = Options(
        recipe=dazoo.engine.recipe.Recipe.named("digits", steps=150, bottleneck=8, batch=32), backbone="none"
    )
    found = evaluate(task, fit(create_method("dec_mmd"), task.seen(), options=options).predictor)
    assert found["cluster_acc on both"] > 0.9 and found["mixing"] > 0.5, found
