"""What the tests of adversarial methods share: a small float64 network, a batch, plain NumPy to transcribe with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dazoo.methods.base import Batch, GradientMethod, Progress, create_method
from dazoo.nets.net import Net, NetSpec, build_net

CLASSES, RAW, WIDTH, ROWS = 3, 7, 5, 6
T = Progress(0.4, 40, 100, 0.6)


@dataclass
class Game:
    """A method with its network, a batch, and NumPy views of what its formula reads."""

    method: Any
    net: Net
    b: Batch

    @property
    def fs(self) -> np.ndarray:
        return array(self.net.body(self.b.xs))

    @property
    def ft(self) -> np.ndarray:
        return array(self.net.body(self.b.xt))

    @property
    def ls(self) -> np.ndarray:
        return affine(self.net.head, self.fs)

    @property
    def lt(self) -> np.ndarray:
        return affine(self.net.head, self.ft)

    @property
    def ys(self) -> np.ndarray:
        return array(self.b.ys)

    def terms(self, phase: str = "losses") -> dict[str, Tensor]:
        return getattr(self.method, phase)(self.net, self.b, T)

    def gradient(self, term: str, part: str, phase: str = "losses") -> Tensor:
        """The term's gradient on a part, as one vector."""
        leaves = [p for n, p in self.net.named_parameters() if n == part or n.startswith(part + ".")]
        found = torch.autograd.grad(self.terms(phase)[term], leaves, allow_unused=True)
        return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(leaves, found)])


def game(name: str, seed: int = 0, memory: dict[str, Tensor] | None = None, **hparams: Any) -> Game:
    """A method on a float64 net with random batches. Values out of a knob's checked range go in as they are."""
    method = create_method(name)
    method = type(method)(**hparams)
    assert isinstance(method, GradientMethod)
    spec = NetSpec("none", (RAW,), "vector", CLASSES, WIDTH)
    net = build_net(spec, seed, method.build)
    net.body.backbone = nn.Identity()  # the registered one casts to float32
    net = net.double()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for p in net.parameters():
            p.data.mul_(1.5)
        method.setup(net)
    for part, rate in method.part_lr().items():
        if rate == 0:
            net.get_submodule(part).requires_grad_(False)
    rng = np.random.default_rng(seed)
    xs, xt = rng.normal(size=(ROWS, RAW)), rng.normal(size=(ROWS, RAW)) + 0.5
    ys, rows = torch.from_numpy(rng.integers(0, CLASSES, ROWS)), torch.arange(ROWS)
    batch = Batch(
        torch.from_numpy(xs), ys, torch.zeros(ROWS, dtype=torch.int64), torch.from_numpy(xt), rows, rows,
        memory=memory or {},
    )  # fmt: skip
    return Game(method, net, batch)


def array(x: Tensor) -> np.ndarray:
    return x.detach().numpy()


def affine(layer: Any, x: np.ndarray) -> np.ndarray:
    return x @ array(layer.weight).T + array(layer.bias)


def perceptron(layers: Any, x: np.ndarray) -> np.ndarray:
    """Linear layers with ReLU between them."""
    linear = [m for m in layers if hasattr(m, "weight")]
    for i, layer in enumerate(linear):
        x = affine(layer, x)
        if i < len(linear) - 1:
            x = np.maximum(x, 0)
    return x


def one_of_parallel(part: Any, k: int, x: np.ndarray) -> np.ndarray:
    """Perceptron ``k`` of a ``ParallelMLP`` on its own."""
    for i, (w, bias) in enumerate(zip(part.weights, part.biases)):
        x = x @ array(w)[k] + array(bias)[k]
        if i < len(part.weights) - 1:
            x = np.maximum(x, 0)
    return x


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def cross_entropy(z: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean([-np.log(softmax(z)[i, y[i]]) for i in range(len(y))]))


def domain(zs: np.ndarray, zt: np.ndarray, gamma: float = 1.0) -> float:
    """Half the mean binary cross-entropies of both domains, row by row, with labels smoothed to ``gamma``."""
    source = [-gamma * np.log(sigmoid(z)) - (1 - gamma) * np.log(1 - sigmoid(z)) for z in zs.ravel()]
    target = [-(1 - gamma) * np.log(sigmoid(z)) - gamma * np.log(1 - sigmoid(z)) for z in zt.ravel()]
    return float(np.mean(source) + np.mean(target)) / 2


def entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(p)).sum(1)
