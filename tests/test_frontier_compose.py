"""Methods that change what others are trained on: balanced batches, harmonised gradients, averaged weights, views."""

from __future__ import annotations

import dataclasses
import itertools
from functools import cache

import numpy as np
import pytest
import torch

from dazoo.contracts import gradient
from dazoo.core.errors import DazooError
from dazoo.engine import train
from dazoo.engine.feed import Feed
from dazoo.engine.fit import fit
from dazoo.methods.base import METHODS, GradientMethod, create_method
from dazoo.methods.composition.compose import _check
from dazoo.ops.batches import class_slots, rows_of
from tests.small import at, small_batch, small_net
from tests.toys import TINY, options_for, toy_task

PARTNERS = ["erm_plus", "implicit_alignment", "gh", "mic"]
LEADERS = ["dann", "mcc", "dan", "mcd", "adda", "jumbot"]
OWN = ["gvb", "mran", "dsbn", "swd", "fixbi", "iwdan", "mean_teacher"]  # predict in a way of their own
CLOSED = [
    n
    for n in METHODS.names()
    if issubclass(METHODS.get(n), GradientMethod)
    and METHODS.get(n).handles & METHODS.get("erm_plus").handles
    and "classes" in METHODS.get(n).targets
]


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def fit_any(name, task=None, **hparams):
    return fit(create_method(name, **hparams), (task or toy_task()).seen(), seed=0, options=options_for("dann"))


# -- what any method can be joined by -------------------------------------------------------------------------------


@cache
def alone(leader):
    return fit_any(leader)


@pytest.mark.parametrize(
    ("leader", "partner"), [*itertools.product(LEADERS, PARTNERS), *zip(OWN, itertools.cycle(PARTNERS))]
)
def test_they_join_any_method_and_change_it(leader, partner):
    """Also one of several phases, one that starts from a fitted model, and those that predict in a way of their own."""
    if (leader, partner) == ("adda", "gh"):
        return  # refused
    joined, before = fit_any(f"{leader}+{partner}"), alone(leader)
    after = joined.predictor.state
    changed = (not torch.equal(after[k], v) for k, v in before.predictor.state.items())
    assert set(before.curves) <= set(joined.curves) and any(changed)  # no term of the leader is lost
    assert all(bool(torch.isfinite(v).all()) for v in after.values())


@pytest.mark.parametrize("leader", CLOSED)
def test_they_join_every_method_of_the_closed_set(leader):
    for partner in PARTNERS:
        if partner == leader:
            continue
        if partner == "gh" and leader in ("adda", "dirt_t"):
            with pytest.raises(DazooError, match=f"classification, and '{leader}' has none"):
                create_method(f"{leader}+{partner}")
        else:
            assert create_method(f"{leader}+{partner}").methods[1].name == partner


@pytest.mark.parametrize("leader", ["gvb", "mran", "swd"])
def test_terms_see_what_the_leader_predicts(leader):
    """mcc's term and mic's teacher read the leader's scores in the place of the head's."""
    method = create_method(f"{leader}+mcc+mic")
    net, b = small_net(method), small_batch()
    with torch.no_grad():
        scores = method.methods[0].scores(net, net.body(b.xt))
        expected = create_method("mcc").losses(SimpleNet(net, scores), b, at(0.5))["mcc"]
        shown = getattr(method, method.phases[0].losses)(net, b, at(0.5))["mcc.mcc"]
        taught = net.mic_teacher(b.xt)[0]
    torch.testing.assert_close(shown, expected)
    torch.testing.assert_close(taught, scores)
    assert float((taught - net.head(net.body(b.xt)).detach()).abs().max()) > 1e-3


class SimpleNet:
    """A network that gives the same scores of whatever it is asked."""

    def __init__(self, net, scores):
        self.net, self.scores = net, scores

    def __getattr__(self, name):
        return (lambda f: self.scores) if name == "head" else getattr(self.net, name)


@pytest.mark.parametrize("name", ["dann+implicit_alignment", "cdan+gh", "mcc+erm_plus+implicit_alignment"])
def test_a_killed_run_of_them_goes_on_with_the_same_bits(name):
    gradient.check_continues(METHODS.get(name))


# -- implicit alignment ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "size"), [([0, 1, 2], 7), ([0, 2], 6), (list(range(9)), 4)])
def test_classes_take_turns(classes, size):
    for seed in range(5):
        counts = np.bincount(class_slots(torch.tensor(classes), size, gen(seed)).numpy(), minlength=9)[classes]
        assert counts.sum() == size and counts.max() - counts.min() <= 1


def test_rows_are_of_the_class_of_their_place():
    labels, slots = torch.tensor([0, 0, 0, 1, 3]), torch.tensor([0, 1, 0, 2, 1, 0, 3])
    rows = rows_of(slots, labels, torch.full((7,), 99), gen())
    assert rows[3] == 99 and all(labels[r] == c for r, c in zip(rows, slots) if c != 2)
    assert sorted(rows[slots == 0].tolist()) == [0, 1, 2]  # none twice while there are others


