"""Streams: batches of the target in the order of their arrival, each answered on arrival and never seen again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from dazoo.core.errors import DazooError, NonFiniteError
from dazoo.core.memo import Memo
from dazoo.core.types import Labeled, Prediction, Predictor, Seen
from dazoo.engine.build import net_spec, place, start_net
from dazoo.engine.feed import Preparer
from dazoo.engine.outcome import Checkpoint, FitResult, Options
from dazoo.engine.predictor import NetPredictor, frozen_copy
from dazoo.engine.prepare import preparer
from dazoo.engine.start import about_start
from dazoo.engine.state import read_state, write_state
from dazoo.engine.trouble import explained
from dazoo.methods.base import StreamMethod, StreamState
from dazoo.nets.net import Net, part_seed, seeded

MOST_AT_HOME = 2000
"""Source samples, at most, on which forgetting is measured."""


@dataclass(frozen=True)
class StreamPredictor(Predictor):
    """What a stream leaves behind: the answers it was given, in the order of arrival, and the model at its end.

    Attributes:
        marks: (n,), a number of each sample, by which ``evaluate`` knows that it is asked about the same stream.
        after: labels (n,) that the model at the end of the stream gives to its samples, batch by batch and under the
            method's normalisation; None where every batch meets the source's model.
        forgetting: accuracy on labelled source samples at the end of the stream, less that before it, both under the
            method's normalisation: below zero where something was forgotten.
    """

    final: NetPredictor
    answers: Prediction
    marks: Tensor
    after: Tensor | None = None
    forgetting: float | None = None

    @property
    def recorded(self) -> Prediction:
        return self.answers

    @property
    def inner(self) -> NetPredictor:
        return self.final

    def predict(self, x: Tensor) -> Prediction:
        return self.final.predict(x)

    def predict_source(self, x: Tensor) -> Prediction:
        return self.final.predict_source(x)


def marks_of(x: Tensor) -> Tensor:
    """A number (n,) of every sample."""
    flat = x.detach().cpu().double().flatten(1)
    return flat @ torch.linspace(1, 2, flat.shape[1], dtype=torch.float64)


@dataclass
class SourceBatches:
    """Batches (x, y) of the labelled source, as inputs of a network, in one order that the seed decides."""

    source: Labeled
    size: int
    seed: int
    prepare: Preparer
    device: torch.device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        gen = torch.Generator().manual_seed(part_seed(self.seed, "source batches"))
        for rows in torch.randperm(len(self.source), generator=gen).split(self.size):
            x = self.source.x[rows].to(self.device)
            yield self.prepare.test(x), self.source.y[rows].to(self.device)


@dataclass
class Walk:
    """A network on its way through a stream, with the answers it gave so far."""

    method: StreamMethod
    net: Net
    state: StreamState
    answers: list[Prediction] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.moving = set(self.method.moves(self.net))
        self.begin = {k: v.clone() for k, v in self.net.state_dict().items()}
        self.draws = self.state.gen.get_state()

    def fresh_optimizer(self) -> None:
        moved = [p for n, p in self.net.named_parameters() if n in self.moving]
        self.state.optimizer = self.method.optimizer(moved) if moved else None

    def restart(self) -> None:
        """The source's model and its draws, as before the first batch."""
        self.net.load_state_dict(self.begin)
        self.fresh_optimizer()
        self.state.memory.clear()
        self.state.gen.set_state(self.draws)

    def save(self, path: Path) -> str:
        """Write down where it stands; why that failed, else nothing."""
        optimizer = self.state.optimizer
        whole = Prediction.joined(self.answers)
        return write_state(
            path,
            {
                "net": self.net.state_dict(),
                "optimizer": None if optimizer is None else optimizer.state_dict(),
                "memory": self.state.memory,
                "source": self.state.source,
                "gen": self.state.gen.get_state(),
                "rng": torch.get_rng_state(),
                "lengths": [len(a.scores) for a in self.answers],
                "answers": {k: v for k, v in vars(whole).items() if v is not None},
                "seconds": self.seconds,
            },
        )

    def restore(self, path: Path, device: torch.device) -> None:
        """Go on from where a killed run stood."""
        found = read_state(path, device)
        if found is None:
            return
        self.net.load_state_dict(found["net"])
        if found["optimizer"] is not None and self.state.optimizer is not None:
            self.state.optimizer.load_state_dict(found["optimizer"])
            self.state.forget()
        self.state.memory, self.state.source = found["memory"], found["source"]
        self.state.gen.set_state(found["gen"].cpu())
        torch.set_rng_state(found["rng"].cpu())
        whole, at = Prediction(**found["answers"]).apply(lambda v: v.cpu()), 0
        for n in found["lengths"]:
            self.answers.append(whole.apply(lambda v, at=at, n=n: v[at : at + n]))  # type: ignore[misc]
            at += n
        self.seconds = found["seconds"]


