"""On a synthetic shift that its family is built for, every method beats source-only by a margin.

A method is tried on the shifts its family claims, in order, and must win on one of them. Those that do not win are
listed by name with the reason; one that starts to win must leave the list.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest
import torch

from dazoo.core.memo import Memo
from dazoo.core.setting import FEW_LABELS, MULTI_SOURCE, ORACLE, UNSUPERVISED
from dazoo.data.registry import load_domain, load_task
from dazoo.data.task import Task
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, create_method
from dazoo.shallow.classifiers import classifier
from tests.toys import is_gradient, setting_of

RECIPE = Recipe.named("digits", steps=250, bottleneck=32, few_steps=150)
MARGIN = 0.02
SHIFTS = {
    "reweighting": ("covariate", "label"),
    "label_shift": ("label",),
    "subspace": ("subspace", "covariate", "label"),
    "transport": ("subspace", "covariate", "label"),
    "finetune": ("concept", "label"),
    "parameter_transfer": ("concept", "label"),
    "semi_supervised": ("concept", "moved"),
}
DEEP = ("moved", "subspace", "label", "covariate")
BOUNDS = {"source_only", "source_vote", "source_model", "source_stream", "target_oracle"}
VALUES = [n for n in METHODS.names() if "classes" not in METHODS.get(n).targets]
NOT_BETTER = {
    "afn": "nothing in this recipe bounds the feature norms (no normalisation, Adam); see its deviations",
    "beta": "two new networks learn from the answers of a black box alone; 150 steps from scratch do not reach it",
    "can": "clusters of a network trained from scratch start too impure here; the paper starts from ImageNet",
    "dasvm": "its self-labelling starts from a source model that is wrong about more than half of these targets",
    "dine": "a new network learns from the answers of a black box alone; 150 steps from scratch do not reach it",
    "erm_plus": "looks at nothing of the target: views and averages of the source model, a baseline",
    "fmmd": "drops features; these shifts rotate or bend few features that all carry signal",
    "pca": "a common subspace, no adaptation: the baseline that subspace methods are compared with",
    "scl": "built for sparse text with pivot features, which these dense vectors lack",
    "sfa": "built for sparse text with domain-independent words, which these dense vectors lack",
    "symnets": "collapses from scratch under large shifts; see its docstring",
    "tsl": "its Bregman term matches densities inside the leading discriminative directions, which differ here",
}


@lru_cache(maxsize=1)
def moved() -> Task:
    """Digits against the same digits moved: what deep methods are built for, at a size that tests can afford."""
    return load_task("digits/upright->scaled")


@lru_cache(maxsize=16)
def task_of(kind: str) -> Task:
    return moved() if kind == "moved" else load_task(f"shifts/{kind}_source->{kind}_target", n=300)


@lru_cache(maxsize=32)
def memo_of(kind: str, setting: str) -> Memo:
    return Memo()


def options_of(gradient: bool, norm: str = "none") -> Options:
    return Options(
        recipe=replace(RECIPE, norm=norm) if gradient else None,
        backbone="mlp" if gradient else "none",
        classifier=classifier("logistic"),
    )


def norm_of(name: str) -> str:
    return "batch" if getattr(METHODS.get(name), "needs_batch_norm", False) else "none"


def accuracy(name: str, kind: str, setting) -> float:
    task = task_of(kind).change(setting=setting, few_per_class=10)
    options = options_of(is_gradient(name), norm_of(name))
    memo = memo_of(kind, f"{setting}/{options.recipe.norm if options.recipe else None}")
    model = fit(create_method(name), task.seen(), options=options, memo=memo).predictor
    hidden = task.hidden()
    return float((model.predict(hidden.x).labels == hidden.y).double().mean())


@lru_cache(maxsize=64)
def baseline(kind: str, setting, gradient: bool, norm: str) -> float:
    """Source-only tested on the same samples as the method."""
    task = task_of(kind).change(setting=setting, few_per_class=10)
    plain = task.change(setting=UNSUPERVISED)
    options = options_of(gradient, norm)
    model = fit(create_method("source_only"), plain.seen(), options=options).predictor
    hidden = task.hidden()
    return float((model.predict(hidden.x).labels == hidden.y).double().mean())


def gains(name: str) -> dict[str, float]:
    cls = METHODS.get(name)
    setting = setting_of(cls)
    found = {}
    for kind in SHIFTS.get(cls.family, DEEP if is_gradient(name) else ("subspace", "covariate", "label")):
        found[kind] = accuracy(name, kind, setting) - baseline(kind, setting, is_gradient(name), norm_of(name))
        if found[kind] > MARGIN:
            break
    return found


NAMES = [
    n
    for n in METHODS.names()
    if n not in BOUNDS
    and n not in VALUES
    and setting_of(METHODS.get(n)) not in (MULTI_SOURCE, ORACLE)
    # what never sees the target is compared with erm in the results of generalisation
    and setting_of(METHODS.get(n)).target != "unseen"
    # built for samples of no known class, for streams, for no labels at all, or for spaces without a common feature:
    # they promise nothing on these shifts
    and METHODS.get(n).family not in ("open_set", "universal", "test_time", "unlabelled", "heterogeneous", "language")
]


@pytest.mark.parametrize("name", NAMES)
def test_beats_source_only_where_its_family_should(name):
    found = gains(name)
    won = any(g > MARGIN for g in found.values())
    if name in NOT_BETTER:
        assert not won, f"{name} now wins ({found}); take it off the list"
        pytest.xfail(NOT_BETTER[name])
    assert won, f"{name} gains only {found}"


@pytest.mark.parametrize("name", [n for n in METHODS.names() if setting_of(METHODS.get(n)) is MULTI_SOURCE])
def test_several_sources_beat_the_pooled_source(name):
    """Two digit domains together as sources: above the pooled source on one target at least."""
    found = {}
    for pair in ("digits/upright+noisy->scaled", "digits/upright+blurred->rotated"):
        task = load_task(pair, setting=MULTI_SOURCE)
        options, hidden = options_of(is_gradient(name)), task.hidden()
        models = [fit(create_method(n), task.seen(), options=options).predictor for n in (name, "source_only")]
        ours, pooled = (float((m.predict(hidden.x).labels == hidden.y).double().mean()) for m in models)
        found[pair] = ours - pooled
    assert max(found.values()) > 0, found


def test_methods_that_do_not_win_say_so_themselves():
    for name in NOT_BETTER:
        assert "no gain at the defaults" in METHODS.get(name).paper.deviations, name


def test_few_label_setting_sees_what_the_margin_is_measured_on():
    task = task_of("concept").change(setting=FEW_LABELS, few_per_class=10)
    assert len(task.seen().few) == 20
    assert not torch.equal(task.hidden().y, load_domain("shifts", "concept_target").y)
