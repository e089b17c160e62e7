"""Streams: batches of the target in the order of their arrival, each answered on arrival and never seen again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import cast

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from dazoo.core.errors import DazooError
from dazoo.core.memo import Memo
from dazoo.core.types import Prediction, Predictor, Seen
from dazoo.engine.build import net_spec, place, start_net
from dazoo.engine.outcome import Checkpoint, FitResult, Options
from dazoo.engine.predictor import NetPredictor, frozen_copy
from dazoo.engine.prepare import preparer
from dazoo.engine.start import about_start
from dazoo.engine.trouble import explained
from dazoo.methods.base import StreamMethod, StreamState
from dazoo.nets.net import part_seed, seeded


@dataclass(frozen=True)
class StreamPredictor(Predictor):
    """What a stream leaves behind: the answers it was given, in the order of arrival, and the model at its end.

    ``marks`` (n,) are a number of each sample, by which ``evaluate`` knows that it is asked about the same stream.
    """

    final: NetPredictor
    answers: Prediction
    marks: torch.Tensor

    @property
    def recorded(self) -> Prediction:
        return self.answers

    @property
    def inner(self) -> NetPredictor:
        return self.final

    def predict(self, x: torch.Tensor) -> Prediction:
        return self.final.predict(x)

    def predict_source(self, x: torch.Tensor) -> Prediction:
        return self.final.predict_source(x)


def marks_of(x: torch.Tensor) -> torch.Tensor:
    """A number (n,) of every sample."""
    flat = x.detach().cpu().double().flatten(1)
    return flat @ torch.linspace(1, 2, flat.shape[1], dtype=torch.float64)


def fit_stream(
    method: StreamMethod, seen: Seen, start: FitResult, seed: int, options: Options, memo: Memo, on_checkpoint: object
) -> FitResult:
    """Send the stream past a method that starts from the source's model.

    Raises:
        DazooError: the network has no layers of the kind that the method adapts.
    """
    recipe, stream = options.recipe, seen.stream
    assert recipe is not None and stream is not None
    device = torch.device(options.device)
    spec = net_spec(seen, recipe, options)
    prepare = preparer(spec, "none", recipe.channels_last, recipe.test_view)
    net = place(start_net(method, seen, seed, spec, memo, cast(NetPredictor, start.predictor)), spec, recipe, device)
    moving = set(method.moves(net))
    if method.needs_batch_norm and not any(isinstance(m, _BatchNorm) for m in net.modules()):
        raise DazooError(
            f"method {method.name!r} acts on batch normalisation and this network has none; use a recipe with "
            "norm='batch' or a backbone with batch normalisation"
        )
    if method.adapts and not moving:
        raise DazooError(
            f"method {method.name!r} adapts {method.adapts} and this network has none; use a recipe with norm='batch', "
            "or a backbone with such layers"
        )
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name in moving)
    net.eval()
    state = StreamState(torch.Generator(device).manual_seed(part_seed(seed, "stream")))
    state.optimizer = method.optimizer([p for n, p in net.named_parameters() if n in moving]) if moving else None
    origin = {k: v.clone() for k, v in net.state_dict().items()} if stream.episodic else None
    answers: list[Prediction] = []
    began = time.perf_counter()
    with seeded(part_seed(seed, "loop")), explained(method.name, seen):
        for t, rows in enumerate(torch.arange(len(stream)).split(stream.batch)):
            if origin is not None and t:
                net.load_state_dict(origin)
                state.optimizer = method.optimizer([p for p in net.parameters() if p.requires_grad]) if moving else None
                state.memory.clear()
            out = method.step(net, prepare.test(stream.x[rows].to(device)), state, t)
            answers.append(out.apply(lambda v: v.detach().cpu()))
    seconds = time.perf_counter() - began
    final = NetPredictor.of(method, frozen_copy(net), spec, recipe.to_json(), prepare, None, seen.setting.has_unknown)
    predictor = StreamPredictor(final, Prediction.joined(answers).apply(lambda v: v.float()), marks_of(stream.x))
    if callable(on_checkpoint):
        on_checkpoint(Checkpoint(len(answers), 1.0, predictor))
    info = {
        "solver": "stream",
        "batches": len(answers),
        "fit_seconds": seconds,
        "seconds_per_batch": seconds / max(1, len(answers)),
        **about_start(start),
    }
    return FitResult(predictor, {}, [], info)
