"""How runs are shared out: nothing lost, balanced, and what belongs together stays together where it can."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from dazoo.bench.execute.base import Executor, Outcome, Setup, Unit
from dazoo.bench.execute.executor import _Driver
from dazoo.bench.execute.grouping import in_order
from dazoo.bench.execute.runner import Runner, rest_of_looks
from dazoo.bench.execute.schedule import FIRST, SHARE, Schedule, Splitting, limit_of, tail, units
from dazoo.bench.plan.costs import ELSEWHERE, LEAST, SURE, UNSURE, Costs, prior
from dazoo.bench.plan.learned import NEAR, Learned
from dazoo.bench.plan.plan import RunSpec, make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.bench.records.compact import compact
from dazoo.bench.records.store import Follower, Writer, records
from dazoo.bench.suite_run import prepare
from tests.bench_tools import SMALL, accuracies, write_run

GRADIENT = {**SMALL, "methods": ["dann", "deep_coral"], "recipe": "adatime", "source_holdout": 0.0}


def plan(**more: object) -> list[RunSpec]:
    return make_plan(Suite.of({**SMALL, **more})).specs


def keys(shared: list[list[RunSpec]]) -> list[str]:
    return sorted(s.key for unit in shared for s in unit)


@pytest.mark.parametrize("jobs", [1, 2, 7, 500])
@pytest.mark.parametrize("group", [1, 8])
def test_every_run_is_in_one_unit(jobs: int, group: int) -> None:
    specs = make_plan(Suite.of({**GRADIENT, "trials": 3, "seeds": 3})).specs
    assert keys(units(specs, jobs, group=group)) == sorted(s.key for s in specs)


def test_one_worker_has_whole_tasks_in_the_order_of_the_plan() -> None:
    specs = plan()
    assert [s for unit in units(specs, 1) for s in unit] == specs and len(units(specs, 1)) == 2


def test_seeds_and_trials_of_one_method_on_one_task_are_work_for_many() -> None:
    specs = make_plan(Suite.of({**GRADIENT, "tasks": ["upright->noisy"], "methods": ["dann"], "trials": 3})).specs
    assert len(specs) == 6 and len(units(specs, 6)) == 6


def test_the_longest_expected_comes_first_and_small_ones_stay_together() -> None:
    specs = plan(tasks="upright->*", seeds=3)
    costs = Costs.of([(s.label, s.task, 30.0 if s.label == "sa" else 0.01) for s in specs], opening=0.0)
    shared = units(specs, 4, costs)
    made = Splitting(costs, 4)
    assert [made.weight(u) for u in shared] == sorted((made.weight(u) for u in shared), reverse=True)
    assert all(len(u) == 1 for u in shared if any(s.label == "sa" for s in u))
    assert all(s.label == "sa" for u in shared[:15] for s in u) and {len(u) for u in shared[15:]} == {2}


def test_no_worker_waits_long_for_the_last() -> None:
    specs, draw = plan(tasks="upright->*", trials=4, seeds=8), random.Random(0)
    seconds = {s.key: draw.lognormvariate(0, 1) for s in specs}
    costs = Costs.of([(f"{s.label}", s.task, 1.0) for s in specs], opening=0.0)
    object.__setattr__(costs, "known", {})
    ends = [0.0] * 4
    for unit in units(specs, 4, costs):
        ends[ends.index(min(ends))] += sum(seconds[s.key] for s in unit)
    assert max(ends) <= (1 + 4 * SHARE) * sum(ends) / 4


def test_opening_the_data_is_not_paid_for_nothing() -> None:
    assert limit_of(100.0, 0.01) == pytest.approx(100 * SHARE)
    assert limit_of(1.0, 0.05) == pytest.approx(0.4) and limit_of(0.1, 0.1) == pytest.approx(0.1)


def test_a_group_is_divided_only_where_it_would_hold_up_the_table() -> None:
    specs = make_plan(Suite.of({**GRADIENT, "seeds": 16, "tasks": ["upright->noisy"]})).specs
    costs = Costs.of([(s.label, s.task, 1.0) for s in specs], opening=0.0)
    few, many = units(specs, 2, costs, group=16), units(specs, 32, costs, group=16)
    assert [len(u) for u in few] == [16, 16]
    assert {len({s.label for s in u}) for u in many} == {1} and max(map(len, many)) < 16
    assert costs.together(16, 16) == pytest.approx(16) and costs.together(1, 16) == costs.alone
    assert costs.together(8, 16) > 8, "a part of a group costs more than its share"


def test_seconds_are_expected_from_records_of_row_and_task(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    made = (("a", "d/x->y", 2.0), ("a", "d/x->z", 4.0), ("b", "d/x->y", 8.0), ("c", "d/x->y", 0.0))
    for label, task, seconds in made:
        write_run(writer, label, task, target=accuracies(0.5), seconds=seconds)
    writer.close()
    for _ in range(2):  # lines, then parts
        costs = Costs.read(tmp_path)
        assert costs.known["a", "d/x->z"] == 4.0 and costs.known["c", "d/x->y"] == LEAST
        assert costs.rows["b"] + costs.tasks["d/x->z"] > costs.rows["b"] + costs.tasks["d/x->y"]
        compact(tmp_path)
    beside = Costs.read(tmp_path.parent / "another")
    assert beside.known == costs.known, "a new folder goes by its neighbours"


def test_what_no_record_tells_of_is_estimated() -> None:
    shallow, trained = plan()[0], make_plan(Suite.of({**GRADIENT, "recipe": {"name": "adatime", "steps": 50}})).specs[0]
    assert prior(trained) == pytest.approx(0.2) and prior(shallow) > 0
    assert Costs()(trained) == prior(trained)


def test_what_is_guessed_is_tried_early_and_alone() -> None:
    specs = plan(tasks="upright->*", seeds=4, methods=["source_only", "sa", "coral"])
    known = Costs.of([(s.label, s.task, 1.0) for s in specs if s.label != "coral"], opening=0.0)
    shared = units(specs, 4, known)
    first = next(s for s in specs if s.label == "coral")
    assert shared[0] == [first], "one run of it tells of the others"
    assert any(len(u) > 1 for u in shared if {s.label for s in u} != {"coral"}) or len(specs) == len(shared)
    assert known.doubt(first) == UNSURE and known.doubt(specs[0]) == SURE
    foreign = Costs.of([(s.label, s.task, 1.0) for s in specs], own=False)
    assert foreign.doubt(first) == ELSEWHERE, "other suites do other things under the same names"


def test_expectations_follow_what_runs_took() -> None:
    specs = plan(tasks=["upright->noisy", "upright->rotated"], seeds=3, methods=["source_only", "sa", "coral"])
    learned = Learned(Costs(known={("sa", "digits/upright->noisy"): 7.0}))
    usual = {s.key: learned(s) for s in specs}
    assert usual[next(s for s in specs if s.label == "sa" and "noisy" in s.task).key] == 7.0
    one = next(s for s in specs if s.label == "coral" and "noisy" in s.task)
    learned.learn(one, 100 * usual[one.key])
    assert learned(one) == usual[one.key], "nothing changes before a fit"
    learned.fit()
    factor = {(s.label, s.task.partition("->")[2]): learned(s) / usual[s.key] for s in specs}
    assert 50 < factor["coral", "noisy"] < 100 and factor["coral", "noisy"] > factor["coral", "rotated"]
    assert factor["coral", "rotated"] > factor["source_only", "noisy"] > factor["source_only", "rotated"] > 1
    doubts = {(s.label, s.task.partition("->")[2]): learned.doubt(s) for s in specs}
    assert doubts["coral", "noisy"] == SURE < doubts["coral", "rotated"] == NEAR < doubts["source_only", "noisy"]


def test_a_run_that_goes_on_for_long_tells_of_others_like_it() -> None:
    specs = plan(tasks="upright->*", seeds=2, methods=["source_only", "sa"])
    learned = Learned(Costs(opening=0.0))
    one, other = (next(s for s in specs if s.label == label) for label in ("sa", "source_only"))
    usual = learned(one)
    learned.learn(other, usual)
    learned.fit([(one, usual / 2)])
    assert learned(specs[-1]) == pytest.approx(usual) and learned.doubt(one) > NEAR, (
        "shorter than expected says nothing"
    )
    learned.fit([(one, 50 * usual)])
    assert learned(one) > 20 * usual and learned.doubt(specs[-1]) <= NEAR


def test_what_waits_is_divided_again_when_more_is_known() -> None:
    specs = plan(tasks="upright->*", seeds=8, methods=["source_only", "sa", "coral"])
    schedule = Schedule(Costs(opening=0.0), kind=lambda s: s.label == "sa")
    assert keys(schedule.units(specs, 4)) == sorted(s.key for s in specs) and not schedule.due
    long = [s for s in specs if s.label == "coral"]
    for i, spec in enumerate([*long[:4], *(s for s in specs if s.label == "sa")][:FIRST]):
        schedule.learn(spec, 60.0 if i < 4 else 0.1)
    assert schedule.due
    again = schedule.units(specs[10:], 4)
    assert not schedule.due and keys(again) == sorted(s.key for s in specs[10:])
    assert {s.label for s in again[0]} == {"coral"}
    assert all(len({s.label == "sa" for s in unit}) == 1 for unit in again), "kinds are apart"


def test_one_look_tells_what_runs_took(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append("0a", "ok", {"seconds": 2.0, "cpu_seconds": 1.5e-05, "x": {"cpu_seconds": 3}})
    writer.append("0b", "failed", {"seconds": None})
    writer.append("0c", "ok", {"cpu_seconds": None})
    writer.close()
    assert Follower(tmp_path, {}).new_runs() == [("0a", 1.5e-05), ("0b", None), ("0c", None)]


def test_thousands_of_shards_are_not_looked_at_all_the_time(tmp_path: Path) -> None:
    assert rest_of_looks(16) == rest_of_looks(256) == 0 and rest_of_looks(4096) == pytest.approx(82, abs=1)
    writers = [Writer(tmp_path) for _ in range(3)]
    for i, writer in enumerate(writers):
        writer.append(f"0{i}", "ok", {})
    follower = Follower(tmp_path, {})
    assert len(follower.new_keys()) == follower.opened == 3
    for writer in writers:
        writer.close()


def test_idle_workers_get_the_second_half_of_what_most_is_left_of() -> None:
    specs = in_order(plan(tasks="upright->*", seeds=3))
    few, many = specs[:4], specs[4:13]
    at, part = tail([few, many], set(), lambda s: 1.0)
    assert at == 1 and part == many[5:], "its current run and half of the others stay"
    at, part = tail([few, many], {s.key for s in many[:8]}, lambda s: 1.0)
    assert at == 0 and part == few[2:]
    assert tail([few[:1], many[:2]], {many[0].key}, lambda s: 1.0)[1] == [], "nobody gives away his only run"


def test_every_run_is_recorded_once_where_ends_of_units_are_given_away(tmp_path: Path) -> None:
    """The executor's workers are stood in for by one that is slow and one that is not."""

    class Two(Executor):
        workers = 2

        def __init__(self, setup: Setup):
            super().__init__(setup)
            self.busy: list[tuple[Unit, Runner]] = []
            self.given: list[int] = []

        def free(self) -> int:
            return 2 - len(self.busy)

        def submit(self, units: Sequence[Unit]) -> None:
            self.busy += [(unit, Runner(setup.place, setup.since)) for unit in units]
            self.given += [len(unit.runs) for unit in units]

        def wait(self, seconds: float) -> list[Outcome]:
            if len(self.given) < 2:
                return []
            unit, runner = self.busy.pop()  # the last who came is done first
            left = runner(unit.runs)
            runner.close()
            return [Outcome(unit, tuple(left))]

        def dismiss(self, token: str) -> None:
            raise AssertionError

        def close(self) -> None:
            pass

    job = prepare(SMALL | {"tasks": ["upright->rotated"], "seeds": 4, "keep": "0"}, out=tmp_path, device="cpu")
    setup = Setup(job.place, 2, job.since)
    driver = _Driver(Two(setup), job.missing, lambda n: None)
    learned: list[RunSpec] = []
    driver.watch.learn = lambda spec, seconds: learned.append(spec)
    driver._units = lambda specs, jobs: [Unit(tuple(specs))]  # type: ignore[method-assign]
    driver()
    driver.claims.close()
    assert {s.key for s in learned} == {s.key for s in job.missing}
    assert driver.workers.given[0] == 12 and len(driver.workers.given) > 2  # type: ignore[attr-defined]
    assert sorted(r["key"] for r in records(tmp_path)) == sorted(s.key for s in job.missing)
