"""Forms for many samples against the exact ones: the same answers, or near ones where the maths is not the same."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.core.types import Labeled
from dazoo.methods.base import create_method
from dazoo.methods.reweighting import kde_ratio, ldm
from dazoo.methods.subspace import _graph, meda
from dazoo.methods.subspace._descent import mean_kernel
from dazoo.methods.transport import _parts
from dazoo.ops.linalg.linear import gram
from tests.test_subspace import context, toy


def labels(name, seen, head="1nn", **hparams):
    ctx = context(head)
    model = create_method(name, **hparams).fit(seen, ctx)
    return model.predict(seen.target.x), ctx.warnings


def test_densities_in_single_precision_are_those_in_double(monkeypatch):
    seen = toy(90, 70)
    far = seen.source.x.clone()
    far[0] *= 1e3  # too far for single precision
    exact = kde_ratio.log_ratio(far, seen.target.x)
    monkeypatch.setattr(kde_ratio, "MANY_PAIRS", 0)
    monkeypatch.setattr(kde_ratio, "COLUMNS", 16)
    many = kde_ratio.log_ratio(far, seen.target.x)
    assert not torch.equal(many, exact)
    torch.testing.assert_close(many, exact, rtol=1e-6, atol=1e-4)


def test_ldm_of_many_samples_certifies_the_same_discrepancy(monkeypatch):
    seen = toy(60, 50, d=4)
    x, target = ldm.lifted(seen.source.x, seen.target.x)
    exact, gap = ldm.minimise(x, target)
    monkeypatch.setattr(ldm, "MANY", 0)
    many, other = ldm.minimise(x, target)
    start, *norms = (
        float(torch.linalg.eigvalsh(ldm._difference(x, target, w)).abs().max())
        for w in (torch.full_like(exact, 1 / 60), exact, many)
    )
    assert max(gap, other) <= ldm.GAP and abs(norms[0] - norms[1]) <= ldm.GAP * start
    v = torch.linspace(-1, 2, 9, dtype=torch.float64)
    monkeypatch.setattr(ldm, "MANY", 100)
    torch.testing.assert_close(ldm._simplex_of_many(v), ldm._simplex(v))


def test_sparse_label_propagation_is_the_dense_one(monkeypatch):
    seen = toy(50, 40)
    dense, quiet = labels("label_propagation", seen)
    monkeypatch.setattr(_graph, "DENSE_LIMIT", 10)
    sparse, told = labels("label_propagation", seen)
    assert not quiet and "conjugate gradients" in told[0]
    torch.testing.assert_close(sparse.scores, dense.scores, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("landmarks", "least"), [(1000, 1.0), (40, 0.97)])
def test_meda_on_landmarks_is_meda(monkeypatch, landmarks, least):
    seen = toy(70, 60)
    dense, _ = labels("meda", seen, dim=2)
    monkeypatch.setattr(_graph, "DENSE_LIMIT", 10)
    monkeypatch.setattr(meda, "LANDMARKS", landmarks)
    some, told = labels("meda", seen, dim=2)
    assert "drawn at random" in told[0]
    assert float((some.labels == dense.labels).double().mean()) >= least


ONE_SOURCE = (
    "ot_emd", "ot_sinkhorn", "ot_unbalanced", "ot_partial", "ot_capped", "ot_laplace", "ot_class_reg", "ot_group_lasso",
    "ot_label_prop", "ot_mapping", "ot_nearest_brenier", "jdot",
)  # fmt: skip
SEVERAL = ("wjdot", "wbt", "jcpot")
FEWER = {"ot_nearest_brenier": {"size": 8, "rounds": 1}, "ot_laplace": {"rounds": 3}, "ot_group_lasso": {"rounds": 3}}
MORE = {"ot_mapping": {"kernel": "gaussian"}, "jcpot": {"use": "features"}}


@pytest.mark.parametrize(
    ("name", "hparams"),
    [*((n, FEWER.get(n, {})) for n in ONE_SOURCE + SEVERAL), *MORE.items()],
    ids=lambda v: str(v) if v else "",
)
def test_random_parts_answer_as_the_whole_plan(name, hparams, monkeypatch):
    """Beyond memory_gib parts of 30 samples a side are transported, a warning says so, and labels agree."""
    seen = toy(120, 100, move=0.5)
    if name in SEVERAL:
        domain = (torch.arange(120) >= 60).long()
        seen = dataclasses.replace(seen, source=dataclasses.replace(seen.source, domain=domain))
    whole, quiet = labels(name, seen, "logistic", **hparams)
    monkeypatch.setattr(_parts, "PART", 30)
    for module in ("_plan", "wbt"):
        monkeypatch.setattr(f"dazoo.methods.transport.{module}.PART", 30)
    parts, told = labels(name, seen, "logistic", memory_gib=1e-6, **hparams)
    again, _ = labels(name, seen, "logistic", memory_gib=1e-6, **hparams)
    assert not any("random parts" in s for s in quiet)
    assert sum("random parts of at most 30 samples a side" in s for s in told) == 1
    assert torch.equal(parts.scores, again.scores) and not torch.equal(parts.scores, whole.scores)
    truth = torch.arange(100) % 3
    right = [float((p.labels == truth).double().mean()) for p in (whole, parts)]
    assert right[1] >= right[0] - 0.1


def test_parts_are_dealt_evenly_and_cover_all(monkeypatch):
    monkeypatch.setattr(_parts, "PART", 512)
    y, domain = torch.arange(101) % 3, (torch.arange(101) < 40).long()
    blocks = _parts.plan_parts(101, 1300, context(), [domain, y])
    assert len(blocks) == 3 * _parts.PASSES
    for of, n in (("rows", 101), ("cols", 1300)):
        assert torch.equal(torch.cat([getattr(b, of) for b in blocks[:3]]).sort().values, torch.arange(n))
    for b in blocks:
        assert torch.bincount(3 * domain[b.rows] + y[b.rows], minlength=6).min() >= 4
    few = torch.tensor([0] * 100 + [1])
    assert len(_parts.plan_parts(101, 1300, context(), [domain, few])) == _parts.PASSES  # a class of one sample


def test_the_former_default_stays_in_the_keys():
    """large='auto' equals large='error' wherever that gave a result, so runs of before keep their keys."""

    def keys(**more):
        suite = {"dataset": "digits", "tasks": ["upright->rotated"], "methods": [{"name": "ot_emd", **more}]}
        return {s.key: s.hparams["large"] for s in make_plan(Suite.of(suite)).specs}

    assert keys() and list(keys()) == list(keys(large="error")) != list(keys(large="minibatch"))
    assert set(keys().values()) == {"auto"}


def test_trees_and_mixtures_of_many_samples_come_from_a_part_of_them(monkeypatch):
    seen = toy(300, 90, move=0.3)
    few = Labeled(seen.target.x[:12], torch.arange(12) % 3, torch.zeros(12, dtype=torch.int64))
    tasks = {"sot": seen, "transfer_forest": dataclasses.replace(seen, few=few)}
    for name, module in (("sot", "transport.sot"), ("transfer_forest", "parameter_transfer.transfer_forest")):
        hparams = {"clusters": 8} if name == "sot" else {"trees": 8}
        whole, quiet = labels(name, tasks[name], "logistic", **hparams)
        monkeypatch.setattr(f"dazoo.methods.{module}.MOST_SAMPLES", 60)
        part, told = labels(name, tasks[name], "logistic", **hparams)
        assert not any("at random" in s for s in quiet) and "60" in told[0] and "at random" in told[0]
        assert not torch.equal(part.scores, whole.scores)
        assert float((part.labels == whole.labels).double().mean()) > 0.85


def test_mean_kernels_have_the_gradients_of_autograd():
    gen = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 4, generator=gen, dtype=torch.float64) for n in (7, 5))
    for other in (None, y):
        grads = []
        for mean in (mean_kernel, lambda a, b, gamma: gram("rbf", a, b, gamma).mean()):
            a = x.clone().requires_grad_()
            b = a if other is None else other.clone().requires_grad_()
            value = mean(a, b, 0.3)
            (2 * value).backward()
            grads.append([value.detach(), a.grad, b.grad])
        for mine, autograd in zip(*grads):
            torch.testing.assert_close(mine, autograd)
