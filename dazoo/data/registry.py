"""The registry of datasets and the function that turns a task name into a ``Task``."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dazoo.core.errors import DazooError, UnknownName, nearest
from dazoo.core.paper import Paper
from dazoo.core.paths import cache_root as cache_root
from dazoo.core.registry import Registry
from dazoo.core.setting import UNSUPERVISED, Setting
from dazoo.data.arrival import FIELDS as ARRIVAL
from dazoo.data.domain import Domain
from dazoo.data.label_sets import setting_with, taken
from dazoo.data.names import split_name as split_name
from dazoo.data.names import targets_of
from dazoo.data.pooled import pooled
from dazoo.data.prior_shift import resampled, setting_under
from dazoo.data.prior_shift import taken as taken_prior
from dazoo.data.task import Task


@dataclass(frozen=True)
class Dataset:
    """A dataset family: its domains by name and how to load one.

    Attributes:
        name: registry name, the stem of the file that defines it.
        domains: names of the domains, or a function of the options for datasets that are discovered on disk.
        load: ``load(domain, root, **options) -> Domain``; ``root`` is the data root.
        description: one line for listings.
        options: option names with their defaults, for validation.
        needs_root: whether files under the data root are needed.
        license: terms and origin, one line.
        targets: ``classes``, or ``values`` for regression; decides which methods a suite runs on it.
        pairs: the (source, target) pairs that wildcards expand to; None for all pairs of different domains.
        content: ``content(root, **options)``, a hash of files that may change under their name, such as a user's own:
            runs on the old content are no runs on the new. None where the name of a dataset says it all.
        check: ``check(**options)``, an error where an option has no such value; asked before the first run of a suite.
        papers: what to cite when the data are used.
        splits: the field's splits of the classes by name, as (shared, source, target) counts (``data.label_sets``).
        encoder: name of the encoder that suits its samples, where they are no numbers, or ``encoder(root, **options)``
            that finds it.
        counts: samples per domain of the whole dataset, where that is fixed.
        where: where to get it and how to unpack it, in a sentence that begins with a verb.
        look: ``look(root, **options)``, whether files hold ``classes`` or ``values``; None where ``targets`` says it.
    """

    name: str
    domains: tuple[str, ...] | Callable[..., tuple[str, ...]]
    load: Callable[..., Domain]
    description: str
    options: dict[str, Any]
    needs_root: bool = False
    license: str = ""
    targets: str = "classes"
    pairs: tuple[tuple[str, str], ...] | None = None
    content: Callable[..., str] | None = None
    look: Callable[..., str] | None = None
    check: Callable[..., None] | None = None
    papers: tuple[Paper, ...] = ()
    splits: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    encoder: str | Callable[..., str] = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    where: str = ""

    def encoder_under(self, options: dict[str, Any], root: Path | None = None) -> str:
        """Name of the encoder that its samples need under these options; empty where they are numbers."""
        return self.encoder if isinstance(self.encoder, str) else self.encoder(root, **{**self.options, **options})

    def check_options(self, options: dict[str, Any]) -> None:
        """Raise ``DazooError`` where an option has no such value."""
        if self.check is not None:
            self.check(**{**self.options, **options})

    def domain_names(self, root: Path | None = None, **options: Any) -> tuple[str, ...]:
        """The names of the domains, looked up on disk where needed."""
        return self.domains if isinstance(self.domains, tuple) else tuple(self.domains(root, **options))

    def targets_under(self, options: dict[str, Any], root: Path | None = None) -> str:
        """``classes`` or ``values``; files of one's own say it through an option ``targets`` or by what they hold."""
        asked = options.get("targets") if "targets" in self.options else None
        if asked in ("classes", "values"):
            return str(asked)
        return self.targets if self.look is None or not options.get("path") else self.look(root, **options)


DATASETS: Registry[Dataset] = Registry("dataset", "dazoo.data.sets", "dazoo.datasets")


def register_dataset(dataset: Dataset) -> Dataset:
    """Add a dataset to the registry."""
    return DATASETS.add(dataset.name, dataset)


