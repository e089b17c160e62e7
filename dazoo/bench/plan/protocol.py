"""What all runs of a suite on one dataset share, with every default filled in and every name checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from dazoo.bench.plan.represent import feature_map
from dazoo.bench.plan.suite import LAST, ORACLE_RULE, Suite
from dazoo.core import hparam
from dazoo.core.errors import DazooError, nearest
from dazoo.core.setting import Setting
from dazoo.data.arrival import FIELDS as ARRIVAL
from dazoo.data.arrival import Arrival
from dazoo.data.label_sets import LabelSets, setting_with, taken
from dazoo.data.prior_shift import PriorShift, setting_under
from dazoo.data.prior_shift import taken as taken_prior
from dazoo.data.registry import DATASETS, Dataset, data_root
from dazoo.data.transform import OWN_STATISTICS, TRANSFORMS, looks_at_target
from dazoo.encoders.base import create_encoder
from dazoo.engine.recipe import Recipe
from dazoo.shallow.classifiers import classifier
from dazoo.validators.base import VALIDATORS, admission, leaves_out


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
    classes: dict[str, Any] | None = None
    curve: bool | None = None
    encoder: dict[str, Any] | None = None
    prior: dict[str, Any] | None = None
    stream: dict[str, Any] | None = None
    asking: dict[str, Any] | None = None

    @cached_property
    def plain(self) -> dict[str, Any]:
        """All fields; those that suites rarely use are left out where they are not used, so that they change no key."""
        fields = asdict(self)
        for rare in ("represent", "content", "classes", "curve", "encoder", "prior", "stream", "asking"):
            if fields[rare] is None:
                del fields[rare]
        return fields

    @cached_property
    def hash(self) -> str:
        return hashed(self.plain)


def splits_by_seed(protocol: Protocol, setting: str) -> bool:
    """Whether the seed decides which samples are seen."""
    drawn = Setting.of(setting).shows_labels or bool(protocol.curve) or protocol.prior is not None
    drawn = drawn or Setting.of(setting).target == "stream"
    return drawn or protocol.source_holdout > 0 or protocol.target_holdout > 0


def make_protocol(suite: Suite, root: str | Path | None = None) -> Protocol:
    """The shared part, with every default filled in and every name checked."""
    chosen_data = suite.dataset
    if chosen_data is None:
        raise DazooError("a suite with several datasets has a protocol for each of its parts")
    dataset = suite.origin.check(("dataset", "name"), lambda: DATASETS.get(chosen_data.name), ("dataset",))
    given = dict(chosen_data.options)
    sets = suite.origin.check(
        ("dataset", "classes"), lambda: taken(given, dataset.options, dataset.splits), ("dataset",)
    )
    shift = suite.origin.check(("dataset", "prior"), lambda: taken_prior(given, dataset.options), ("dataset",))
    suite.origin.check(("setting",), lambda: labels_of(suite, sets, shift), ("dataset",))
    for key, value in given.items():
        if key not in dataset.options:
            problem = f"dataset {dataset.name!r} has no option {key!r}: {nearest(key, dataset.options)}"
            raise suite.origin.error(("dataset", key), f"{problem} (options: {listing(dataset.options)})")
        suite.origin.check(("dataset", key), partial(dataset.check_options, {key: value}), ("dataset",))
    for i, name in enumerate(suite.transform):
        if name not in TRANSFORMS:
            raise suite.origin.error(("transform", i), f"unknown transform {name!r}: {nearest(name, TRANSFORMS)}")
        if name in OWN_STATISTICS and suite.setting != "auto" and Setting.of(suite.setting).target == "unseen":
            raise suite.origin.error(("transform", i), looks_at_target(name))
    recipe, chosen = suite.recipe, suite.classifier
    made = (
        None if recipe is None else suite.origin.check(("recipe",), lambda: Recipe.named(recipe.name, **recipe.options))
    )
    name, options = (chosen.name, chosen.options) if chosen is not None else ("", {})
    finish = suite.origin.check(("classifier",), partial(classifier, name, **options)) if chosen is not None else None
    if suite.backbone != "none":
        from dazoo.nets.lookup import get_backbone

        suite.origin.check(("backbone",), lambda: get_backbone(suite.backbone))
    if suite.frozen and suite.backbone == "none":
        raise suite.origin.error(("frozen",), "frozen features need a backbone; name one or drop 'frozen'")
    # an option that says nothing determines nothing: it changes no key when a dataset learns it
    options = {k: v for k, v in {**dataset.options, **given}.items() if v is not None}
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
        few_labels=suite.few_labels[0],
        source_holdout=suite.source_holdout,
        target_holdout=suite.target_holdout,
        checkpoints=suite.checkpoints,
        validators=_validators(suite, labels_of(suite, sets, shift)),
        represent=_representation(suite),
        content=None
        if content is None
        else suite.origin.check(("dataset",), lambda: content(data_root(root), **options)),
        classes=None if sets is None else sets.to_json(),
        curve=suite.curve or None,
        encoder=_encoder(suite, dataset, options, data_root(root)),
        prior=None if shift is None else shift.to_json(),
        stream=_stream(suite),
        asking=_asking(suite),
    )


def _stream(suite: Suite) -> dict[str, Any] | None:
    """How streams arrive, where the suite says it."""
    for key in suite.stream:
        if key not in ARRIVAL:
            problem = f"a stream has no option {key!r}: {nearest(key, ARRIVAL)} (options: {listing(ARRIVAL)})"
            raise suite.origin.error(("stream", key), problem)
    suite.origin.check(("stream",), Arrival(**suite.stream).check)
    if suite.stream and suite.setting != "auto" and Setting.of(suite.setting).target != "stream":
        raise suite.origin.error(("stream",), f"nothing arrives as a stream in the setting {suite.setting!r}")
    return dict(suite.stream) or None


def _representation(suite: Suite) -> dict[str, Any] | None:
    chosen = suite.represent
    if chosen is None:
        return None
    made = suite.origin.check(("represent",), lambda: feature_map(chosen.name, **chosen.options))
    return {"name": chosen.name, **plain(hparam.values(made))}


def _encoder(suite: Suite, dataset: Dataset, options: dict[str, Any], root: Path) -> dict[str, Any] | None:
    """What makes numbers of the samples: what the suite says, or else what suits the dataset."""
    asked = suite.encoder
    if asked is None:
        usual = suite.origin.check(("dataset",), lambda: dataset.encoder_under(options, root))
        if not usual:
            return None
    name, options = (usual, {}) if asked is None else (asked.name, asked.options)
    made = suite.origin.check(("encoder",), lambda: create_encoder(name, **options))
    return {"name": made.name, **plain(hparam.values(made))}


def _asking(suite: Suite) -> dict[str, Any] | None:
    """Fields of a task about questions, where a suite's methods ask some."""
    if suite.setting == "auto" or Setting.of(suite.setting).marked != "query":
        return None
    return {key: getattr(suite, key) for key in ("budget", "ask_rounds", "asked_holdout")}


