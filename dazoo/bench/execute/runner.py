"""One run after the other: data, fit, validators, target metrics, record."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch

from dazoo.bench.execute.clock import Spent, Stopwatch
from dazoo.bench.execute.grouping import Memos, grouped, in_order
from dazoo.bench.execute.left_out import inner_of
from dazoo.bench.execute.machine import machine, peak_memory, reset_peak, warm_up
from dazoo.bench.execute.observer import Observer
from dazoo.bench.execute.place import Place
from dazoo.bench.execute.record import describe_error, opening
from dazoo.bench.execute.tasks import Tasks
from dazoo.bench.plan.plan import RunSpec
from dazoo.bench.plan.protocol import Protocol
from dazoo.bench.records.keep import Keeper
from dazoo.bench.records.stores import store_of
from dazoo.core.hparam import configure
from dazoo.core.memo import Domains, Memo
from dazoo.core.setting import Setting
from dazoo.core.types import Seen
from dazoo.data.scales import scales_of
from dazoo.engine.fit import Options, fit, fit_group
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, GradientMethod
from dazoo.nets.lookup import rest_of
from dazoo.shallow.classifiers import classifier

Outcome = tuple[str, dict[str, Any]]
CLAIMED = 0.5
FEW, EACH = 256, 0.02
"""Shards that are opened in every look, and seconds of rest for each where there are more: on a network file system one
takes about a millisecond."""


class Runner:
    """Executes runs in this process, alone or in groups that train together, and appends their records.

    A group that fails is run again one by one, so that a single bad member costs time and nothing else; one that does
    not fit into a device's memory is halved.
    """

    def __init__(self, place: Place, since: dict[str, int] | None = None, token: str = ""):
        """``since``: sizes of the shards when the runs were planned (``store.Follower``); ``token``: of its claims."""
        self.place = place
        self.tasks = Tasks(place.data_root, place.device)
        store = store_of(place.out)
        self.writer, self.claims, self.follower = store.writer(), store.claims(token), store.follower(since)
        self.recorded: set[str] = set()
        self._next = 0.0
        self.domains = Domains()
        for path in place.method_files:
            METHODS.load_file(path)
        self._scales: tuple[tuple[Any, ...], tuple[str, ...]] | None = None

    def __call__(self, specs: Iterable[RunSpec], done: Callable[[RunSpec], None] | None = None) -> list[RunSpec]:
        """Run those of ``specs`` that no other process is at; those on the same data follow each other and share memos.

        Runs are claimed before they start, at first one group, then as many as fill about ``CLAIMED`` seconds, and
        released when their records are on disk.

        Args:
            done: called for every run that has a record now, made here or by another process.

        Returns:
            The runs that other processes are at.
        """
        memos, shared = Memos(self.domains), None
        waiting, left, size = deque(grouped(in_order(specs), self.place.group)), [], 1
        while waiting:
            chunk = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            mine, others = self._claim([s for group in chunk for s in group], done)
            left += others
            began = time.perf_counter()
            try:
                for group in ([s for s in group if s.key in mine] for group in chunk):
                    if not group:
                        continue
                    if group[0].data_key != shared:
                        memos.leave(None if self.place.group == 1 else group[0].task)
                        shared = group[0].data_key
                    for spec, (status, body) in zip(group, self.run_group(group, memos)):
                        self.writer.append(spec.key, status, body)
                        if done is not None:
                            done(spec)
                self.writer.sync()
            finally:
                self.claims.release(mine)
            spent = (time.perf_counter() - began) / len(chunk)
            size = int(min(64, 2 * size, max(1.0, CLAIMED / max(spent, 1e-3))))
        return left

    def _claim(self, specs: list[RunSpec], done: Callable[[RunSpec], None] | None) -> tuple[set[str], list[RunSpec]]:
        """The keys of ``specs`` to run here, and the runs that others are at; what has a record by now is neither."""
        mine = self.claims.take(s.key for s in specs)
        if time.monotonic() >= self._next:
            self.recorded |= set(self.follower.new_keys())  # after claiming: what was released before is on disk
            self._next = time.monotonic() + rest_of_looks(self.follower.opened)
        self.claims.release(mine & self.recorded)
        for spec in specs:
            if spec.key in self.recorded and done is not None:
                done(spec)
        return mine - self.recorded, [s for s in specs if s.key not in mine and s.key not in self.recorded]

    def rest(self) -> None:
        """Flush the records and release all claims, to go on later: the shard stays open, so that many small units
        do not leave as many files behind."""
        self.writer.sync()
        self.claims.close()

    def close(self) -> None:
        """Flush the records and release all claims."""
        self.writer.close()
        self.claims.close()

    def run(self, spec: RunSpec, memo: Memo) -> tuple[str, dict[str, Any]]:
        """The status and record of one run; a run that fails is recorded with its error."""
        record = opening(spec, self.place)
        reset_peak(self.place.device)
        watch = Stopwatch(self.place.device)
        notes: list[dict[str, Any]] = []
        keeper = self.keeper(spec)
        try:
            record |= self._fit(spec, memo, notes, keeper)
            status = "ok"
        except (KeyboardInterrupt, SystemExit):
            raise
        except Exception as error:  # a failing run must not take the suite with it
            status = "failed"
            record["error"] = describe_error(error)
            keeper.discard()
        record["checkpoints"] = notes
        return status, watch.spent().to_json() | record | {"peak_memory_mb": peak_memory(self.place.device)} | machine(
            self.place.device
        )

    def run_group(self, specs: list[RunSpec], memos: Memos) -> list[Outcome]:
        """Status and record of each run."""
        if len(specs) == 1:
            return [self.run(specs[0], memos(specs[0]))]
        try:
            return self._together(specs, memos)
        except (KeyboardInterrupt, SystemExit):
            raise
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            half = len(specs) // 2
            done = self.run_group(specs[:half], memos) + self.run_group(specs[half:], memos)
            return [_warned(o, f"out of CUDA memory as one of a group of {len(specs)}, which was halved") for o in done]
        except Exception as error:  # whichever member it was: alone, the others are as they would have been
            why = f"trained alone, since its group of {len(specs)} failed: {type(error).__name__}: {str(error)[:200]}"
            return [_warned(self.run(s, memos(s)), why) for s in specs]

    def _together(self, specs: list[RunSpec], memos: Memos) -> list[Outcome]:
        device = self.place.device
        warm_up()
        reset_peak(device)
        opened = [opening(s, self.place) for s in specs]
        keepers = [self.keeper(s) for s in specs]
        name = hashlib.sha256("".join(s.key for s in specs).encode()).hexdigest()[:32]
        state = self.place.folder / "state" / f"{name}.pt"
        try:
            observers = [self.observe(s, [], keeper) for s, keeper in zip(specs, keepers)]
            watch = Stopwatch(device)
            results = fit_group(
                [cast(GradientMethod, s.method) for s in observers],
                [s.seen for s in observers],
                seeds=[s.seed for s in specs],
                options=options_of(specs[0].protocol, device),
                on_checkpoint=lambda i, point: observers[i].look(point),
                memo=[memos(s) for s in specs],
                state=state,
                notes=[s.notes for s in observers],
            )
            looks = sum((s.looking + s.keeping for s in observers), Spent())
            spent = (watch.spent() - looks).share(len(specs))
        except BaseException as error:
            if isinstance(error, Exception):  # a process that is told to stop goes on from the state later
                state.unlink(missing_ok=True)
                for keeper in keepers:
                    keeper.discard()
            raise
        state.unlink(missing_ok=True)
        rest = {"peak_memory_mb": peak_memory(device)} | machine(device)
        return [
            ("ok", record | observer.close(result, spent) | {"checkpoints": observer.notes} | rest)
            for record, observer, result in zip(opened, observers, results)
        ]

    def _fit(self, spec: RunSpec, memo: Memo, notes: list[dict[str, Any]], keeper: Keeper) -> dict[str, Any]:
        observer = self.observe(spec, notes, keeper)
        if spec.protocol.recipe is not None:
            warm_up()
        state = self.place.folder / "state" / f"{spec.key}.pt"
        watch = Stopwatch(self.place.device)
        result = fit(
            observer.method,
            observer.seen,
            seed=spec.seed,
            options=options_of(spec.protocol, self.place.device, self.place.processes),
            on_checkpoint=observer.look,
            memo=memo,
            state=state,
            notes=notes,
        )
        spent = watch.spent() - observer.looking - observer.keeping
        state.unlink(missing_ok=True)
        return observer.close(result, spent)

    def observe(self, spec: RunSpec, notes: list[dict[str, Any]], keeper: Keeper) -> Observer:
        """The data and the method of a run, and what looks at its checkpoints."""
        task = self.tasks(spec)
        method = configure(METHODS.get(spec.method), spec.hparams)
        seen = task.seen()
        inner = inner_of(spec, self.tasks, method, options_of(spec.protocol, self.place.device))
        said = [*self._said(spec, seen), *([inner.problem] if inner.problem else [])]
        device = self.place.device
        return Observer(spec, task, seen, method, notes, keeper, device=device, warnings=said, inner=inner)

    def _said(self, spec: RunSpec, seen: Seen) -> tuple[str, ...]:
        """What is to be said of the features, judged once for the runs on the same data."""
        if self._scales is None or self._scales[0] != spec.data_key:
            self._scales = (spec.data_key, scales_of(seen).all)
        return self._scales[1]

    def keeper(self, spec: RunSpec) -> Keeper:
        """What keeps a run's outputs; the model of a method loaded from a file is not kept, since the file may go."""
        trained = spec.protocol.recipe is not None and spec.method in METHODS
        trained = trained and issubclass(METHODS.get(spec.method), GradientMethod)
        points = spec.protocol.checkpoints if trained else 1
        if spec.protocol.asking is not None and Setting.of(spec.setting).marked == "query":
            points = spec.protocol.asking["ask_rounds"] + 1
        return Keeper(self.place.folder, spec.key, self.place.keep, points, portable_model=spec.code is None)


def rest_of_looks(opened: int) -> float:
    """Seconds without a look at what others recorded after one that had to open so many shards.

    Of n workers each looks at n shards; where that is no small part of the work any more, a run that somebody else did
    in the meantime is done twice, which costs time alone.
    """
    return 0.0 if opened <= FEW else opened * EACH


def options_of(protocol: Protocol, device: str = "cpu", processes: int = 1) -> Options:
    """How to fit under a protocol."""
    chosen = dict(protocol.classifier or {})
    return Options(
        recipe=None if protocol.recipe is None else Recipe.from_json(protocol.recipe),
        classifier=classifier(chosen.pop("name"), **chosen) if chosen else None,
        backbone=rest_of(protocol.backbone) if protocol.frozen else protocol.backbone,
        image_size=None if protocol.frozen else protocol.image_size,
        device=device,
        checkpoints=protocol.checkpoints,
        processes=processes,
    )


def _warned(outcome: Outcome, text: str) -> Outcome:
    status, body = outcome
    return status, body | {"warnings": [*body.get("warnings", []), text]}
