"""What every method promises, checked over the whole registry: a new file is covered without an edit here.

The checks are those of ``dazoo.contracts``, which ``dazoo check`` runs on anybody's class.
"""

from __future__ import annotations

import pytest

from dazoo.contracts import CONTRACTS, asking, behaviour, gradient, hidden_source, label_sets, stream, targets, unseen
from dazoo.contracts.knobs import check_knob, check_sampled_settings, knobs
from dazoo.contracts.toys import TINY
from dazoo.methods.base import METHODS, GradientMethod
from tests.awkward import crossing
from tests.toys import is_gradient

NAMES = METHODS.names()
GRADIENT = [n for n in NAMES if is_gradient(n)]
KNOBS = [(n, k) for n in NAMES for k in knobs(METHODS.get(n))]
ADAPTING = [n for n in GRADIENT if gradient.has_trade_off(METHODS.get(n))]


@pytest.mark.parametrize("name", NAMES)
def test_fits_and_predicts(name):
    behaviour.check_fits(METHODS.get(name))


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bits(name):
    behaviour.check_same_seed(METHODS.get(name))


@pytest.mark.parametrize("name", NAMES)
def test_hidden_labels_change_nothing(name):
    behaviour.check_hidden_labels(METHODS.get(name))


BOTH = [n for n in NAMES if {"closed", "partial"} <= METHODS.get(n).handles.labels and not METHODS.get(n).told_partial]


@pytest.mark.parametrize("name", BOTH)
def test_a_partial_task_with_all_classes_is_the_closed_one(name):
    label_sets.check_all_classes(METHODS.get(name))


@pytest.mark.parametrize("name", [n for n in NAMES if targets.tells_targets(METHODS.get(n))])
def test_one_of_several_targets_is_a_target(name):
    targets.check_one_target(METHODS.get(name))


@pytest.mark.parametrize("name", [n for n in NAMES if hidden_source.hides_source(METHODS.get(n))])
def test_samples_of_a_hidden_source_change_nothing_once_its_model_is_trained(name):
    hidden_source.check_source_gone(METHODS.get(name))


@pytest.mark.parametrize("name", [n for n in NAMES if "unseen" in METHODS.get(n).handles.target])
def test_another_unseen_target_changes_nothing(name):
    unseen.check_unseen_target(METHODS.get(name))


@pytest.mark.parametrize("name", [n for n in NAMES if METHODS.get(n).handles.asks_only])
def test_of_a_black_box_nothing_is_copied(name):
    hidden_source.check_black_box(METHODS.get(name))


@pytest.mark.parametrize("name", [n for n in NAMES if METHODS.get(n).handles.labels & {"open", "universal"}])
def test_unknown_samples_are_told(name):
    label_sets.check_unknown(METHODS.get(name))


@pytest.mark.parametrize("name", [n for n in NAMES if asking.asks(METHODS.get(n))])
def test_asks_within_its_budget_and_for_nothing_twice(name):
    asking.check_budget(METHODS.get(name))


@pytest.mark.parametrize("name", [n for n in NAMES if "unlabelled" in METHODS.get(n).handles.labels])
def test_labels_of_the_source_change_nothing_where_none_is_seen(name):
    label_sets.check_source_labels(METHODS.get(name))


STREAMS = [n for n in NAMES if stream.is_stream(METHODS.get(n))]


@pytest.mark.parametrize("name", STREAMS)
def test_an_answer_does_not_depend_on_batches_after_it(name):
    stream.check_later_batches(METHODS.get(name))


@pytest.mark.parametrize("name", STREAMS)
def test_an_episodic_answer_does_not_depend_on_batches_before_it(name):
    stream.check_episodes(METHODS.get(name))


@pytest.mark.parametrize("name", [n for n in STREAMS if stream.stands_still(METHODS.get(n))])
def test_a_stream_method_that_adapts_nothing_is_the_source(name):
    stream.check_still(METHODS.get(name))


@pytest.mark.parametrize("name", STREAMS)
def test_a_killed_stream_goes_on_with_the_same_bits(name):
    stream.check_stream_continues(METHODS.get(name))


@pytest.mark.parametrize(("name", "knob"), KNOBS)
def test_turning_a_knob_changes_the_model(name, knob):
    check_knob(METHODS.get(name), knob)


@pytest.mark.parametrize("name", ADAPTING)
def test_trade_off_zero_is_source_only(name):
    gradient.check_weight_zero(METHODS.get(name))


@pytest.mark.parametrize("name", GRADIENT)
def test_every_term_reaches_a_part_it_moves(name):
    gradient.check_terms(METHODS.get(name))


@pytest.mark.parametrize("name", [n for n in GRADIENT if METHODS.get(n).stackable])
def test_stacked_equals_alone(name):
    gradient.check_stacked(METHODS.get(name))


@pytest.mark.parametrize("name", NAMES)
def test_sampled_settings_run(name):
    check_sampled_settings(METHODS.get(name))


@pytest.mark.parametrize("name", NAMES)
def test_is_documented(name):
    behaviour.check_documented(METHODS.get(name))


@pytest.mark.parametrize("name", NAMES)
def test_name_is_the_file_stem(name):
    behaviour.check_name(METHODS.get(name))


@pytest.mark.parametrize("name", NAMES)
def test_saves_and_loads(name):
    behaviour.check_saves(METHODS.get(name))


@pytest.mark.parametrize("name", NAMES)
def test_awkward_data_gives_finite_answers_or_one_clear_error(name):
    """A third of the inputs, another one from method to method; ``python -m tests.awkward`` tries all of them."""
    for _, label, regression in crossing(name)[NAMES.index(name) % 3 :: 3]:
        behaviour.check_awkward_input(METHODS.get(name), label, regression)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_shapes_and_single_samples_are_clear_errors(name):
    behaviour.check_wrong_input(METHODS.get(name))


def test_recipe_is_small_enough_to_stay_quick():
    assert TINY.steps <= 20


def test_registry_is_whole():
    assert len(NAMES) == len(set(NAMES)) >= 16
    assert not METHODS.broken
    assert all(isinstance(METHODS.get(n), type) for n in NAMES)
    assert issubclass(METHODS.get("source_only"), GradientMethod)


def test_every_contract_runs_on_some_method():
    """None of the contracts that ``dazoo check`` runs is skipped everywhere."""
    assert len({c.name for c in CONTRACTS}) == len(CONTRACTS)
    for contract in CONTRACTS:
        assert any(not contract.skip(METHODS.get(n)) for n in NAMES), contract.name