def fit_stream(
    method: StreamMethod,
    seen: Seen,
    start: FitResult,
    seed: int,
    options: Options,
    memo: Memo,
    on_checkpoint: object,
    origin: Seen | None = None,
    state: Path | None = None,
) -> FitResult:
    """Send the stream past a method that starts from the source's model.

    Args:
        origin: what the source's model was trained on. A method sees it in ``source_stats`` alone, where it says that
            it needs to; the engine measures on it what was forgotten.
        state: file in which the run keeps its state, every ``options.save_batches`` batches; an existing one is
            continued.

    Raises:
        DazooError: the network has no layers of the kind that the method adapts.
    """
    recipe, stream = options.recipe, seen.stream
    assert recipe is not None and stream is not None
    device = torch.device(options.device)
    spec = net_spec(seen, recipe, options)
    prepare = preparer(spec, "none", recipe.channels_last, recipe.test_view)
    net = place(start_net(method, seen, seed, spec, memo, cast(NetPredictor, start.predictor)), spec, recipe, device)
    net.eval()
    walk = Walk(method, net, StreamState(torch.Generator(device).manual_seed(part_seed(seed, "stream"))))
    _check_layers(walk)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name in walk.moving)
    walk.fresh_optimizer()
    reads, warnings = method.needs_source_stats and origin is not None and origin.source is not None, []
    with seeded(part_seed(seed, "loop")), explained(method.name, seen):
        if reads:
            batches = SourceBatches(cast(Labeled, cast(Seen, origin).source), stream.batch, seed, prepare, device)
            walk.state.source = method.source_stats(net, batches)
        before = None if stream.episodic else _at_home(walk, prepare, origin, stream.batch, device)
        if state is not None and state.is_file():
            walk.restore(state, device)
        for t, rows in enumerate(torch.arange(len(stream)).split(stream.batch)):
            if t < len(walk.answers):
                continue
            began = time.perf_counter()
            if stream.episodic and t:
                walk.restart()
            raw = stream.x[rows].to(device)
            raw = raw.float() if raw.is_floating_point() else raw
            walk.state.raw, walk.state.strong = raw, partial(_strong, prepare, walk.state.gen)
            walk.state.view = partial(prepare.strong, raw, walk.state.gen)
            out = method.step(net, prepare.test(raw), walk.state, t)
            if not bool(torch.isfinite(out.scores).all()):
                raise NonFiniteError(
                    f"method {method.name!r} answers batch {t} with NaN or infinite scores; lower its rate, or "
                    "check the samples for NaN and extreme values"
                )
            walk.answers.append(out.apply(lambda v: v.detach().cpu()))
            walk.seconds += time.perf_counter() - began
            if state is not None and (t + 1) % options.save_batches == 0:
                problem = walk.save(state)
                warnings += [problem] if problem and problem not in warnings else []
        after = None if stream.episodic else _answered(walk, prepare, stream.x, stream.batch, device)
        home = None if before is None else _at_home(walk, prepare, origin, stream.batch, device)
    if state is not None:
        state.unlink(missing_ok=True)
    final = NetPredictor.of(method, frozen_copy(net), spec, recipe.to_json(), prepare, None, seen.setting.has_unknown)
    answers = Prediction.joined(walk.answers).apply(lambda v: v.float() if v.is_floating_point() else v)
    forgetting = None if before is None or home is None else home - before
    predictor = StreamPredictor(final, answers, marks_of(stream.x), after, forgetting)
    per_batch = walk.seconds / max(1, len(walk.answers))
    if callable(on_checkpoint):
        on_checkpoint(Checkpoint(len(walk.answers), 1.0, predictor, {"seconds_per_batch": per_batch}))
    info = {
        "solver": "stream",
        "batches": len(walk.answers),
        "fit_seconds": walk.seconds,
        "seconds_per_batch": per_batch,
        **({"reads_source": "at set-up"} if reads else {}),
        **about_start(start),
    }
    return FitResult(predictor, {}, warnings, info)


def _strong(prepare: Preparer, gen: torch.Generator, raw: Tensor) -> Tensor:
    return prepare.strong(raw, gen)


def _check_layers(walk: Walk) -> None:
    """Refuse networks without the layers that a method adapts."""
    method = walk.method
    if method.needs_batch_norm and not any(isinstance(m, _BatchNorm) for m in walk.net.modules()):
        raise DazooError(
            f"method {method.name!r} acts on batch normalisation and this network has none; use a recipe with "
            "norm='batch' or a backbone with batch normalisation"
        )
    if method.adapts and not walk.moving:
        raise DazooError(
            f"method {method.name!r} adapts {method.adapts} and this network has none; use a recipe with norm='batch', "
            "'layer' or 'group', or a backbone with such layers"
        )


@torch.no_grad()
def _answered(walk: Walk, prepare: Preparer, x: Tensor, batch: int, device: torch.device) -> Tensor:
    """Labels (n,) that the network as it is gives to samples, batch by batch."""
    parts = [walk.method.answer(walk.net, prepare.test(rows.to(device))).labels.cpu() for rows in x.split(batch)]
    return torch.cat(parts)


def _at_home(walk: Walk, prepare: Preparer, origin: Seen | None, batch: int, device: torch.device) -> float | None:
    """Accuracy of the network as it is on labelled source samples: on held-out ones where there are some."""
    part = None if origin is None else origin.source_val or origin.source
    if part is None or walk.net.regression:
        return None
    # in an order that tells no class, as batch statistics need it
    rows = torch.randperm(len(part), generator=torch.Generator().manual_seed(part_seed(0, "source order")))[
        :MOST_AT_HOME
    ]
    found = _answered(walk, prepare, part.x[rows], batch, device)
    return float((found == part.y[rows].cpu()).double().mean())
