"""Normalisation of the target by statistics of its own, with all other weights shared."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def still_norms(body: nn.Module) -> Iterator[None]:
    """Batch statistics normalise inside the block, and the running ones do not move: for passes beside the one that
    the losses are about (perturbed samples, a second look at a batch)."""
    found = [m for m in body.modules() if isinstance(m, _BatchNorm)]
    before = [m.momentum for m in found]
    for m in found:
        m.momentum = 0.0
    try:
        yield
    finally:
        for m, momentum in zip(found, before):
            m.momentum = momentum


def norms_of(body: nn.Module) -> dict[str, _BatchNorm]:
    """The batch normalisations of a body that keep statistics, by module name."""
    return {n: m for n, m in body.named_modules() if isinstance(m, _BatchNorm) and m.running_mean is not None}


class TargetNorms(nn.Module):
    """A second set of a body's batch normalisations, for target samples.

    The body stays as it is and serves the source; target samples pass through it with these parameters and statistics
    in the place of its own.
    """

    def __init__(self, body: nn.Module):
        super().__init__()
        found = norms_of(body)
        self.names = list(found)
        self.layers = nn.ModuleList(copy.deepcopy(m) for m in found.values())

    def forward(self, body: nn.Module, x: Tensor) -> Tensor:
        """Features (n, width) of target samples (n, ...)."""
        own = {
            f"{name}.{key}": value
            for name, layer in zip(self.names, self.layers)
            for key, value in [*layer.named_parameters(), *layer.named_buffers()]
        }
        features: Tensor = functional_call(body, own, (x,))
        return features

    @torch.no_grad()
    def estimate(self, body: nn.Module, chunks: Iterable[Tensor]) -> None:
        """Take the body's affine parameters, and as statistics the means over ``chunks`` of target samples.

        Every layer sees inputs that the layers before it have normalised by the statistics of the same chunk.
        """
        found = norms_of(body)
        for layer, own in zip(self.layers, found.values()):
            layer.load_state_dict(own.state_dict())
            layer.reset_running_stats()  # type: ignore[operator]
        before = {name: (m.momentum, m.training) for name, m in found.items()}
        for m in found.values():
            m.momentum = None  # a plain mean over chunks
            m.train()
        for x in chunks:
            self(body, x)
        for name, m in found.items():
            m.momentum = before[name][0]
            m.train(before[name][1])


class FeatureMatch(nn.Module):
    """Target features moved and scaled, one by one, to the source's mean and deviation: (n, d) -> (n, d).

        f'_j = (f_j - mean_t,j) / dev_t,j * dev_s,j + mean_s,j

    What is left of domain-wise normalisation where a body has no batch normalisation. Moments are running averages
    with a momentum of 0.1, or what ``set`` was given; before any, the identity.
    """

    mean_s: Tensor
    var_s: Tensor
    mean_t: Tensor
    var_t: Tensor

    def __init__(self, width: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        for key in "st":
            self.register_buffer(f"mean_{key}", torch.zeros(width))
            self.register_buffer(f"var_{key}", torch.ones(width))

    def forward(self, ft: Tensor, fs: Tensor | None = None) -> Tensor:
        """Matched target features (m, d); by the moments of the batches where source features fs (n, d) are given.

        Gradients pass through the target's moments, not through the source's.
        """
        if fs is None:
            return self._match(ft, self.mean_t, self.var_t, self.mean_s, self.var_s)
        mean_t, var_t = ft.mean(0), ft.var(0, correction=0)
        mean_s, var_s = fs.detach().mean(0), fs.detach().var(0, correction=0)
        if self.training:
            for name, value in (("mean_s", mean_s), ("var_s", var_s), ("mean_t", mean_t), ("var_t", var_t)):
                kept = getattr(self, name)
                kept.copy_(0.9 * kept + 0.1 * value.detach())
        return self._match(ft, mean_t, var_t, mean_s, var_s)

    @torch.no_grad()
    def set(self, fs: Tensor, ft: Tensor) -> None:
        """Moments of all source features (n, d) and target features (m, d)."""
        for key, f in (("s", fs), ("t", ft)):
            getattr(self, f"mean_{key}").copy_(f.mean(0))
            getattr(self, f"var_{key}").copy_(f.var(0, correction=0))

    def _match(self, f: Tensor, mean_t: Tensor, var_t: Tensor, mean_s: Tensor, var_s: Tensor) -> Tensor:
        return (f - mean_t) * torch.sqrt((var_s + self.eps) / (var_t + self.eps)) + mean_s
