"""From a suite to its runs: every run is its arguments, and their hash is its key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from dazoo.bench.plan.represent import feature_map
from dazoo.bench.plan.suite import LAST, MOST_RUNS, ORACLE_RULE, Entry, Suite
from dazoo.bench.plan.suite import entry as make_entry
from dazoo.bench.plan.trials import settings
from dazoo.bench.plan.yamlfile import Where
from dazoo.core import hparam
from dazoo.core.errors import DazooError, UnknownName, nearest
from dazoo.core.setting import FEW_LABELS, MULTI_SOURCE, ORACLE, UNSUPERVISED, Setting
from dazoo.data.registry import DATASETS, data_root, expand_tasks, split_name
from dazoo.data.transform import TRANSFORMS
from dazoo.engine.fit import solver_of
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, GradientMethod, Method
from dazoo.shallow.classifiers import classifier
from dazoo.validators.base import VALIDATORS

T = TypeVar("T")


@dataclass(frozen=True)
class Protocol:
    """What all runs of a suite share and what determines their results, as plain data."""

    dataset: str
    options: dict[str, Any]
    transform: list[str]
    backbone: str
    frozen: bool
    image_size: int | None
    recipe: dict[str, Any] | None
    classifier: dict[str, Any] | None
    few_labels: int
    source_holdout: float
    target_holdout: float
    checkpoints: int
    validators: list[str]
    represent: dict[str, Any] | None = None
    content: str | None = None

    @cached_property
    def plain(self) -> dict[str, Any]:
        """All fields; those that suites rarely use are left out where they are not used, so that they change no key."""
        fields = asdict(self)
        for rare in ("represent", "content"):
            if fields[rare] is None:
                del fields[rare]
        return fields

    @cached_property
    def hash(self) -> str:
        return _hash(self.plain)


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

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data."""
        own = {k: getattr(self, k) for k in _OWN}
        return {**own, **self._revised, "protocol": self.protocol.plain}

    @property
    def _revised(self) -> dict[str, int]:
        """The revision where there was one, so that the keys of all other runs stay what they were."""
        return {"revision": self.revision} if self.revision else {}

    @cached_property
    def key(self) -> str:
        """Hash of everything that determines the result."""
        return _hash({**{k: getattr(self, k) for k in _KEYED}, **self._revised, "protocol": self.protocol.hash})

    @cached_property
    def variant(self) -> str:
        """Hash of what must be equal for runs of one label to stand in one row of a table."""
        return _hash([self.protocol.hash, self.method, self.overrides, self.code, *self._revised.values()])

    @property
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
    """All runs of ``suite``, in the order tasks, methods, trials, seeds.

    Args:
        root: data root, for datasets whose domains are found on disk.
        sources: hashes of the files of methods loaded by path, by method name.

    Raises:
        DazooError: an unknown name or value; the message names the line of the suite file.
    """
    ways = _ways(suite, root)
    protocol = ways[0].protocol
    tasks = _tasks(suite, protocol, root)
    dataset = DATASETS.get(suite.dataset.name)
    targets = _check(suite, ("dataset",), lambda: dataset.targets_under(protocol.options, data_root(root)))
    plan = Plan(suite)
    methods = list(_methods(suite))
    most = len(tasks) * len(methods) * len(suite.seeds) * suite.trials * max(1, len(suite.recipes))
    if most > MOST_RUNS:
        raise suite.origin.error(
            ("seeds",),
            f"the suite asks for {most:,} runs; no more than {MOST_RUNS:,} are planned: split it into several",
        )
    tried: dict[str, list[dict[str, Any]]] = {}
    for where, entry, cls in methods:
        tried[entry.label or cls.name] = _trials(suite, where, entry, cls)
    for task in tasks:
        for _, entry, cls in methods:
            label = entry.label or cls.name
            for way in [w for w in ways if w.takes(cls, entry)]:
                shown = f"{label} ({way.name})" if way.name else label
                shared = way.protocol if entry.solver is None else replace(way.protocol, recipe=None)
                setting, reason = _setting(cls, shared, suite, len(split_name(task)[1]), targets)
                if reason or setting is None:
                    plan.skipped.append(Skip(shown, task, reason))
                    continue
                seeds = suite.seeds
                if getattr(cls, "deterministic", False) and not splits_by_seed(protocol, setting.value):
                    seeds = seeds[:1]
                code = (sources or {}).get(cls.name)
                plan.specs.extend(
                    RunSpec(
                        shared, task, cls.name, shown, cls.family, setting.value, hparams, entry.options, seed,
                        trial, code, cls.revision,
                    )
                    for trial, hparams in enumerate(tried[label])
                    for seed in seeds
                )  # fmt: skip
    if not plan.specs:
        reasons = "; ".join(sorted({f"{s.label}: {s.reason}" for s in plan.skipped}))
        raise suite.origin.error(("methods",), f"no method of this suite can run any of its tasks ({reasons})")
    return plan


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


