"""The data of runs: tasks, with the domains that the next ones need still in memory."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

from torch.utils.weak import WeakIdKeyDictionary

from dazoo.bench.plan.plan import RunSpec
from dazoo.bench.plan.protocol import Protocol
from dazoo.bench.plan.represent import feature_map, represented
from dazoo.core.setting import Setting
from dazoo.data.domain import Domain
from dazoo.data.label_sets import LabelSets
from dazoo.data.names import targets_of
from dazoo.data.pooled import pooled
from dazoo.data.prior_shift import PriorShift, resampled
from dazoo.data.registry import load_domain, split_name
from dazoo.data.task import Task
from dazoo.data.transform import apply, apply_to_task, leading
from dazoo.encoders.encode import encoded

KEPT_TASKS = 2
KEPT_BYTES = 64 << 20  # of small domains more are kept, since what is computed of them serves all of their pairs


class Tasks:
    """Makes the tasks of runs, in any order; fastest where runs on the same data follow each other.

    Args:
        data_root: of the datasets. device: where frozen features are computed.
    """

    def __init__(self, data_root: str | Path | None = None, device: str = "cpu"):
        self.data_root = data_root
        self.device = device
        self._domains: OrderedDict[tuple[str, str], dict[str, Domain]] = OrderedDict()
        self._split: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._representation: tuple[tuple[Any, ...], Task] | None = None

    def __call__(self, spec: RunSpec) -> Task:
        """The task of a run, its data loaded once for the runs that follow each other."""
        protocol = spec.protocol
        _, sources, target = split_name(spec.task)
        shown = _shown(protocol)
        domains = self._domains.pop((shown, spec.task), None)
        if domains is None:
            kept = {n: d for (how, _), held in self._domains.items() if how == shown for n, d in held.items()}
            singles = (*sources, *targets_of(target))
            domains = {n: kept.get(n) or self.load(protocol, n) for n in dict.fromkeys(singles)}
            domains[target] = kept.get(target) or pooled([domains[t] for t in targets_of(target)])
            while len(self._domains) >= KEPT_TASKS and self._held() > KEPT_BYTES:
                self._domains.popitem(last=False)
        self._domains[shown, spec.task] = domains
        given, held = tuple(domains[s] for s in sources), domains[target]
        if protocol.classes is not None:
            given, held = self._of_classes(protocol.classes, given, held)
        if protocol.prior is not None:
            held = resampled(held, PriorShift.of_option(protocol.prior), spec.seed)
        task = Task(
            spec.task,
            given,
            held,
            setting=Setting.of(spec.setting),
            few_per_class=protocol.few_labels,
            source_holdout=protocol.source_holdout,
            target_holdout=protocol.target_holdout,
            seed=spec.seed,
            **(protocol.stream or {}),
            curve=bool(protocol.curve),
            **(protocol.asking or {}),
        )
        alone = len(_leading(protocol)) == len(protocol.transform) and protocol.encoder is None
        return task if protocol.represent is None and alone else self._represented(task, spec)

    def _of_classes(
        self, classes: dict[str, Any], sources: tuple[Domain, ...], target: Domain
    ) -> tuple[tuple[Domain, ...], Domain]:
        """The samples of a task's classes; the same objects for all tasks of which a domain is source, or target."""
        sets, found = LabelSets.of(classes, {}), []
        for domain, part in [*((s, sets.source_part) for s in sources), (target, sets.target_part)]:
            mine = self._split.setdefault(domain, {})
            if part.__name__ not in mine:
                mine[part.__name__] = part(domain)
            found.append(mine[part.__name__])
        return tuple(found[:-1]), found[-1]

    def _held(self) -> int:
        """Bytes of the samples of all domains that are kept."""
        kept = {id(d): d.x.nbytes for held in self._domains.values() for d in held.values()}
        return sum(kept.values())

    def _represented(self, task: Task, spec: RunSpec) -> Task:
        """``task`` as numbers, under transforms of both domains and over the suite's learned representation, where it
        has such; learned once for the runs on the same data."""
        if self._representation is None or self._representation[0] != spec.data_key:
            self._representation = None  # the old one goes before the new one comes
            if spec.protocol.encoder is not None:
                task, _ = encoded(task, spec.protocol.encoder)
            made, _ = apply_to_task(task, spec.protocol.transform[len(_leading(spec.protocol)) :])
            chosen = dict(spec.protocol.represent or {})
            if chosen:
                made = represented(made, feature_map(chosen.pop("name"), **chosen), spec.seed)
            self._representation = (spec.data_key, made)
        return self._representation[1]

    def load(self, protocol: Protocol, name: str) -> Domain:
        """A domain as the protocol shows it by itself: loaded, turned into frozen features, transformed."""
        domain = load_domain(protocol.dataset, name, self.data_root, **protocol.options)
        if protocol.frozen and domain.kind != "vector":  # vectors are features already
            from dazoo.nets.frozen import frozen

            domain = frozen(domain, protocol.backbone, image_size=protocol.image_size, device=self.device)
        return apply(domain, _leading(protocol))


def _leading(protocol: Protocol) -> list[str]:
    """The transforms that a domain can take by itself: none of samples that a task has to encode first, or of which it
    leaves out some."""
    return leading(protocol.transform) if protocol.encoder is None and protocol.prior is None else []


def _shown(protocol: Protocol) -> str:
    """What decides which samples of a domain are seen and how: runs that differ in it share none of that name."""
    how = (protocol.dataset, protocol.options, protocol.classes, protocol.content, _leading(protocol))
    return repr((*how, protocol.frozen, (protocol.backbone, protocol.image_size) if protocol.frozen else ()))
