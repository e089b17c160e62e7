"""``dazoo.fit``: a task and the name of a method in, a model that knows what it was fitted on out."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import torch

from dazoo.core import hparam
from dazoo.core.errors import DazooError, DazooWarning
from dazoo.core.handles import nearby
from dazoo.core.types import Predictor, Seen
from dazoo.data.domain import Domain
from dazoo.data.leaks import copies_of_labels
from dazoo.data.samples import Schema
from dazoo.data.scales import prepared
from dazoo.data.streamed import streamed
from dazoo.data.task import FIELDS, Task
from dazoo.encoders.encode import encoded
from dazoo.engine.callbacks import Callback, Told, told
from dazoo.engine.device import require_device
from dazoo.engine.fit import Checkpoint, Options, check_fit, solver_of
from dazoo.engine.fit import fit as fit_method
from dazoo.engine.left_out import LeftOut, at, leave_out, without
from dazoo.engine.model import Model, plain, shown_rows, versions
from dazoo.engine.on_disk import judged
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, GradientMethod, Method, ShallowMethod, StreamMethod, create_method


def fit(
    method: str | Method,
    task: Task,
    *,
    seed: int = 0,
    recipe: str | Recipe | None = None,
    backbone: Any = None,
    classifier: Any = None,
    device: str = "auto",
    select_by: str | None = None,
    checkpoints: int = 5,
    transform: str | Sequence[str] | None = "auto",
    encoder: Any = "auto",
    stream: bool | None = None,
    sample: int = 10_000,
    window: int | None = None,
    callbacks: Sequence[Callback] | Callback | None = None,
    verbose: int | None = None,
    **hparams: Any,
) -> Model:
    """Fit a method by name and return the fitted model, ready for ``predict``, ``evaluate`` and ``save``.

    Args:
        task: from ``load_task`` or ``Task.from_arrays``. A method that needs labelled target samples gets the task in
            that setting (``few_per_class`` labels per class, which must be there); a warning says how many it was
            shown, and ``evaluate`` leaves them out.
        recipe: how gradient methods are trained; by default what suits the kind of data.
        backbone: first layers of the network; by default none for vectors, a small CNN for small images and
            EfficientNet-Lite0 for photographs. Or a ``torch.nn.Module``, which is copied.
        classifier: what shallow methods finish with: ``logistic`` (default), ``1nn``, ``svm``, ``ridge``, or any
            scikit-learn estimator.
        device: ``cpu``, ``cuda`` or ``cuda:1``; ``auto`` takes CUDA where it is there.
        select_by: a label-free validator that picks among ``checkpoints`` models of the run; None keeps the last.
        transform: of vectors before the method sees them, and later before it predicts: a name or names as in a
            suite's ``transform``, or None. ``auto`` is ``zscore_within`` where columns differ in scale, lie far from 0
            or are all tiny or huge, else nothing; a warning says so.
        encoder: what makes numbers of texts, tables, recordings and the like, fitted to what the task shows: a name, or
            a mapping ``{"name": "tfidf", "dims": 50}``. ``auto`` is what suits the kind of samples, and nothing for
            dense numbers. It travels with the model.
        stream: whether samples are read block by block (``docs/scale.md``). None: those that stay on disk are, as large
            memory maps and what ``open_blocks`` opens do; False reads all of them into memory.
        sample: how many samples of a domain on disk are taken where a method needs samples in memory.
        window: how many samples of a domain on disk gradient methods hold in memory at a time; None: 512 MiB of them.
        callbacks: who is told of settings, losses, scores and the report: ``dazoo.trackers``, or a ``dazoo.Callback``.
        verbose: 0 silent, 1 a bar and a line at the end, 2 a line for every epoch; None is 1 in a terminal or a
            notebook, else 0.
        hparams: the method's hyper-parameters; ``dazoo info METHOD`` lists them.

    Warns:
        DazooWarning: everything the method warned about; it also stands in ``model.report``.

    Raises:
        DazooError: unknown names, values out of place, or data that the method cannot take.
    """
    made = _made(method, hparams)
    cls = type(made)
    tell = told(callbacks, verbose)
    task = task if stream is None else streamed(task, stream)
    warned: list[str] = []
    given, task = task, _in_setting(task, cls)
    raw = task.seen()
    if task.setting != given.setting:
        warned.append(_about_setting(cls.name, given, raw))
    both = issubclass(cls, GradientMethod) and issubclass(cls, ShallowMethod)
    by_classifier = both and recipe is None and classifier is not None
    trained = issubclass(cls, (GradientMethod, StreamMethod)) and not by_classifier
    task, encoding = encoded(task, encoder, vectors=not trained)
    warned.extend(
        []
        if encoding is None
        else [*encoding.fitted.said(), *copies_of_labels(given.sources, encoding.fitted.ignored())]
    )
    as_they_are = encoding is not None and encoding.fitted.alike and transform == "auto"
    task, preprocessing, about = prepared(task, None if as_they_are else transform)
    warned.extend([] if as_they_are else about)
    seen = task.seen()
    warned.extend(_about_classes(cls, seen))
    default_recipe, default_backbone = _defaults(tuple(task.target.x.shape[1:]), task.regression)
    if encoding is not None and encoding.fitted.backbone:
        default_recipe, default_backbone = "text", encoding.fitted.backbone
    chosen = recipe if isinstance(recipe, Recipe) else Recipe.named(recipe or default_recipe)
    options = Options(
        recipe=None if by_classifier else chosen,
        classifier=_classifier(classifier, cls),
        backbone=_backbone(backbone, cls) or default_backbone,
        device=require_device(device),
        checkpoints=checkpoints if select_by else 1,
        sample=sample,
        window=window,
    )
    check_fit(cls, seen)
    if select_by is not None:
        _check_rule(select_by, seen)
    solver = solver_of(cls, options.recipe)
    best: list[tuple[float, Predictor]] = []
    inner = _left_out(select_by, task, made, seed, options)
    watch = None if select_by is None else _keep_best(select_by, judged(seen, seed, sample), best, inner, tell)
    chosen_classifier = options.classifier
    settings = {
        "method": cls.name,
        "hparams": hparam.values(made),
        "seed": seed,
        "setting": task.setting.value,
        "recipe": options.recipe.to_json() if options.recipe and solver == "gradient" else None,
        "classifier": chosen_classifier.describe() if hasattr(chosen_classifier, "describe") else chosen_classifier,
        "backbone": options.backbone if isinstance(options.backbone, str) else type(options.backbone).__name__,
        "transform": list(preprocessing.names),
        **({} if encoding is None else {"encoder": {"name": encoding.name, **encoding.options}}),
        "select_by": select_by,
        "device": options.device,
        "task": task.name,
    }
    tell.on_start(plain(settings))
    result = fit_method(made, seen, seed=seed, options=options, on_checkpoint=watch, progress=tell)
    warned.extend(w for w in result.warnings if w not in warned)
    report = {
        "settings": settings,
        "warnings": warned,
        "curves": result.curves,
        "findings": result.info.get("findings", []),
        "info": {k: v for k, v in result.info.items() if k != "findings"},
        "versions": versions(),
    }
    fitted = best[0][1] if best else result.predictor
    if shares := _shares(fitted, seen, task.classes):
        report["shares"] = shares
    tell.on_end(plain(report))
    for text in warned:
        warnings.warn(text, DazooWarning, stacklevel=2)
    own = given.setting.spaces == "own"
    return Model(
        fitted,
        _schema(given.target if own else given.sources[0]),
        task.classes if task.setting.labelled else tuple(f"cluster {i}" for i in range(task.n_classes)),
        preprocessing,
        shown_rows(raw, result.info.get("asked", {}).get("rows", ())),
        plain(report),
        encoding,
        _schema(given.sources[0]) if own else None,
    ).remember(seen)


def _made(method: Any, hparams: dict[str, Any]) -> Method:
    """The method of a name, or itself, with its hyper-parameters.

    Raises:
        UnknownName, DazooError: no such method or hyper-parameter, or a field of tasks among them.
    """
    if isinstance(method, Method):
        if hparams:
            raise DazooError("give hyper-parameters to the method that you made, or its name and them")
        return method
    known = [f.name for f in dataclasses.fields(METHODS.get(method))]  # type: ignore[arg-type]
    for name in hparams:
        if name in FIELDS and name not in known:
            raise DazooError(f"{name} is a field of tasks, not of {method!r}: task.change({name}={hparams[name]!r})")
    return create_method(method, **hparams)


def _schema(domain: Domain) -> Schema:
    return domain.schema or Schema(domain.kind, tuple(domain.x.shape[1:]))


def _in_setting(task: Task, cls: type[Method]) -> Task:
    """The task in a setting that a method runs in; of several that which shows the fewest target labels."""
    if not cls.handles.problem(task.setting, baseline=True):
        return task
    for setting in nearby(task.setting, len(task.sources)):
        if not cls.handles.problem(setting, baseline=True):
            return task.change(setting=setting)
    return task  # and the engine says what is missing


def _about_setting(method: str, given: Task, seen: Seen) -> str:
    """What it means that a method runs in another setting than the task's."""
    start = f"{method!r} does not run in the setting {given.setting.value!r}; it was fitted in {seen.setting.value!r}"
    if seen.ask is not None:
        return f"{start}: it asks for up to {seen.ask.budget} target labels, which evaluate leaves out"
    if seen.few is None:
        return f"{start}, where no target label is shown"
    number = f"{len(seen.few)} target labels"
    if not seen.regression:
        counts = torch.bincount(seen.few.y)
        low, high = int(counts[counts > 0].min()), int(counts.max())
        number += f", {high} per class," if low == high else f", {low} to {high} per class,"
    return f"{start}: it was shown {number} which evaluate leaves out"