def _ways(suite: Suite, root: str | Path | None) -> list[_Way]:
    if not suite.recipes:
        return [_Way("", suite, make_protocol(suite, root), alone=True)]
    single = [suite.under(i) for i in (*range(len(suite.recipes)), None)]
    names = [r.label or r.name for r in suite.recipes] + [""]
    return [_Way(name, one, make_protocol(one, root)) for name, one in zip(names, single)]


def splits_by_seed(protocol: Protocol, setting: str) -> bool:
    """Whether the seed decides which samples are seen."""
    return setting in (FEW_LABELS, ORACLE) or protocol.source_holdout > 0 or protocol.target_holdout > 0


def make_protocol(suite: Suite, root: str | Path | None = None) -> Protocol:
    """The shared part, with every default filled in and every name checked."""
    dataset = _check(suite, ("dataset", "name"), lambda: DATASETS.get(suite.dataset.name), ("dataset",))
    for key, value in suite.dataset.options.items():
        if key not in dataset.options:
            problem = f"dataset {dataset.name!r} has no option {key!r}: {nearest(key, dataset.options)}"
            raise suite.origin.error(("dataset", key), f"{problem} (options: {_listing(dataset.options)})")
        _check(suite, ("dataset", key), partial(dataset.check_options, {key: value}), ("dataset",))
    for i, name in enumerate(suite.transform):
        if name not in TRANSFORMS:
            raise suite.origin.error(("transform", i), f"unknown transform {name!r}: {nearest(name, TRANSFORMS)}")
    recipe, chosen = suite.recipe, suite.classifier
    made = None if recipe is None else _check(suite, ("recipe",), lambda: Recipe.named(recipe.name, **recipe.options))
    name, options = (chosen.name, chosen.options) if chosen is not None else ("", {})
    finish = _check(suite, ("classifier",), partial(classifier, name, **options)) if chosen is not None else None
    if suite.backbone != "none":
        from dazoo.nets.lookup import get_backbone

        _check(suite, ("backbone",), lambda: get_backbone(suite.backbone))
    if suite.frozen and suite.backbone == "none":
        raise suite.origin.error(("frozen",), "frozen features need a backbone; name one or drop 'frozen'")
    # an option that says nothing determines nothing: it changes no key when a dataset learns it
    options = {k: v for k, v in {**dataset.options, **suite.dataset.options}.items() if v is not None}
    content = dataset.content
    return Protocol(
        dataset=dataset.name,
        options=options,
        transform=list(suite.transform),
        backbone=suite.backbone,
        frozen=suite.frozen,
        image_size=suite.image_size,
        recipe=None if made is None else {**made.to_json(), "hash": made.hash},
        classifier=None if finish is None else finish.describe(),
        few_labels=suite.few_labels,
        source_holdout=suite.source_holdout,
        target_holdout=suite.target_holdout,
        checkpoints=suite.checkpoints,
        validators=_validators(suite),
        represent=_representation(suite),
        content=None if content is None else _check(suite, ("dataset",), lambda: content(data_root(root), **options)),
    )


def _representation(suite: Suite) -> dict[str, Any] | None:
    chosen = suite.represent
    if chosen is None:
        return None
    made = _check(suite, ("represent",), lambda: feature_map(chosen.name, **chosen.options))
    return {"name": chosen.name, **_plain(hparam.values(made))}


