"""The sample of the whole table, and whether it is the same table."""

from __future__ import annotations

from itertools import combinations

from benchmarks import table_time


def test_every_two_domains_stand_in_one_pair_of_the_sample() -> None:
    pairs = [frozenset(pair.split("->")) for pair in table_time.PAIRS]
    domains = sorted(set().union(*pairs))
    assert len(domains) == 4 and sorted(map(sorted, pairs)) == [list(two) for two in combinations(domains, 2)]


def test_methods_that_moved_are_named_and_others_counted() -> None:
    then = {"a": ("one", 0.5), "b": ("one", 0.7), "c": ("two", 0.9), "d": ("three", 0.9)}
    now = {"a": ("one", 0.53), "b": ("one", 0.69), "c": ("two", 0.9005), "d": ("three", 0.9), "new": ("four", 0.1)}
    first, *_, last = table_time.moved(now, then)
    assert first.startswith("3 methods have") and "the mean of 1 is the same, that of 1 differs" in first
    assert last == "| one | +1.00 | +3.00 |"