def _shares(fitted: Predictor, seen: Seen, classes: tuple[str, ...]) -> dict[str, float]:
    """The class shares of the target that a method estimated, by name; empty where it did not."""
    if not len(seen.target) or seen.regression:
        return {}
    return replace(fitted.predict(seen.target.x[:2]), classes=classes).shares


def _about_classes(cls: type[Method], seen: Seen) -> list[str]:
    """What it means that a method of the closed set runs where classes differ."""
    if not cls.handles.problem(seen.setting):
        return []
    said = f"{cls.name!r} takes source and target to have the same classes, which {seen.setting.name!r} tasks have not"
    rule = "; samples are called unknown where the entropy of their probabilities is above half of its largest value"
    return [said + (rule if seen.setting.has_unknown else "")]


def _check_rule(name: str, seen: Seen) -> None:
    """An error where a validator may not choose in the task's setting, or can have no value there."""
    from dazoo.validators.base import VALIDATORS, admission

    rules = admission(seen.setting)
    VALIDATORS.get(name)
    if name not in rules.able:
        why = rules.problem(name)
        able = f"take one of {', '.join(rules.able)}" if rules.able else "nothing can be chosen there"
        raise DazooError(f"{why}; leave select_by out, or {able}")


def _left_out(select_by: str | None, task: Task, method: Method, seed: int, options: Options) -> list[LeftOut]:
    """What models without each source in turn say of it, where a validator asks for them."""
    from dazoo.validators.base import VALIDATORS

    if select_by is None or not VALIDATORS.get(select_by).needs_left_out:
        return []
    return [leave_out(without(task, k), method, seed, options) for k in range(len(task.sources))]