def _validators(suite: Suite) -> list[str]:
    found: list[str] = []
    for i, pattern in enumerate(suite.validators):
        hits = VALIDATORS.names(pattern)
        if not hits:
            problem = f"unknown validator {pattern!r}: {nearest(pattern, VALIDATORS.names())}"
            raise suite.origin.error(("validators", i), problem)
        found += [h for h in hits if h not in found]
    rule = suite.select_by
    if rule not in (LAST, ORACLE_RULE):
        if rule not in VALIDATORS:
            known = [*VALIDATORS.names(), LAST, ORACLE_RULE]
            raise suite.origin.error(("select_by",), f"unknown selection rule {rule!r}: {nearest(rule, known)}")
        found += [rule] if rule not in found else []
    return found


def _tasks(suite: Suite, protocol: Protocol, root: str | Path | None) -> list[str]:
    dataset = DATASETS.get(protocol.dataset)
    names: list[str] = []
    for i, pattern in enumerate(suite.tasks):
        full = pattern if pattern.startswith(protocol.dataset + "/") else f"{protocol.dataset}/{pattern}"

        def expand(full: str = full) -> list[str]:
            if dataset.needs_root and not data_root(root).is_dir():
                where = data_root(root)
                raise DazooError(f"the data root {where} does not exist; name it with --data-root or DAZOO_DATA")
            return expand_tasks([full], root, **protocol.options)

        names += [n for n in _check(suite, ("tasks", i), expand, ("tasks",)) if n not in names]
    return names


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
            cls = _check(suite, (*where, "name"), partial(METHODS.get, name), where)
            yield where, make_entry(name, entry.label, entry.options, entry.solver), cls


def _trials(suite: Suite, where: Where, entry: Entry, cls: type[Method]) -> list[dict[str, Any]]:
    """Hyper-parameter settings, the suite's own values in each; equal settings stand once."""
    known = hparam.space(cls)
    for key in entry.options:
        if key not in known:
            problem = f"{cls.name} has no hyper-parameter {key!r}: {nearest(key, known)}"
            raise suite.origin.error((*where, key), f"{problem} (hyper-parameters: {_listing(known)})")
        _check(suite, (*where, key), partial(hparam.configure, cls, {key: entry.options[key]}), where)
    found: list[dict[str, Any]] = []
    for drawn in settings(cls, suite.trials, suite.sampler):
        values = _plain(hparam.values(hparam.configure(cls, {**drawn, **entry.options})))
        if values not in found:
            found.append(values)
    return found


def _setting(
    cls: type[Method], protocol: Protocol, suite: Suite, n_sources: int, targets: str
) -> tuple[Setting | None, str]:
    """The setting a method runs a task in, or the reason why it cannot; decided by what the class declares."""
    if targets not in cls.targets:
        return None, f"predicts {' and '.join(sorted(cls.targets))}, but the dataset has {targets}"
    recipe = protocol.recipe
    try:
        solver_of(cls, None if recipe is None else Recipe.named(recipe["name"]))
    except DazooError:
        return None, "is trained by gradients, and no recipe is given"
    wanted = MULTI_SOURCE if n_sources > 1 else UNSUPERVISED
    if suite.setting != "auto":
        wanted = Setting(suite.setting)
    for setting in (wanted, FEW_LABELS, ORACLE):
        if setting in cls.settings:
            return setting, ""
        if setting is MULTI_SOURCE and UNSUPERVISED in cls.settings:
            return None, "takes a single source"
    return None, f"runs in the settings {', '.join(sorted(s.value for s in cls.settings))}, not {wanted.value}"


def _named(suite: Suite, key: str, entry: Entry, make: Callable[..., T]) -> T:
    """A recipe or classifier; a mistake in an option is reported at the option's line."""
    _check(suite, (key, "name"), partial(make, entry.name), (key,))
    for option, value in entry.options.items():
        _check(suite, (key, option), partial(make, entry.name, **{option: value}), (key,))
    return _check(suite, (key,), partial(make, entry.name, **entry.options))


def _check(suite: Suite, where: Where, call: Callable[[], T], fallback: Where | None = None) -> T:
    """``call()``, whose user errors are given the place in the suite file."""
    try:
        return call()
    except (DazooError, UnknownName) as error:
        place = where if where in suite.origin.lines or fallback is None else fallback
        raise suite.origin.error(place, error) from None


def _listing(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def _hash(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