def data_root(given: str | Path | None = None) -> Path:
    """Where datasets lie: the given folder, else ``DAZOO_DATA``, else the user cache folder."""
    if given is not None:
        return Path(given).expanduser()
    if os.environ.get("DAZOO_DATA"):
        return Path(os.environ["DAZOO_DATA"]).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("dazoo")) / "data"


def load_domain(dataset: str, domain: str, root: str | Path | None = None, **options: Any) -> Domain:
    """One domain of a registered dataset.

    Raises:
        UnknownName: no such dataset, domain or option.
        DazooError: files are missing or unreadable.
    """
    entry = DATASETS.get(dataset)
    for key in options:
        if key not in entry.options:
            raise UnknownName(f"dataset {dataset!r} has no option {key!r}: {nearest(key, entry.options)}")
    merged = {**entry.options, **options}
    entry.check_options(options)
    where = data_root(root)
    names = entry.domain_names(where, **merged)
    if domain not in names:
        raise UnknownName(f"dataset {dataset!r} has no domain {domain!r}: {nearest(domain, names)}")
    return entry.load(domain, where, **merged)


def load_task(name: str, data_root: str | Path | None = None, **options: Any) -> Task:
    """The task ``dataset/source->target``; options are those of the dataset or fields of ``Task``.

    ``classes={"shared": 5, "source": 3, "target": 2}``, counts or names, or the name of a split of the dataset's,
    makes a partial, open-set or universal task of any dataset (``data.label_sets``). Several targets, as in
    ``digits/upright->noisy+rotated``, are pooled, and tested each by itself. ``prior={"kind": "dirichlet"}`` gives the
    target other class shares (``data.prior_shift``).
    """
    dataset, sources, target = split_name(name)
    fields = {k: options.pop(k) for k in list(options) if k in TASK_FIELDS}
    entry = DATASETS.get(dataset)
    sets, shift = taken(options, entry.options, entry.splits), taken_prior(options, entry.options)
    loaded = {d: load_domain(dataset, d, data_root, **options) for d in {*sources, *targets_of(target)}}
    given, held = tuple(loaded[s] for s in sources), pooled([loaded[t] for t in targets_of(target)])
    if sets is not None:
        given, held = tuple(map(sets.source_part, given)), sets.target_part(held)
        fields["setting"] = setting_with(Setting.of(fields.get("setting", UNSUPERVISED)), sets)
    if shift is not None:
        held = resampled(held, shift, fields.get("seed", 0))
        fields["setting"] = setting_under(Setting.of(fields.get("setting", UNSUPERVISED)), shift)
    return Task(name, given, held, **fields)


TASK_FIELDS = ("setting", "few_per_class", "source_holdout", "target_holdout", "seed", "curve", *ARRIVAL,
               "budget", "ask_rounds", "asked_holdout")  # fmt: skip


def expand_tasks(patterns: Iterable[str], root: str | Path | None = None, **options: Any) -> list[str]:
    """All single-source tasks that match shell-style patterns such as ``office_caltech10/*->dslr``.

    Names without wildcards (several sources included) are passed on as they are. The order is that of the patterns,
    then that of the dataset's domains.

    Raises:
        DazooError: a pattern that matches nothing.
    """
    found: list[str] = []
    for pattern in patterns:
        dataset, sources, target = split_name(pattern)
        entry = DATASETS.get(dataset)
        names = entry.domain_names(data_root(root), **{**entry.options, **options})
        if not any(ch in pattern for ch in "*?["):
            for d in (*sources, *targets_of(target)):
                if d not in names:
                    raise UnknownName(f"dataset {dataset!r} has no domain {d!r}: {nearest(d, names)}")
            hits = [pattern]
        else:
            wanted = pattern.partition("/")[2]
            pairs = entry.pairs or tuple((s, t) for s in names for t in names if s != t)
            hits = [f"{dataset}/{s}->{t}" for s, t in pairs if fnmatch.fnmatchcase(f"{s}->{t}", wanted)]
        if not hits:
            raise DazooError(f"the task pattern {pattern!r} matches nothing; domains of {dataset}: {', '.join(names)}")
        found += [h for h in hits if h not in found]
    return found
