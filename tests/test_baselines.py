"""The bounds: source_only and target_oracle, against scikit-learn and the published 1-NN row."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from dazoo.core.setting import ORACLE
from dazoo.data.registry import expand_tasks, load_domain, split_name
from dazoo.data.task import Task
from dazoo.data.transform import apply
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import create_method
from dazoo.shallow.classifiers import classifier
from tests.toys import toy_task

PUBLISHED = [26.00, 29.83, 25.48, 23.70, 25.76, 25.48, 26.27, 28.50, 63.39, 19.86, 22.96, 59.24]
ORDER = ["a->c", "a->w", "a->d", "c->a", "c->w", "c->d", "d->c", "d->a", "d->w", "w->c", "w->a", "w->d"]


def test_source_only_with_1nn_gives_the_published_row(data_root):
    names = {"a": "amazon", "c": "caltech10", "d": "dslr", "w": "webcam"}
    domains = {
        k: apply(load_domain("office_caltech10", v, data_root, features="surf"), ["row_sum", "zscore"])
        for k, v in names.items()
    }
    got = {}
    for pair in ORDER:
        s, t = pair.split("->")
        task = Task(f"office_caltech10/{pair}", (domains[s],), domains[t])
        model = fit(create_method("source_only"), task.seen(), options=Options(classifier=classifier("1nn"))).predictor
        got[pair] = 100 * float((model.predict(task.hidden().x).labels == task.hidden().y).double().mean())
    np.testing.assert_allclose([got[p] for p in ORDER], PUBLISHED, atol=0.005)
    assert abs(np.mean(list(got.values())) - 31.37) < 0.01


def test_shallow_source_only_is_the_classifier_on_the_source():
    task = toy_task()
    seen = task.seen()
    model = fit(create_method("source_only"), seen, options=Options(classifier=classifier("logistic"))).predictor
    expected = LogisticRegression(C=1.0, max_iter=1000).fit(seen.source.x.double().numpy(), seen.source.y.numpy())
    np.testing.assert_allclose(
        model.predict(task.target.x).probs.numpy(), expected.predict_proba(task.target.x.double().numpy()), atol=1e-6
    )


def test_oracle_learns_from_the_labelled_half_and_is_tested_on_the_other():
    task = toy_task(ORACLE)
    seen = task.seen()
    assert len(seen.few) + len(task.hidden().y) == len(task.target)
    assert not any(torch.equal(a, b) for a in seen.few.x for b in task.hidden().x)
    model = fit(create_method("target_oracle"), seen, options=Options(classifier=classifier("logistic"))).predictor
    expected = LogisticRegression(C=1.0, max_iter=1000).fit(seen.few.x.double().numpy(), seen.few.y.numpy())
    np.testing.assert_array_equal(
        model.predict(task.target.x).labels.numpy(), expected.predict(task.target.x.double().numpy())
    )


def test_task_patterns_expand_to_all_pairs():
    pairs = expand_tasks(["digits/*->*"])
    assert len(pairs) == 30 and all(split_name(p)[1][0] != split_name(p)[2] for p in pairs)