def labels_of(suite: Suite, sets: LabelSets | None, shift: PriorShift | None = None) -> str:
    """What the label sets of a suite's tasks are: the answer ``labels`` of its setting."""
    asked = Setting.of("unsupervised" if suite.setting == "auto" else suite.setting)
    return setting_under(setting_with(asked, sets), shift).labels


def _validators(suite: Suite, labels: str) -> list[str]:
    found: list[str] = []
    for i, pattern in enumerate(suite.validators):
        hits = VALIDATORS.names(pattern)
        if pattern not in hits:  # a pattern means those that suit the setting
            asking, leaving = _asking(suite), suite.setting != "auto" and leaves_out(Setting.of(suite.setting))
            suited = [v for v in map(VALIDATORS.get, hits) if not v.problem(labels)]
            hits = [v.name for v in suited if (asking or not v.of_answers) and (leaving or not v.needs_left_out)]
        if not hits:
            problem = f"unknown validator {pattern!r}: {nearest(pattern, VALIDATORS.names())}"
            raise suite.origin.error(("validators", i), problem)
        found += [h for h in hits if h not in found]
    rule = suite.select_by
    if rule not in (LAST, ORACLE_RULE):
        if rule not in VALIDATORS:
            known = [*VALIDATORS.names(), LAST, ORACLE_RULE]
            raise suite.origin.error(("select_by",), f"unknown selection rule {rule!r}: {nearest(rule, known)}")
        problem = VALIDATORS.get(rule).problem(labels)
        said = None if suite.setting == "auto" else admission(Setting.of(suite.setting))
        if not problem and said is not None:
            problem = said.problem(rule)
        if not problem and said is None and VALIDATORS.get(rule).needs_left_out:
            problem = f"{rule!r} leaves out one source after the other, which the setting generalisation is for"
        if problem and "select_by" in suite.model_fields_set:
            every = [n for n, v in VALIDATORS.items() if not (v.problem(labels) or v.of_answers or v.needs_left_out)]
            able = ", ".join(every if said is None else said.able)
            raise suite.origin.error(("select_by",), f"{problem}; take {LAST}{able and f', or one of {able}'}")
        found += [rule] if rule not in found and not problem else []
    return found


def listing(names: Iterable[str]) -> str:
    """Names for a message."""
    return ", ".join(names) or "none"


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Hyper-parameters as JSON has them."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def hashed(data: Any) -> str:
    """A hash of plain data, in 32 hexadecimal digits."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
