"""The promises of stream methods are kept by an honest method and broken by each kind of dishonest one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

from dazoo.contracts import ContractFailure, stream
from dazoo.core.hparam import hp
from dazoo.methods.base import StreamMethod
from dazoo.ops.entropy import entropy_of_logits


@dataclass(frozen=True, kw_only=True)
class Honest(StreamMethod):
    """Moves the head a little, after each answer."""

    name = "honest"
    settings = StreamMethod.handles.settings
    still: ClassVar[dict[str, Any] | None] = {"lr": 0.0}
    lr: float = hp(0.05)

    def moves(self, net):
        return ["head.bias"]

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters, lr=self.lr)

    def step(self, net, x, state, t):
        out = self.answer(net, x)
        state.optimizer.zero_grad()
        entropy_of_logits(out.scores).mean().backward()
        state.optimizer.step()
        return out


@dataclass(frozen=True, kw_only=True)
class Hoarder(Honest):
    """Remembers the stream on the class, where nobody finds it."""

    kept: ClassVar[list[float]] = []

    def step(self, net, x, state, t):
        if t == 0:
            self.kept.clear()
        self.kept.append(float(x.mean()))
        return super().step(net, x, state, t).apply(lambda v: v * (1 + abs(sum(self.kept))))


@dataclass(frozen=True, kw_only=True)
class Counter(Honest):
    """Knows which batch of an episode this is."""

    def step(self, net, x, state, t):
        return super().step(net, x, state, t).apply(lambda v: v / (1 + t))


@dataclass(frozen=True, kw_only=True)
class Loud(Honest):
    """Says that it stands still, and does not."""

    def step(self, net, x, state, t):
        return super().step(net, x, state, t).apply(lambda v: 2 * v)


CHECKS = {
    "later": stream.check_later_batches,
    "episodes": stream.check_episodes,
    "still": stream.check_still,
    "continues": stream.check_stream_continues,
}


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_an_honest_method_keeps_them(check: str) -> None:
    CHECKS[check](Honest)
    assert stream.is_stream(Honest) and stream.stands_still(Honest) and not stream.stands_still(StreamMethod)


@pytest.mark.parametrize(
    ("cls", "check", "reason"),
    [
        (Counter, "episodes", "depend on earlier batches"),
        (Hoarder, "episodes", "depend on earlier batches"),
        (Loud, "still", "declare in still what switches adaptation off"),
        (Hoarder, "continues", "killed at batch 2 and continued ends elsewhere"),
    ],
)
def test_a_broken_one_is_told(cls: type[StreamMethod], check: str, reason: str) -> None:
    with pytest.raises(ContractFailure, match=reason):
        CHECKS[check](cls)