def _keep_best(
    select_by: str, seen: Seen, best: list[tuple[float, Predictor]], inner: list[LeftOut], tell: Told
) -> Callable[[Checkpoint], None]:
    """Keeps in ``best`` the checkpoint with the highest label-free score."""
    from dazoo.validators.base import VALIDATORS, Evidence

    validator, turns = VALIDATORS.get(select_by), count()

    def watch(checkpoint: Checkpoint) -> None:
        left_out = at(inner, next(turns))
        score = validator(Evidence(checkpoint.predictor, checkpoint.seen or seen, left_out=left_out))
        if score is not None:
            tell.on_checkpoint(checkpoint.step, {select_by: score})
        if score is not None and score == score and (not best or score > best[0][0]):
            best[:] = [(score, checkpoint.predictor)]

    return watch


def _defaults(shape: tuple[int, ...], regression: bool) -> tuple[str, str]:
    """Recipe and backbone for samples of a shape."""
    if len(shape) == 3:
        return ("images", "tf_efficientnet_lite0") if min(shape[:2]) >= 64 else ("digits", "cnn")
    return ("values" if regression else "frozen", "none") if len(shape) == 1 else ("series", "cnn1d")


def _backbone(given: Any, cls: type[Method]) -> Any:
    """A name or a module; what else people give is refused with the remedy."""
    if isinstance(given, str) or given is None:
        return given
    from torch import nn

    if isinstance(given, type):
        raise DazooError(f"backbone={given.__name__} is a class; give a module, as {given.__name__}(...)")
    if not isinstance(given, nn.Module):
        raise DazooError(
            f"a backbone is a name or a torch.nn.Module, not {type(given).__name__}; an estimator goes to classifier="
        )
    if not issubclass(cls, GradientMethod):
        raise DazooError(
            f"method {cls.name!r} trains no network, so it has no backbone; give it the outputs of yours as samples"
        )
    return given


def _classifier(given: Any, cls: type[Method]) -> Any:
    """What shallow methods finish with; None is the default."""
    if given is None:
        return None
    from dazoo.methods.estimators import finisher

    if not isinstance(given, str) and not issubclass(cls, ShallowMethod):
        raise DazooError(
            f"method {cls.name!r} ends in the head of its network and uses no classifier; leave classifier= out, or "
            "give a network of your own as backbone="
        )
    return finisher(given)
