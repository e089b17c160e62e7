"""The conductor: read, understand, diagnose, try, judge, and write a model that needs nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import time as clocks
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dazoo.adaptation.calibrated import answers_of, calibration, confidence_of, flattened, weights
from dazoo.adaptation.drift import looks
from dazoo.adaptation.expected import expected, to_label
from dazoo.adaptation.given import LEAST, Given, given
from dazoo.adaptation.judge import Facts, Trial, clusters_of, judge
from dazoo.adaptation.portfolio import BASELINE, Choice, portfolio
from dazoo.adaptation.result import Adaptation
from dazoo.adaptation.store import Store, check_folder, table_of
from dazoo.adaptation.trials import Bench, OutOfTime
from dazoo.core.errors import DazooError
from dazoo.core.version import VERSION
from dazoo.data.leaks import copies_of_labels
from dazoo.data.samples import Schema
from dazoo.data.task import Task
from dazoo.diagnosis import Diagnosis, diagnose
from dazoo.encoders.encode import Encoding, encoded
from dazoo.engine.callbacks import Callback, Told
from dazoo.engine.callbacks import told as told_all
from dazoo.engine.model import plain

SMALL = 64
DEAR = ("image", "audio", "text")
"""Kinds of samples that take a while to encode, which is said before."""
PLAIN = ("none", "by domain")
"""Views of the target in which its clusters are found."""
UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def adapt(
    source: Any = None,
    target: Any = None,
    *,
    label: str | None = None,
    task: str | Task | None = None,
    time: str | float = "10m",
    out: str | Path | None = None,
    encoder: Any = "auto",
    seed: int = 0,
    say: Callable[[str], None] | None = print,
    clock: Callable[[], float] = clocks.monotonic,
    callbacks: Sequence[Callback] | Callback | None = None,
    ignore: Sequence[str] = (),
    **options: Any,
) -> Adaptation:
    """Find the best model for unlabelled target data from labelled source data, within ``time``.

    No target label plays a part in any choice, but for rows that are labelled where most are not; those judge too.

    Args:
        source: a table file, a folder of class folders (pictures, recordings, texts), an ``.npz`` file with x and y, a
            frame, or ``(samples, labels)``. target: the same without labels, or with few.
        label: the column of the labels. task: or a task, by name (``options`` as of ``load_task``) or itself.
        time: after which no candidate is begun, and training stops: seconds, or as ``90s``, ``10m``, ``1h``. The
            source's model is always fitted.
        out: folder of the model, predictions and card; what is finished there is not fitted again.
        encoder: as in ``dazoo.fit``.
        say: takes the sentences that tell what goes on; None for silence.
        ignore: columns of tables that are left out: those that tell one side from the other and nothing of the labels.
        callbacks: as of ``dazoo.fit``; every finished candidate is a checkpoint.

    Raises:
        DazooError: nothing that can be adapted; the message names the remedy.
    """
    tell, follow = say or (lambda _: None), told_all(callbacks, 0)
    limit = seconds_of(time)
    deadline = clock() + limit
    if not 0 <= seed < 2**32:
        raise DazooError(f"the seed must be a whole number from 0 to 2**32 - 1, not {seed}")
    if out is not None:
        check_folder(Path(out))
    found = given(source, target, label, task, ignore, **options)
    if any(domain.on_disk for domain in (*found.task.sources, found.task.target)):
        raise DazooError(
            "adapt fits many candidates and needs samples in memory; give a part of those on disk (x[rows]), or fit "
            "one method with dazoo.fit"
        )
    for note in (repr(found.task).strip("<>"), *found.notes):
        tell(note)
    few = (found.known, found.labels) if found.few else None
    store = Store(None if out is None else Path(out), _identity(found, encoder, seed))
    if found.task.target.kind in DEAR:
        size = len(found.task.sources[0]) + len(found.task.target)
        tell(f"encoding {size} {found.task.target.kind} samples; {left(deadline - clock())} left")
    vectors, encoding = _encoded(found.task, encoder)
    store.begin()
    fitted = None if encoding is None else encoding.fitted
    said = [] if fitted is None else [*fitted.said(), *copies_of_labels(found.task.sources, fitted.ignored())]
    for note in said:
        tell(note)
    diagnosis, plan, about = _plan(vectors)
    for note in about:
        tell(note)
    seen = vectors.seen()
    assert seen.source_val is not None
    held_y, ratio = seen.source_val.y.cpu(), _ratio(diagnosis)
    w = weights(seen.source_val.x, seen.target.x) if ratio is None else flattened(ratio[held_y].clamp(min=1e-12).log())
    bench = Bench(vectors, w, store, seed, deadline, clock, fitted is not None and fitted.alike)
    asked = {"method": "adapt", "task": found.task.name, "time": str(time), "encoder": str(encoder), "seed": seed}
    follow.on_start(asked)
    trials, skipped = _tried(bench, plan, deadline, tell, follow)
    clusters: tuple[Any, ...] = ()
    if len(trials) > 1:
        clusters = tuple(c for v in PLAIN for c in clusters_of(bench.view(v).seen.target.x, found.task.n_classes, seed))
    verdict = judge(trials, Facts(held_y, clusters, few), seed)
    best = trials[verdict.chosen]
    others = [t for i, t in enumerate(trials) if i not in verdict.vetoes]
    accuracy = expected(best, others, held_y, w, few, 2.0 if diagnosis is None else diagnosis.domains.a_distance)
    choice = _choice(best)
    numbers = bench.view(choice.preprocessing).seen.target.x
    made = bench.models[choice.stem]
    schema = found.task.target.schema or Schema(found.task.target.kind, tuple(found.task.target.x.shape[1:]))
    notes = (*found.notes, *said, *about)
    told = {"chosen": best.name, "why": list(verdict.why), "expected": dataclasses.asdict(accuracy), "notes": notes}
    known = confidence_of(made.inner, bench.view(choice.preprocessing).seen, seen, ratio, few, seed)
    told["calibration"] = calibration(made.inner, best.held, held_y, w)
    told["answers"] = answers_of(known, made.of_numbers(numbers), seen.target.x)
    if found.columns:
        told["columns"] = list(found.columns)
    settings = {**made.report["settings"], **({} if encoding is None else {"encoder": _named(encoding)})}
    report = {**made.report, "settings": settings, "adapt": told, "drift": looks(numbers, found.task.target.x)}
    model = dataclasses.replace(made, schema=schema, encoding=encoding, report=plain(report), confidence=known)
    model.remember(bench.view(choice.preprocessing).seen)
    follow.on_end(model.report)
    predictions = model.of_numbers(numbers)
    measured = None
    if len(found.known):
        measured = float((best.labels[torch.from_numpy(found.known)].numpy() == found.labels).mean())
    folder = None if out is None else Path(out)
    made_all = Adaptation(
        model, predictions, tuple(trials), verdict, accuracy, to_label(trials, verdict.chosen), diagnosis, notes,
        tuple(skipped), found.task, measured, folder,
    )  # fmt: skip
    _write(store, made_all, vectors, target)
    for line in ending(made_all):
        tell(line)
    return made_all


def ending(made: Adaptation) -> list[str]:
    """What is said at the end, in sentences."""
    e = made.expected
    said = [
        f"chosen: {made.chosen}; {'; '.join(made.verdict.why)}",
        f"expected accuracy on the target: {100 * e.value:.0f} % ({100 * e.low:.0f} to {100 * e.high:.0f} %); {e.sure}",
    ]
    if made.measured is not None:
        said.append(f"accuracy on the labelled target rows: {100 * made.measured:.1f} %")
    if made.folder is not None:
        said.append(f"written to {made.folder}: model.safetensors, predictions.csv, card.html")
    return said


def seconds_of(text: str | float) -> float:
    """A span of time: a number of seconds, or one with s, m or h behind it.

    Raises:
        DazooError: it is none.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([smh]?)\s*", str(text))
    if match is None:
        raise DazooError(f"a time is a number with s, m or h behind it, as 10m, not {text!r}")
    return float(match[1]) * UNITS[match[2]]


