"""From a suite to its runs: every run is its arguments, and their hash is its key."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from dazoo.bench.plan.entry import Entry
from dazoo.bench.plan.entry import entry as make_entry
from dazoo.bench.plan.patterns import tasks_of
from dazoo.bench.plan.protocol import Protocol, hashed, listing, make_protocol, plain, splits_by_seed
from dazoo.bench.plan.question import closed_set_baseline, reads_source, setting_of
from dazoo.bench.plan.suite import MOST_RUNS, Suite
from dazoo.bench.plan.trials import settings
from dazoo.bench.plan.yamlfile import Where
from dazoo.core import hparam
from dazoo.core.errors import UnknownName, nearest
from dazoo.core.setting import Setting
from dazoo.data.names import dataset_of, split_name, targets_of
from dazoo.data.registry import DATASETS, data_root
from dazoo.methods.base import METHODS, GradientMethod, Method


@dataclass(frozen=True)
class RunSpec:
    """One run.

    Attributes:
        protocol: shared by the runs of a suite.
        task: ``dataset/source->target``. method: registry name. label: its name in the tables.
        family: of the method. setting: which labels it sees.
        hparams: all hyper-parameters, defaults included. overrides: those the suite sets itself.
        seed, trial: numbers; trial 0 is the defaults.
        code: hash of the file a method was loaded from by path; None for installed methods.
        revision: of the method (``Method.revision``).
        baseline: whether the method assumes a closed set, and the task has none; decided by method and setting.
        reads_source: whether the method reads the source at set-up where the setting hides it; decided likewise.
    """

    protocol: Protocol
    task: str
    method: str
    label: str
    family: str
    setting: str
    hparams: dict[str, Any]
    overrides: dict[str, Any]
    seed: int
    trial: int
    code: str | None = None
    revision: int = 0
    baseline: bool = False
    reads_source: bool = False

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data."""
        own = {k: getattr(self, k) for k in _OWN}
        own |= {"baseline": True} if self.baseline else {}
        own |= {"reads_source": True} if self.reads_source else {}
        return {**own, **self._revised, "protocol": self.protocol.plain}

    @property
    def _revised(self) -> dict[str, int]:
        """The revision where there was one, so that the keys of all other runs stay what they were."""
        return {"revision": self.revision} if self.revision else {}

    @cached_property
    def key(self) -> str:
        """Hash of everything that determines the result."""
        own = {k: getattr(self, k) for k in _KEYED}
        with suppress(UnknownName):  # a method that is not installed here: as its record says
            own["hparams"] = hparam.keyed(METHODS.get(self.method), self.hparams)
        return hashed({**own, **self._revised, "protocol": self.protocol.hash})

    @cached_property
    def variant(self) -> str:
        """Hash of what must be equal for runs of one label to stand in one row of a table."""
        return hashed([self.protocol.hash, self.method, self.overrides, self.code, *self._revised.values()])

    @cached_property
    def data_key(self) -> tuple[Any, ...]:
        """Runs that agree in it see exactly the same data, so they may share computed values."""
        return (self.task, self.setting, self.seed if splits_by_seed(self.protocol, self.setting) else None)


_KEYED = ("task", "method", "label", "setting", "hparams", "seed", "trial", "code")
_OWN = ("task", "method", "label", "family", "setting", "hparams", "overrides", "seed", "trial", "code")


@dataclass(frozen=True)
class Skip:
    """A method that cannot run a task, and why."""

    label: str
    task: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """The runs of a suite and what was left out of it."""

    suite: Suite
    specs: list[RunSpec] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)

    def missing(self, done: Iterable[str]) -> list[RunSpec]:
        """The runs whose key is not among ``done``."""
        known = set(done)
        return [s for s in self.specs if s.key not in known]


def make_plan(suite: Suite, root: str | Path | None = None, sources: dict[str, str] | None = None) -> Plan:
    """All runs of ``suite``, in the order datasets, tasks, methods, trials, seeds.

    Args:
        root: data root, for datasets whose domains are found on disk.
        sources: hashes of the files of methods loaded by path, by method name.

    Raises:
        DazooError: an unknown name or value; the message names the line of the suite file.
    """
    data = _data(suite, root)
    plan = Plan(suite)
    methods = list(_methods(suite))
    most = (
        sum(len(one.tasks) for one in data)
        * len(methods)
        * len(suite.seeds)
        * suite.trials
        * max(1, len(suite.recipes))
    )
    if most > MOST_RUNS:
        raise suite.origin.error(
            ("seeds",),
            f"the suite asks for {most:,} runs; no more than {MOST_RUNS:,} are planned: split it into several",
        )
    tried: dict[str, list[dict[str, Any]]] = {}
    for where, entry, cls in methods:
        tried[entry.label or cls.name] = _trials(suite, where, entry, cls)
    for of, task in ((one, task) for one in data for task in one.tasks):
        for _, entry, cls in methods:
            label = entry.label or cls.name
            for way in [w for w in of.ways if w.takes(cls, entry)]:
                shown = f"{label} ({way.name})" if way.name else label
                shared = way.protocol if entry.solver is None else replace(way.protocol, recipe=None)
                _, sources_of, target = split_name(task)
                numbers = len(sources_of), len(targets_of(target))
                setting, reason = setting_of(
                    cls, shared.recipe, shared.classes, shared.prior, suite, *numbers, of.targets
                )
                reason = reason or _nameless(cls, shared)
                if reason or setting is None:
                    plan.skipped.append(Skip(shown, task, reason))
                    continue
                seeds = suite.seeds
                if getattr(cls, "deterministic", False) and not splits_by_seed(shared, setting.value):
                    seeds = seeds[:1]
                code = (sources or {}).get(cls.name)
                plan.specs.extend(
                    RunSpec(
                        shared, task, cls.name, shown, cls.family, setting.value, hparams, entry.options, seed,
                        trial, code, cls.revision, closed_set_baseline(cls, setting), reads_source(cls, setting),
                    )
                    for trial, hparams in enumerate(tried[label])
                    for seed in seeds
                )  # fmt: skip
    if not plan.specs:
        reasons = "; ".join(sorted({f"{s.label}: {s.reason}" for s in plan.skipped}))
        raise suite.origin.error(("methods",), f"no method of this suite can run any of its tasks ({reasons})")
    _check_metric(plan)
    return plan


