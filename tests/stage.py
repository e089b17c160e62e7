"""A method's losses on given features: the body starts as the identity, so x is the feature, in float64."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from dazoo.methods.base import Batch, GradientMethod, Progress, create_method
from dazoo.nets.net import Body, Net


@dataclass
class Stage:
    """One batch of random features of two domains, and a network that reads them as they are."""

    method: GradientMethod
    width: int = 5
    n_classes: int = 3
    n: int = 7
    m: int = 6
    seed: int = 0
    shift: float = 0.5
    n_sources: int = 1
    memory: dict[str, Tensor] = field(default_factory=dict)
    ds: Tensor | None = None

    def __post_init__(self) -> None:
        gen = torch.Generator().manual_seed(self.seed)
        self.fs = torch.randn(self.n, self.width, generator=gen, dtype=torch.float64).requires_grad_()
        self.ft = (torch.randn(self.m, self.width, generator=gen, dtype=torch.float64) + self.shift).requires_grad_()
        classes = max(self.n_classes, 1)
        self.ys = torch.arange(self.n) % classes
        torch.manual_seed(self.seed)
        same = nn.Linear(self.width, self.width, bias=False)
        nn.init.eye_(same.weight)
        self.net = Net(
            Body(same, nn.Identity(), self.width),
            nn.Linear(self.width, classes),
            self.n_classes == 0,
            False,
        )
        self.net.n_sources = self.n_sources
        for name, part in self.method.build(self.width, classes).items():
            self.net.add_module(name, part)
        self.method.setup(self.net)
        self.net.double()

    @property
    def batch(self) -> Batch:
        ys = self.ys if self.n_classes else self.ys.to(torch.float64)
        ds = torch.arange(self.n) % self.n_sources if self.ds is None else self.ds
        return Batch(self.fs, ys, ds, self.ft, torch.arange(self.n), torch.arange(self.m), memory=self.memory)

    def terms(
        self, phase: str = "losses", ramp: float = 1.0, step: int = 3, fraction: float = 0.5
    ) -> dict[str, Tensor]:
        """The terms of a phase."""
        return getattr(self.method, phase)(self.net, self.batch, Progress(fraction, step, 10, ramp))

    def grads(self, term: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of a term to the source and target features."""
        gs, gt = torch.autograd.grad(term, (self.fs, self.ft), allow_unused=True, retain_graph=True)
        return (torch.zeros_like(self.fs) if gs is None else gs, torch.zeros_like(self.ft) if gt is None else gt)

    # -- NumPy views for transcriptions

    @property
    def s(self) -> np.ndarray:
        return self.fs.detach().numpy()

    @property
    def t(self) -> np.ndarray:
        return self.ft.detach().numpy()

    def scores(self, f: Tensor) -> np.ndarray:
        return self.net.head(f).detach().numpy()

    def probs(self, f: Tensor) -> np.ndarray:
        return self.net.head(f).softmax(1).detach().numpy()


def stage(name: str, **fields: object) -> Stage:
    """A stage for a method; fields that the stage does not have are the method's hyper-parameters."""
    own = {
        k: fields.pop(k)
        for k in ("width", "n_classes", "n", "m", "seed", "shift", "memory", "n_sources", "ds")
        if k in fields
    }
    method = create_method(name, **fields)
    assert isinstance(method, GradientMethod)
    return Stage(method, **own)  # type: ignore[arg-type]