def left(seconds: float) -> str:
    """A span of time in words."""
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60:02d} s"


def _identity(found: Given, encoder: Any, seed: int) -> str:
    parts = (found.task.sources[0].fingerprint, found.task.target.fingerprint, found.known.tolist())
    return hashlib.sha256(repr((VERSION, parts, found.labels.tolist(), str(encoder), seed)).encode()).hexdigest()


def _encoded(task: Task, encoder: Any) -> tuple[Task, Encoding | None]:
    """The task as vectors."""
    if task.target.kind == "image" and encoder == "auto":
        small = min(task.target.x.shape[1:3]) < SMALL
        encoder = {"name": "image_features", "backbone": "none"} if small else "image_features"
    made, encoding = encoded(task, encoder, vectors=True)
    if made.target.x.ndim != 2:
        raise DazooError(f"adapt works on vectors, and these are {made.target.kind} samples; name an --encoder")
    return made, encoding


def _plan(task: Task) -> tuple[Diagnosis | None, list[Choice], list[str]]:
    """The diagnosis, what to try by it, and sentences."""
    if len(task.target) < LEAST:
        return None, [Choice(BASELINE, "none")], []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = diagnose(task)
    except DazooError as error:
        return None, portfolio(None, task.setting), [f"no diagnosis: {error}"]
    d, plan = found.domains, portfolio(found, task.setting)
    kinds = {"none": "no difference found", "features": "features differ", "labels": "class proportions differ"}
    said = f"domains: {kinds.get(found.kind, 'features and perhaps class proportions differ')}"
    methods = list(dict.fromkeys(c.method for c in plan))
    return found, plan, [
        f"{said} (A-distance {d.a_distance:.2f} of 2, {d.overlap:.0%} of the source counts under weights)",
        f"to try: {', '.join(methods)}, each with features as they are, standardised by domain and by source",
    ]  # fmt: skip