def _nameless(cls: type[Method], protocol: Protocol) -> str:
    """Why a method that reads features of class names cannot run under a protocol without them; empty where it can."""
    if not cls.reads_names:
        return ""
    from dazoo.encoders.base import ENCODERS

    name = (protocol.encoder or {}).get("name", "")
    gives = bool(name) and ENCODERS.get(name).gives_names
    return "" if gives else "reads features of class names, which no encoder of the suite gives"


def _check_metric(plan: Plan) -> None:
    """One suite averages one metric, and unknown classes have metrics of their own."""
    unknown = {dataset_of(s.task): Setting.of(s.setting).has_unknown for s in plan.specs}
    if len(set(unknown.values())) > 1:
        with_, without = (", ".join(d for d, v in unknown.items() if v == kind) for kind in (True, False))
        problem = f"targets of {with_} hold unknown classes, those of {without} do not"
        raise plan.suite.origin.error(("datasets",), f"{problem}; one suite averages one metric: make two suites")


@dataclass(frozen=True)
class _Way:
    """A suite under one of its recipes; ``name`` is empty where it has but one, and where it has several and this is
    the way of the methods that no recipe concerns."""

    name: str
    suite: Suite
    protocol: Protocol
    alone: bool = False

    def takes(self, cls: type[Method], entry: Entry) -> bool:
        """Whether a method's runs go this way."""
        return self.alone or (self.suite.recipe is not None) == (
            issubclass(cls, GradientMethod) and entry.solver is None
        )


@dataclass(frozen=True)
class _Data:
    """What a suite does on one of its datasets; ``targets`` are ``classes`` or ``values``."""

    ways: list[_Way]
    tasks: list[str]
    targets: str


def _data(suite: Suite, root: str | Path | None) -> list[_Data]:
    """Every dataset of a suite of which tasks are asked for; one suite averages one metric, so all predict alike."""
    suite = suite.spread()
    parts = suite.parts()
    ways = [_ways(one, root) for one in parts]
    found: list[_Data] = []
    for one, of, tasks in zip(parts, ways, tasks_of(suite, parts, [w[0].protocol.options for w in ways], root)):
        protocol = of[0].protocol
        look = partial(DATASETS.get(protocol.dataset).targets_under, protocol.options, data_root(root))
        targets = one.origin.check(("dataset",), look)
        if found and targets != found[0].targets:
            problem = f"{one.labels[0]} has {targets}, but {suite.labels[0]} {found[0].targets}"
            raise one.origin.error(("dataset",), f"{problem}; one suite averages one metric: make two suites of them")
        found.append(_Data(of, tasks, targets))
    return [one for one in found if one.tasks]


def _ways(suite: Suite, root: str | Path | None) -> list[_Way]:
    if not suite.recipes:
        return [_Way("", suite, make_protocol(suite, root), alone=True)]
    single = [suite.under(i) for i in (*range(len(suite.recipes)), None)]
    names = [r.label or r.name for r in suite.recipes] + [""]
    return [_Way(name, one, make_protocol(one, root)) for name, one in zip(names, single)]


def _methods(suite: Suite) -> Iterable[tuple[Where, Entry, type[Method]]]:
    labels: set[str] = set()
    for i, entry in enumerate(suite.methods):
        where: Where = ("methods", i)
        wild = any(ch in entry.name for ch in "*?[")
        if wild and (entry.options or entry.label or entry.solver):
            raise suite.origin.error(where, f"the pattern {entry.name!r} takes no options; name one method")
        names = METHODS.names(entry.name) if wild else [entry.name]
        if not names:
            raise suite.origin.error(where, f"no method matches {entry.name!r}: {nearest(entry.name, METHODS.names())}")
        for name in names:
            label = entry.label or name
            if label in labels:
                if wild:
                    continue
                raise suite.origin.error(where, f"two methods are labelled {label!r}; tell them apart with 'as'")
            labels.add(label)
            cls = suite.origin.check((*where, "name"), partial(METHODS.get, name), where)
            yield where, make_entry(name, entry.label, entry.options, entry.solver), cls


def _trials(suite: Suite, where: Where, entry: Entry, cls: type[Method]) -> list[dict[str, Any]]:
    """Hyper-parameter settings, the suite's own values in each; equal settings stand once."""
    known = hparam.space(cls)
    for key in entry.options:
        if key not in known:
            problem = f"{cls.name} has no hyper-parameter {key!r}: {nearest(key, known)}"
            raise suite.origin.error((*where, key), f"{problem} (hyper-parameters: {listing(known)})")
        suite.origin.check((*where, key), partial(hparam.configure, cls, {key: entry.options[key]}), where)
    found: list[dict[str, Any]] = []
    for drawn in settings(cls, suite.trials, suite.sampler):
        values = plain(hparam.values(hparam.configure(cls, {**drawn, **entry.options})))
        if values not in found:
            found.append(values)
    return found
