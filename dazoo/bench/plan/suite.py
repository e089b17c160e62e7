"""A suite: tasks x methods x trials x seeds under one protocol, read from YAML or a dictionary."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationError

from dazoo.bench.metrics.registry import names as metric_names
from dazoo.bench.plan.entry import OWN, Budget, Counts, Data, DataEntry, Frozen, Named, Names, entry, listed, short
from dazoo.bench.plan.yamlfile import Origin, Where, read_yaml
from dazoo.bench.records.size import BUDGET, size_of
from dazoo.core.errors import DazooError, nearest
from dazoo.core.setting import Setting

LAST, ORACLE_RULE = "last", "oracle"
DEFAULT_RULE = "info_max"
UNSEEN_RULE = "source_validation"
"""The default where the target is unseen."""
MOST_SEEDS, MOST_TRIALS, MOST_CHECKPOINTS, MOST_RUNS = 10_000, 10_000, 10_000, 1_000_000
"""What a suite may ask for at most; more is a slip of the finger, and would fill the memory before the first run."""
DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def _seed_list(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError("at least one seed is needed")
        if value > MOST_SEEDS:
            raise ValueError(f"a suite has at most {MOST_SEEDS} seeds")
        return list(range(value))
    return value


def _size(value: Any) -> Any:
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        try:
            size_of(value)
        except DazooError as error:
            raise ValueError(str(error)) from None
        return str(value)
    return value


def _folder_name(name: str) -> str:
    """A name that makes a folder below ``results/`` on every system, and nothing else."""
    bad = [ch for ch in name if ch in '/\\:*?"<>|' or not ch.isprintable()]
    if bad:
        raise ValueError(f"a suite's name is that of its result folder and cannot hold {bad[0]!r}; choose another name")
    if not name or name != name.strip() or name[0] == "." or name[-1] == "." or DEVICES.fullmatch(name):
        raise ValueError(
            "a suite's name is that of its result folder: it is not empty, does not begin or end with a dot or a "
            "space and is no name of a device; choose another name"
        )
    if len(name.encode()) > 100:
        raise ValueError("a suite's name is that of its result folder and has at most 100 bytes; choose a shorter one")
    return name


def _setting_name(name: str) -> str:
    if name != "auto":
        try:
            return Setting.of(name).name
        except DazooError as error:
            raise ValueError(str(error)) from None
    return name


def _metric_name(name: str) -> str:
    known = metric_names()
    if name not in known:
        raise ValueError(f"there is no metric of that name; {nearest(name, known)} (metrics: {', '.join(known)})")
    return name


Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
Count = Annotated[int, Field(ge=1, lt=2**31, strict=True)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Folder = Annotated[str, AfterValidator(_folder_name)]


class Suite(Frozen):
    """One benchmark protocol.

    Attributes:
        name: short name, the file's stem by default; results go to a folder of that name.
        description: one or two sentences for the report.
        dataset: name, or ``{name: ..., option: value}``.
        datasets: several datasets instead of one, each with its options and, where they differ from the suite's, keys
            ``tasks``, ``transform``, ``backbone``, ``frozen`` and ``encoder`` of its own. One that is listed twice is
            told apart by ``as``, which then begins the names of its tasks.
        tasks: patterns such as ``*->*``, ``upright->rotated`` or ``amazon+dslr->webcam``, of every dataset that has
            none of its own; ``digits/upright->*`` is meant for one of several datasets.
        transform: names of per-domain transforms, in order.
        backbone: first layers of the network; ``none`` for vectors.
        frozen: whether images become fixed features of the backbone first.
        image_size: side of the square image a backbone sees; its own default when absent.
        encoder: what makes numbers of texts, tables and the like, e.g. ``{name: tfidf, dims: 50}``, fitted once per
            task to what the task shows; by default what the dataset names.
        represent: a feature map, e.g. ``{name: msda, layers: 5}``, learned once per task from what the task shows; all
            methods start from its vectors.
        methods: names, wildcards (``ot_*``), or ``{name: dann, as: dann_strong, trade_off: 2.0}``.
        seeds: a number (0, 1, ... n-1) or a list.
        trials: hyper-parameter settings per method: the defaults first, then draws from the ranges methods declare.
        sampler: ``random`` or ``quasi_random`` (evenly spread) draws, seeded by hyper-parameter name.
        recipe: how gradient methods are trained; without one, only shallow methods run.
        recipes: several recipes instead of one, e.g. ``[tllib, {name: adatime, as: short, steps: 300}]``: every
            gradient method runs under each, and stands in the tables as ``method (recipe)``; shallow methods run once.
        classifier: what shallow methods finish with.
        setting: the question (``core.setting``), e.g. ``source_free`` or ``source_free+multi_source``; by default
            unsupervised, multi_source for several sources, or what the dataset's option ``classes`` makes of it.
        stream: how a target that is a stream arrives, e.g. ``{batch: 32, order: dirichlet}``: ``batch``, ``episodic``,
            ``order``, ``mixed``, ``rounds``, ``delta`` (``data.arrival``).
        closed_set_baselines: whether methods of the closed set run where source and target have different classes.
        few_labels: labelled target samples per class in the few-label setting. Several numbers make a label curve: each
            is a dataset of its own in the tables (``digits-k1``, ``digits-k3``), draws are nested, and ``curve`` is on.
        curve: whether all settings are tested on the half of the target that the oracle is tested on (``Task.curve``).
        budget, ask_rounds, asked_holdout: what methods of the active setting may ask for, as in ``Task``.
        source_holdout: share of the source held out for validators.
        target_holdout: share of the target held out for testing; 0 is transductive.
        checkpoints: evaluations per gradient run.
        validators: names of label-free scores to record, or patterns, which mean those that suit the setting.
        select_by: the validator that chooses trial and checkpoint, ``last``, or ``oracle`` (target labels, marked). By
            default info_max; ``last`` where source and target have different classes or class shares, since nothing is
            known to choose well there; source_validation where the target is unseen.
        metric: the target metric reported; by default that of the setting: accuracy for classes, hos where samples may
            be unknown, rmse for values.
        keep: disk space for outputs of checkpoints in the result folder, e.g. 200MB; 0 keeps none. Changes no result.
    """

    name: Folder = "suite"
    description: str = ""
    dataset: Named | None = None
    datasets: Annotated[tuple[Data, ...], BeforeValidator(listed)] = ()
    tasks: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(listed)] = ("*->*",)
    transform: Names = ()
    backbone: str = "none"
    frozen: bool = False
    image_size: Annotated[int, Field(ge=8, le=4096, strict=True)] | None = None
    represent: Named | None = None
    encoder: Named | None = None
    methods: Annotated[tuple[Named, ...], Field(min_length=1), BeforeValidator(listed)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), BeforeValidator(_seed_list)] = (0,)
    trials: Annotated[Count, Field(le=MOST_TRIALS)] = 1
    sampler: Literal["random", "quasi_random"] = "random"
    recipe: Named | None = None
    recipes: Annotated[tuple[Named, ...], BeforeValidator(listed)] = ()
    classifier: Named | None = None
    setting: Annotated[str, AfterValidator(_setting_name)] = "auto"
    stream: dict[str, Any] = {}
    closed_set_baselines: bool = False
    few_labels: Counts = (3,)
    curve: bool = False
    budget: Budget = 0.05
    ask_rounds: Annotated[Count, Field(le=MOST_CHECKPOINTS)] = 5
    asked_holdout: Share = 0.0
    source_holdout: Share = 0.2
    target_holdout: Share = 0.0
    checkpoints: Annotated[Count, Field(le=MOST_CHECKPOINTS)] = 5
    validators: Names = ("source_validation", "entropy", "info_max")
    select_by: str = DEFAULT_RULE
    keep: Annotated[str, BeforeValidator(_size)] = BUDGET
    metric: Annotated[str, AfterValidator(_metric_name)] | None = None

    _origin: Origin = PrivateAttr(default_factory=Origin)
    _narrowed: bool = PrivateAttr(default=False)

    @property
    def origin(self) -> Origin:
        return self._origin

    @property
    def labels(self) -> tuple[str, ...]:
        """How the names of tasks begin: the datasets, each by its label or its name, and its number of labels where it
        has several."""
        return self.spread()._called

    @property
    def _called(self) -> tuple[str, ...]:
        found = self.datasets or ((self.dataset,) if self.dataset is not None else ())
        return tuple(d.label or d.name for d in found)

    @property
    def narrowed(self) -> bool:
        """Whether its tasks were replaced by a pattern, which may match nothing of some datasets."""
        return self._narrowed

    @staticmethod
    def load(path: str | Path) -> Suite:
        """Read a suite file.

        Raises:
            DazooError: the file is missing or wrong; the message names the line.
        """
        data, origin = read_yaml(path)
        return Suite.of(data, origin, Path(path).stem)

    @staticmethod
    def of(data: Any, origin: Origin | None = None, name: str = "suite") -> Suite:
        """A suite from a mapping, checked; mistakes are reported with the keys that are allowed."""
        origin = origin or Origin()
        if not isinstance(data, dict):
            raise origin.error((), "a suite is a mapping of keys such as dataset, tasks and methods")
        try:
            suite = Suite.model_validate({"name": name, **data})
        except ValidationError as error:
            raise _explain(error, origin) from None
        suite._origin = origin
        if len(set(suite.seeds)) < len(suite.seeds):
            raise origin.error(("seeds",), "a seed is listed twice; seeds must differ")
        for key in ("dataset", "recipe", "classifier", "encoder"):
            entry = getattr(suite, key)
            if entry is not None and (entry.label is not None or entry.solver is not None):
                takers = "methods, recipes and the entries of 'datasets'"
                raise origin.error((key, "as"), f"{key} has no key 'as'; only {takers} take a label")
        _check_datasets(suite, "datasets" in data, origin)
        if suite.recipe is not None and suite.recipes:
            raise origin.error(("recipes",), "a suite has one recipe or several recipes, not both keys")
        names = [r.label or r.name for r in suite.recipes]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise origin.error(("recipes", i), f"two recipes are labelled {name!r}; tell them apart with 'as'")
        if "select_by" in suite.model_fields_set:
            return suite
        asked = Setting.of("unsupervised" if suite.setting == "auto" else suite.setting)
        if asked.target == "unseen":
            return suite._choosing(UNSEEN_RULE if suite.source_holdout else LAST)
        return suite if suite._closed else suite._choosing(LAST)

    @property
    def _closed(self) -> bool:
        """Whether source and target have the same classes, by the setting and by the datasets' option ``classes``, and
        the target is there at once."""
        asked = Setting.of("unsupervised" if self.setting == "auto" else self.setting)
        if asked.labels != "closed" or asked.target == "stream" or asked.marked == "query":
            return False
        entries = self.datasets or ([] if self.dataset is None else [self.dataset])
        return not any(_splits_classes(e) for e in entries)

    def _choosing(self, rule: str) -> Suite:
        made = self.model_copy(update={"select_by": rule})
        made._origin = self._origin
        return made

    def narrow(
        self, methods: Iterable[str] = (), tasks: str | None = None, seeds: int | None = None, added: Iterable[str] = ()
    ) -> Suite:
        """The suite restricted to some methods, tasks or seeds.

        Args:
            methods: names or patterns to keep; a name that the suite does not list is run with its defaults.
            tasks: a pattern that replaces the suite's own.
            seeds: a number of seeds; the suite's own first.
            added: names of methods to run beside the others.
        """
        change: dict[str, Any] = {}
        chosen = list(self.methods)
        wanted = list(methods)
        if wanted:
            chosen = []
            for name in wanted:
                hits = [m for m in self.methods if fnmatch.fnmatchcase(m.label or m.name, name)]
                chosen += [m for m in hits or [entry(name)] if m not in chosen]
        known = {m.label or m.name for m in chosen}
        chosen += [entry(name) for name in added if name not in known]
        if chosen != list(self.methods):
            change["methods"] = tuple(chosen)
        if tasks is not None:
            change["tasks"] = (tasks,)
            if self.datasets:
                change["datasets"] = tuple(d.model_copy(update={"tasks": ()}) for d in self.datasets)
        if seeds is not None:
            if not 1 <= seeds <= MOST_SEEDS:
                raise DazooError(f"a suite has between 1 and {MOST_SEEDS} seeds, not {seeds}")
            more = [s for s in range(seeds + len(self.seeds)) if s not in self.seeds]
            change["seeds"] = (*self.seeds, *more)[:seeds]
        made = self.model_copy(update=change)
        # positions in the file no longer match what was replaced
        lines = {w: n for w, n in self.origin.lines.items() if not (w and w[0] in change)}
        made._origin = Origin(self.origin.file if lines else "", lines)
        made._narrowed = tasks is not None
        return made

    def parts(self) -> list[Suite]:
        """The suite on each of its datasets alone, with that dataset's lines for its errors; where it has but one key
        ``dataset``, the suite itself."""
        return [self._on(i, d) for i, d in enumerate(self.datasets)] if self.datasets else [self]

    def spread(self) -> Suite:
        """The suite with an entry of ``datasets`` for every number of labels, where it asks for several."""
        entries = list(self.datasets)
        if self.dataset is not None:
            entries = [DataEntry(**self.dataset.model_dump(exclude={"solver"}))]
        asked = [(i, d, d.few_labels or self.few_labels) for i, d in enumerate(entries)]
        if all(len(numbers) == 1 for *_, numbers in asked):
            return self
        found: list[DataEntry] = []
        lines = {w: n for w, n in self.origin.lines.items() if not w or w[0] not in ("dataset", "datasets")}
        for i, one, numbers in asked:
            for k in numbers:
                begins: Where = ("datasets", i) if self.datasets else ("dataset",)
                moved = {w: n for w, n in self.origin.lines.items() if w[: len(begins)] == begins}
                lines |= {("datasets", len(found), *w[len(begins) :]): n for w, n in moved.items()}
                label = f"{one.label or one.name}-k{k}"
                found.append(one.model_copy(update={"label": label, "few_labels": (k,)}))
        made = self.model_copy(update={"dataset": None, "datasets": tuple(found), "few_labels": (3,), "curve": True})
        made._origin = Origin(self.origin.file, lines)
        return made

    def _on(self, i: int, chosen: DataEntry) -> Suite:
        own = chosen.own
        dataset = entry(chosen.name, chosen.label, chosen.options)
        one = self.model_copy(update={"dataset": dataset, "datasets": (), **own})
        moved: dict[Where, int] = {}
        for where, line in self.origin.lines.items():
            if where[:2] == ("datasets", i):
                rest = where[2:]
                moved[rest if rest and rest[0] in OWN else ("dataset", *rest)] = line
            elif where and where[0] not in own:
                moved.setdefault(where, line)
        one._origin = Origin(self.origin.file, moved)
        return one

    def under(self, i: int | None) -> Suite:
        """The suite with the ``i``-th of its recipes, or with none, and with that recipe's lines for its errors."""
        chosen = None if i is None else entry(self.recipes[i].name, options=self.recipes[i].options)
        one = self.model_copy(update={"recipe": chosen, "recipes": ()})
        lines = self.origin.lines
        moved: dict[Where, int] = {("recipe", *w[2:]): n for w, n in lines.items() if w[:2] == ("recipes", i)}
        one._origin = Origin(self.origin.file, {**lines, **moved})
        return one

    def to_json(self) -> dict[str, Any]:
        """The suite as plain data that ``Suite.of`` reads back."""
        data = self.model_dump(mode="json", exclude_none=True, exclude_defaults=True, by_alias=True)
        for part in (data, *data.get("datasets", ())):
            for key in ("dataset", "recipe", "classifier", "encoder"):
                if key in part:
                    part[key] = short(part[key])
            if len(part.get("few_labels") or ()) == 1:
                part["few_labels"] = part["few_labels"][0]
        for key in ("datasets", "methods", "recipes"):
            if key in data:
                data[key] = [short(entry) for entry in data[key]]
        return data