def _tried(
    bench: Bench, plan: list[Choice], deadline: float, tell: Callable[[str], None], follow: Told
) -> tuple[list[Trial], list[str]]:
    """The trials of a plan as far as time goes, and names of those that were left out."""
    trials: list[Trial] = []
    skipped: list[str] = []
    usual: dict[str, float] = {}
    for number, choice in enumerate(plan):
        known = bench.known(choice)
        rest = deadline - bench.clock()
        if known is None and number and (rest <= 0 or usual.get(choice.method, 0.0) > rest):
            skipped.append(choice.name)
            continue
        try:
            trial = known or bench.run(choice, hurry=number > 0)
        except OutOfTime:
            skipped.append(choice.name)
            continue
        if not number and trial.problem:
            raise DazooError(f"the model of the source cannot be fitted: {trial.problem}")
        trials.append(trial)
        usual[choice.method] = max(usual.get(choice.method, 0.0), trial.seconds)
        follow.on_checkpoint(number + 1, {f"seconds of {choice.name}": trial.seconds})
        outcome = trial.problem or f"{trial.seconds:.1f} s"
        again = ", from before" if known is not None else ""
        rest = deadline - bench.clock()
        tell(f"[{number + 1}/{len(plan)}] {choice.name}: {outcome}{again}; {left(rest)} left")
    if skipped:
        tell(f"out of time: {len(skipped)} candidates were not tried; the same command with more --time goes on")
    return trials, skipped


def _ratio(found: Diagnosis | None) -> Tensor | None:
    """Class shares (C,) of the target over those of the source, where they alone explain the difference."""
    if found is None or found.kind != "labels" or found.labels is None:
        return None
    source, target = (torch.as_tensor(v, dtype=torch.float64) for v in (found.labels.source, found.labels.target))
    return target.clamp(min=0) / source.clamp(min=1e-12)


def _choice(trial: Trial) -> Choice:
    return Choice(trial.method, trial.preprocessing)


def _named(encoding: Encoding) -> dict[str, Any]:
    return {"name": encoding.name, **encoding.options}


def _write(store: Store, made: Adaptation, vectors: Task, target: Any) -> None:
    from dazoo.adaptation.card import card

    if store.folder is None:
        return
    rows = None
    if isinstance(target, (str, Path)) and Path(target).is_dir():
        from dazoo.adaptation.folders import names_in

        rows = names_in(Path(target))
    v = made.verdict
    summary = {
        "dazoo": VERSION,
        "chosen": made.chosen,
        "why": v.why,
        "expected": dataclasses.asdict(made.expected),
        "measured": made.measured,
        **{k: made.model.report["adapt"][k] for k in ("calibration", "answers")},
        "members": v.members,
        "scores": v.scores,
        "totals": v.totals,
        "holds": v.holds,
        "vetoes": {made.trials[i].name: why for i, why in v.vetoes.items()},
        "tried": [
            {"name": t.name, "seconds": t.seconds, "problem": t.problem, "warnings": t.warnings} for t in made.trials
        ],
        "skipped": made.skipped,
        "notes": made.notes,
        "to_label": [
            {"row": i + 1, "votes": {made.task.classes[c]: n for c, n in votes.items()}}
            for i, _, votes in made.to_label
        ],
    }
    store.finish(made.model, table_of(made.predictions, rows), lambda: card(made, vectors, rows), plain(summary))
