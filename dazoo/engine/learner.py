"""How the terms and gradients of one phase are computed: for one run alone, or for a stack of runs at once.

Both give the same numbers; the training loop does not know which one it holds.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from dazoo.core import hparam
from dazoo.engine.terms import Terms, call_losses
from dazoo.engine.watch import with_outputs
from dazoo.methods.base import Batch, GradientMethod, Phase, Progress, hparams_as
from dazoo.nets.net import Net, parts_of


class Alone:
    """One network. ``parameters`` are its own."""

    def __init__(self, method: GradientMethod, net: Net):
        self.method, self.net = method, net
        self.parameters = dict(net.named_parameters())
        self.phases = {phase: _moving(method, net, phase) for phase in method.phases}

    def terms(self, phase: Phase, batch: Batch, t: Progress, watch: tuple[str, ...] = ()) -> Terms:
        """Named scalar terms of a phase; with the outputs of the parts ``watch`` (``engine.watch.with_outputs``)."""
        return _watched(self.method, self.net, phase.losses, batch, t, watch)

    def norms(self, grads: Sequence[Tensor]) -> Tensor:
        """Norm of the whole gradient, shape ()."""
        return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in grads]))

    def nets(self) -> list[Net]:
        return [self.net]


class _Call(nn.Module):
    """Lets ``functional_call`` run a method's losses on a network with swapped parameters."""

    def __init__(self, net: Net):
        super().__init__()
        self.net = net

    def forward(
        self, method: GradientMethod, losses: str, batch: Batch, t: Progress, watch: tuple[str, ...] = ()
    ) -> Terms:
        return _watched(method, self.net, losses, batch, t, watch)


class Stacked:
    """K networks of one structure as one batched model; members differ by seed and by scalar hyper-parameters.

    ``parameters`` are leaves of shape (K, ...). Batches carry a leading member dimension.
    """

    def __init__(self, methods: Sequence[GradientMethod], nets: Sequence[Net]):
        self.methods, self.members = list(methods), list(nets)
        params, buffers = stack_module_state(list(nets))
        self.parameters: dict[str, Tensor] = {k: v.detach().requires_grad_(True) for k, v in params.items()}
        self.buffers = buffers
        for name, p in nets[0].named_parameters():
            if not p.requires_grad:
                self.parameters[name].requires_grad_(False)
        with torch.device("meta"):
            self.template = _Call(copy.deepcopy(nets[0]))
        reference = methods[0]
        self.scalars = {
            name: torch.tensor([getattr(m, name) for m in methods], device=next(nets[0].parameters()).device)
            for name, meta in hparam.space(type(reference)).items()
            if not meta.structural and any(getattr(m, name) != getattr(reference, name) for m in methods)
        }
        self.phases = {phase: _moving(reference, nets[0], phase) for phase in reference.phases}

    def terms(self, phase: Phase, batch: Batch, t: Progress, watch: tuple[str, ...] = ()) -> Terms:
        """Named terms of shape (K,), and outputs of the parts ``watch`` with a leading member dimension."""
        fields = {k: v for k, v in vars(batch).items() if isinstance(v, Tensor) and v.numel()}
        rest = {k: v for k, v in vars(batch).items() if k not in fields and k != "memory"}

        def one(params: Any, buffers: Any, scalars: Any, fields: Any, memory: Any) -> Terms:
            method = hparams_as(self.methods[0], **scalars) if scalars else self.methods[0]
            state = {f"net.{k}": v for k, v in {**params, **buffers}.items()}
            member = Batch(**fields, **rest, memory=memory)
            out: Terms = functional_call(self.template, state, (method, phase.losses, member, t, watch))
            return out

        return torch.vmap(one, randomness="different")(
            self.parameters, self.buffers, self.scalars, fields, batch.memory
        )

    def norms(self, grads: Sequence[Tensor]) -> Tensor:
        """Norm of each member's gradient, shape (K,)."""
        flat = [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in grads]
        return torch.linalg.vector_norm(torch.stack(flat), dim=0)

    def nets(self) -> list[Net]:
        """The member networks, brought up to date with the stack."""
        with torch.no_grad():
            for i, net in enumerate(self.members):
                for name, p in net.named_parameters():
                    p.copy_(self.parameters[name][i])
                for name, b in net.named_buffers():
                    b.copy_(self.buffers[name][i])
        return self.members


Learner = Alone | Stacked


def _watched(method: GradientMethod, net: Net, losses: str, b: Batch, t: Progress, watch: tuple[str, ...]) -> Terms:
    def call() -> Terms:
        return call_losses(method, losses, net, b, t)

    return with_outputs(net, watch, len(b.xs) + len(b.xt), call) if watch else call()


def stack_batches(batches: Sequence[Batch]) -> Batch:
    """Batches of the members as one, with a leading member dimension."""
    first = batches[0]
    fields: dict[str, Any] = {}
    for key, value in vars(first).items():
        if key == "memory":
            fields[key] = {k: torch.stack([b.memory[k] for b in batches]) for k in first.memory}
        elif isinstance(value, Tensor) and value.numel():
            fields[key] = torch.stack([getattr(b, key) for b in batches])
        else:
            fields[key] = value
    return Batch(**fields)


def _moving(method: GradientMethod, net: Net, phase: Phase) -> list[str]:
    """Names of the parameters that a phase moves: those of its parts that are not held fixed."""
    trainable = {n for n, p in net.named_parameters() if p.requires_grad}
    return [n for n in parts_of(net, phase.update) if n in trainable]