def _splits_classes(asked: Data | Named) -> bool:
    """Whether an entry asks for other classes, or shares of them, in the target; mistakes in it are for the plan."""
    if "prior" in asked.options:
        return True
    if "classes" not in asked.options:
        return False
    from dazoo.data.label_sets import taken
    from dazoo.data.registry import DATASETS  # loads torch

    try:
        dataset = DATASETS.get(asked.name)
        sets = taken(dict(asked.options), dataset.options, dataset.splits)
    except DazooError:
        return False
    return sets is not None and sets.labels != "closed"


def _check_datasets(suite: Suite, listed: bool, origin: Origin) -> None:
    """Refuse both keys, none of them, and names of tasks that would stand for two datasets."""
    if suite.dataset is not None and listed:
        raise origin.error(("datasets",), "a suite has one 'dataset' or a list 'datasets', not both keys")
    if listed and not suite.datasets:
        raise origin.error(("datasets",), "the list 'datasets' is empty; name at least one dataset")
    if not suite._called:
        raise origin.error((), "the key 'dataset' is missing; every suite needs a dataset and methods")
    for i, label in enumerate(suite._called):
        if label in suite._called[:i]:
            raise origin.error(("datasets", i), f"two datasets are called {label!r}; tell them apart with 'as'")


def _explain(error: ValidationError, origin: Origin) -> DazooError:
    """The first problem pydantic found, in the words of this project."""
    # a misspelt key is also a missing one; the misspelling is what to mend
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    where: Where = tuple(first["loc"])
    key = where[-1] if where else ""
    allowed = sorted(n for n in Suite.model_fields)
    if first["type"] == "extra_forbidden":
        return origin.error(where, f"unknown key {key!r}: {nearest(str(key), allowed)} (keys: {', '.join(allowed)})")
    if first["type"] == "missing":
        if len(where) == 1:
            return origin.error(where, f"the key {key!r} is missing; every suite needs a dataset and methods")
        return origin.error(where, f"{where[0]}: the key 'name' is missing beside its options")
    path = ".".join(str(p) for p in where)
    value = first.get("input")
    text = first["msg"].removeprefix("Value error, ")
    told = isinstance(value, str) and value in text.split()  # a setting that is refused names itself
    shown = f", not {value!r}" if isinstance(value, (str, int, float, bool)) and not told else ""
    return origin.error(where, f"{path}: {text[0].lower()}{text[1:]}{shown}")
