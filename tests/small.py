"""Small double-precision networks and batches, for tests that compare a method's losses with a slow transcription."""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.methods.base import Batch, GradientMethod, Progress
from dazoo.nets.net import Net, NetSpec, build_net

SPEC = NetSpec("mlp", (5,), "vector", 3, 7)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small_net(method: GradientMethod, seed: int = 0, **spec) -> Net:
    """A body 5 -> 128 -> 7 and a head 7 -> 3 in float64, with the method's own parts, set up."""
    fields = {**SPEC.__dict__, **spec}
    net = build_net(NetSpec(**fields), seed, method.build).double()
    method.setup(net)
    return net.double()


def small_batch(n: int = 6, d: int = 5, c: int = 3, seed: int = 0, memory: dict | None = None) -> Batch:
    gen = torch.Generator().manual_seed(100 + seed)
    return Batch(
        xs=draw(n, d, seed=seed + 1), ys=torch.randint(0, c, (n,), generator=gen), ds=torch.zeros(n, dtype=torch.int64),
        xt=draw(n, d, seed=seed + 2) + 0.5, s_rows=torch.arange(n), t_rows=torch.arange(n),
        xs_strong=draw(n, d, seed=seed + 3), xt_strong=draw(n, d, seed=seed + 4), xf=draw(n, d, seed=seed + 5),
        yf=torch.randint(0, c, (n,), generator=gen), xf_strong=draw(n, d, seed=seed + 6), memory=memory or {},
    )  # fmt: skip


def at(fraction: float, steps: int = 100) -> Progress:
    """Progress with a ramp equal to the fraction."""
    return Progress(fraction, round(fraction * steps), steps, fraction)


def shared(a: Net, b: Net) -> bool:
    """Whether body and head are equal bit for bit."""
    sa, sb = a.state_dict(), b.state_dict()
    return all(torch.equal(sa[k], sb[k]) for k in sa if k.startswith(("body.", "head.")))
