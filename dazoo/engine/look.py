"""What a method sees in ``refresh`` and ``finish``: evaluation passes over the visible data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.types import Labeled, Prediction
from dazoo.engine.member import Member
from dazoo.engine.predictor import run_batched
from dazoo.methods.base import Look
from dazoo.nets.net import Net


class LazyLook(Look):
    """Evaluation passes over the visible data, made when first asked for."""

    def __init__(self, member: Member, net: Net, step: int = 0):
        self._member, self._net, self.step = member, net, step
        self._kept: dict[str, tuple[Tensor, Tensor]] = {}

    def _pass(self, key: str) -> tuple[Tensor, Tensor]:
        if key not in self._kept:
            m, net = self._member, self._net
            call: Callable[[Tensor], Prediction] = lambda x: (  # noqa: E731
                m.method.predict_source(net, x) if key == "s" else m.method.predict(net, x)
            )
            out = run_batched(call, net, m.prepare, m.feed.x[key])
            if out.features is None:
                raise DazooError(f"{m.method.name}.predict returns no features, which refresh needs")
            self._kept[key] = (out.features, out.scores)
        return self._kept[key]

    def inputs(self, part: str, size: int = 256) -> Iterator[Tensor]:
        feed, device = self._member.feed, next(self._net.parameters()).device
        x = feed.x[{"source": "s", "target": "t", "few": "f"}[part]]
        for chunk in torch.tensor_split(x, max(1, -(-len(x) // size))):
            yield self._member.prepare.test(chunk.to(device))

    def warn(self, message: str) -> None:
        if message not in self._member.warnings:
            self._member.warnings.append(message)

    source = property(lambda self: self._pass("s"))  # type: ignore[assignment]
    target = property(lambda self: self._pass("t"))  # type: ignore[assignment]
    few = property(lambda self: self._pass("f"))  # type: ignore[assignment]
    ys = property(lambda self: self._member.feed.y["s"])  # type: ignore[assignment]
    yf = property(lambda self: self._member.feed.y["f"])  # type: ignore[assignment]
    memory = property(lambda self: self._member.memory)  # type: ignore[assignment]
    seen = property(lambda self: self._member.feed.seen)
    setting = property(lambda self: self._member.feed.seen.setting)  # type: ignore[assignment]

    @property
    def asked(self) -> Tensor:  # type: ignore[override]
        questions = self._member.questions
        return torch.empty(0, dtype=torch.int64) if questions is None else questions.ask.asked

    @cached_property
    def held_out(self) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Scores and labels of the source rows that nothing is trained on; of all where none are held out."""
        m, net, held = self._member, self._net, self._member.feed.seen.source_val
        if held is None:
            return self.source[1], self.ys
        out = run_batched(lambda x: m.method.predict_source(net, x), net, m.prepare, held.x)
        y = held.y if m.units is None else m.units.standardise(held.y)
        return out.scores, y.to(out.scores.device)

    @cached_property
    def teacher(self) -> Tensor:  # type: ignore[override]
        """Probabilities (n_t, C) of the source's model on the target, in the black-box setting."""
        seen = self._member.feed.seen
        if seen.teacher is None:
            raise DazooError("there is no source model to ask; set start, and handles with source='black_box' alone")
        return seen.teacher(seen.target.x)

    @property
    def target_domain(self) -> Tensor | None:  # type: ignore[override]
        """Index of the target of every target sample, where they are told apart."""
        return self._member.feed.seen.target.domain

    @property
    def domain(self) -> Tensor:  # type: ignore[override]
        """Source index of every source sample."""
        source: Labeled | None = self._member.feed.seen.source
        return source.domain if source is not None else torch.empty(0, dtype=torch.int64)
