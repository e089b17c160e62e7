"""Which values of hyper-parameters and recipes make sense: what lies outside the search range but does is taken."""

from __future__ import annotations

import pytest

from dazoo.core.errors import DazooError
from dazoo.core.hparam import configure, hp, space
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, create_method


@pytest.mark.parametrize(
    ("method", "values", "words"),
    [
        ("dann", {"trade_off": -1.0}, "dann.trade_off must be at least 0, not -1.0 .searched from 0.1 to 10"),
        ("fixmatch", {"threshold": 1.5}, "at least 0 and at most 1"),
        ("mcc", {"temperature": 0.0}, "mcc.temperature must be above 0"),
        ("atdoc", {"neighbours": 0}, "at least 1"),
        ("tca", {"dim": -3}, "at least 1"),
        ("jda", {"rounds": 0}, "at least 1"),
        ("ot_sinkhorn", {"reg": 0}, "above 0"),
    ],
)
def test_values_that_make_no_sense_are_refused(method, values, words):
    with pytest.raises(DazooError, match=words):
        create_method(method, **values)


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("dann", {"trade_off": 0}),
        ("dann", {"trade_off": 1e4}),
        ("spa", {"temperature": 2.0}),
        ("tca", {"dim": 1}),
        ("dasvm", {"rounds": 0}),
        ("cdan", {"random_dim": 0}),
    ],
)
def test_values_outside_the_search_range_that_make_sense_are_taken(method, values):
    made = create_method(method, **values)
    assert {k: getattr(made, k) for k in values} == values


def test_the_default_and_the_whole_range_of_every_method_make_sense():
    for name, cls in METHODS.items():
        for key, meta in space(cls).items():
            for value in (meta.default, *(meta.choices or (meta.low, meta.high))):
                if value is not None:
                    value = round(value) if isinstance(meta.default, int) and not isinstance(value, bool) else value
                    assert getattr(configure(cls, {key: value}), key) == value, (name, key)


def test_a_negative_range_says_so_itself():
    import dataclasses

    @dataclasses.dataclass(frozen=True)
    class Shifted:
        shift: float = hp(0.0, -1.0, 1.0)
        power: float = hp(1.0, 0.1, 1.0, most=3.0)

    assert configure(Shifted, {"shift": -5, "power": 3}).shift == -5
    with pytest.raises(DazooError, match="at least 0 and at most 3, not 4"):
        configure(Shifted, {"power": 4})


@pytest.mark.parametrize(
    "fields", [{"lr": -1.0}, {"lr": float("nan")}, {"momentum": 1.0}, {"dropout": 1.5}, {"bottleneck": -1}]
)
def test_recipes_that_make_no_sense_are_refused(fields):
    with pytest.raises(DazooError, match=next(iter(fields))):
        Recipe.named("digits", **fields)