@pytest.mark.parametrize("name", ["implicit_alignment", "sentry"])
def test_both_domains_hold_the_same_classes_in_every_batch(name, monkeypatch):
    """Source rows by labels, target rows by pseudo-labels; samples and labels belong to their rows."""
    rng = np.random.default_rng(0)
    ys = np.repeat([0, 1, 2], [40, 15, 5])
    xs = (rng.normal(size=(60, 8)) + 5 * np.eye(8)[ys]).astype(np.float32)
    from dazoo.data.task import Task

    task = Task.from_arrays(xs, ys, xs[::-1].copy(), ys[::-1].copy(), source_holdout=0.0)
    seen, source = [], task.seen().source
    plain = Feed.__call__

    def watched(self, memory):
        b = plain(self, memory)
        seen.append((b, memory["labels"].clone()))
        return b

    monkeypatch.setattr(Feed, "__call__", watched)
    fit_any(name, task)
    for b, labels in seen:
        assert torch.equal(b.ys, source.y[b.s_rows]) and torch.equal(b.xs, source.x[b.s_rows])
        assert torch.equal(b.xt, task.seen().target.x[b.t_rows])
        counts = torch.bincount(b.ys, minlength=3)
        assert int(counts.max() - counts.min()) <= 1
        held = torch.isin(b.ys, torch.unique(labels))
        assert torch.equal(labels[b.t_rows][held], b.ys[held])


def test_without_a_base_it_adds_nothing_but_its_batches():
    method = create_method("dann+implicit_alignment")
    net, b = small_net(method), small_batch(memory={"implicit_alignment.labels": torch.zeros(6, dtype=torch.int64)})
    assert list(method.losses(net, b, at(0.5))) == ["cls", "dom"]
    single = create_method("implicit_alignment", base="dann", trade_off=1.0)
    one = fit_any("dann+implicit_alignment").predictor.state
    two = fit(single, toy_task().seen(), seed=0, options=options_for("dann")).predictor.state
    assert all(torch.equal(one[k], two[k]) for k in two)


# -- gradient harmonisation -----------------------------------------------------------------------------------------


def grads(rng, *sizes):
    return [torch.from_numpy(rng.normal(size=s)) for s in sizes]


@pytest.mark.parametrize("seed", range(6))
def test_harmonised_gradients_match_a_transcription(seed):
    rng = np.random.default_rng(seed)
    names, sizes = ["body.a", "body.b", "head.w", "disc.w"], [(3, 2), (4,), (2,), (5,)]
    cls, dom, more = (grads(rng, *sizes) for _ in range(3))
    cls[3], dom[2], more[2], more[3] = None, None, None, None
    out = create_method("gh").combine({"cls": cls, "dom": dom, "mcc": more}, names)

    def flat(parts):
        return np.concatenate([p.numpy().ravel() for p in parts[:2]])

    one, two = flat(cls), flat(dom) + flat(more)
    dot = one @ two
    if dot < 0:
        one, two = one - dot / (two @ two) * two, two - dot / (one @ one) * one
        assert abs(one @ (flat(dom) + flat(more))) < 1e-12 and abs(two @ flat(cls)) < 1e-12
    np.testing.assert_allclose(flat(out), one + two, rtol=1e-12)
    torch.testing.assert_close(out[2], cls[2])
    torch.testing.assert_close(out[3], dom[3])


def test_agreeing_gradients_are_left_alone():
    g = [torch.ones(3), torch.ones(2)]
    out = create_method("gh").combine({"cls": g, "dom": [g[0], None]}, ["body.a", "head.w"])
    assert torch.equal(out[0], 2 * g[0]) and torch.equal(out[1], g[1])


@pytest.mark.parametrize("smooth", [False, True])
def test_the_engine_takes_the_combined_gradient(smooth, monkeypatch):
    """A sum written as ``combine`` is the engine's own, also in micro-batches and beside a smoothed term."""
    base = METHODS.get("dann+sdat" if smooth else "dann")
    plain = type("Plain", (base,), {})
    own = type("Own", (base,), {"combine": lambda self, grads, names: train._summed(list(grads.values()))})
    for accumulate in (1, 2):
        options = options_for("dann", dataclasses.replace(TINY, steps=4, accumulate=accumulate))
        a, b = (fit(cls(), toy_task().seen(), options=options).predictor.state for cls in (plain, own))
        for key, value in a.items():
            torch.testing.assert_close(b[key], value, rtol=1e-5, atol=1e-6)


def test_two_that_combine_gradients_do_not_go_together():
    class Other(METHODS.get("gh")):  # a stranger's
        name = "other_gh"

    with pytest.raises(DazooError, match="gradients"):
        _check("gh+other_gh", [METHODS.get("gh"), Other])


# -- averaged weights -----------------------------------------------------------------------------------------------


def test_the_average_predicts():
    method = create_method("erm_plus", decay=0.5)
    net = small_net(method)
    history = []
    for step in range(4):
        with torch.no_grad():
            net.head.weight.add_(1.0)
        method.after_step(net, small_batch(), at(step / 100))
        history.append(net.head.weight.clone())
    expected = history[0]
    for step, w in enumerate(history):
        a = min(0.5, 1 - 1 / (step + 1))
        expected = a * expected + (1 - a) * w
    torch.testing.assert_close(net.average.head.weight, expected)
    with torch.no_grad():
        method.finish(net, None)
    torch.testing.assert_close(net.head.weight, expected)
