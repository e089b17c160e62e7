"""Gradient methods on frozen features beside pytorch-adapt: its hooks, data sets and loader, used as it documents them.

The problems, networks, rate, batches and number of steps are those of ``deep``, at w = 64; samples are those that
dazoo's network sees, divided by the source's root mean square on both sides (what that changes is in ``seeds.md``).
What had to be converted:

- dann, bsp: its reversed gradient has the weight 1/2, since it adds the cross-entropies of source and target where
  dazoo halves the sum. Its ``MeanWeighter`` divides the sum of all terms by their number, which Adam does not see.
- cdan: its hook trains discriminator and features in turns, without reversal, and takes softmax outputs as dazoo does.
- dan, jan: five Gaussian kernels, a factor of 2 apart, and the quadratic estimator, as dazoo's.
- deep_coral: its aligner on the features alone, weight 100. mcd: two classifiers, four steps of the features.
- source_only: its loader draws a target batch as well, which the hook does not read.

pytorch-adapt 0.0.83 asks for pytorch-metric-learning 1.6.3 and torchmetrics 0.9.3. The latter imports
``pkg_resources``, which setuptools dropped after version 80, so that its hooks do not import beside a newer one. An
environment of its own with ``pip install pytorch-adapt "setuptools<81"`` works with this torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers.deep import BATCH, RATE, STEPS, Case, ours, tasks
from benchmarks.peers.measure import Row, Run, take_turns
from dazoo.core.types import Seen
from dazoo.engine.build import input_scale
from dazoo.nets.parts.common import mlp

WIDTH = 64


class Flat(nn.Module):
    """A discriminator whose logits have the shape (n,), as the domain loss takes them."""

    def __init__(self, d: int):
        super().__init__()
        self.layers = mlp(d, WIDTH, WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.layers(x)
        return scores.squeeze(1)


@dataclass
class Parts:
    """What a hook of pytorch-adapt is given: models by name, and an optimiser each."""

    models: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)

    def of(self, *names: str) -> list[torch.optim.Optimizer]:
        for name in names:
            self.optimizers[name] = torch.optim.Adam(self.models[name].parameters(), lr=RATE)
        return [self.optimizers[name] for name in names]


def _weights(**by_loss: float) -> Any:
    from pytorch_adapt.weighters import MeanWeighter

    return MeanWeighter(weights=by_loss)


def _kernels() -> Any:
    from pytorch_adapt.layers import MMDLoss
    from pytorch_adapt.layers.utils import get_kernel_scales

    return MMDLoss(kernel_scales=get_kernel_scales(low=-2, high=2, num_kernels=5), mmd_type="quadratic")


def _source_only(parts: Parts) -> Any:
    from pytorch_adapt.hooks import ClassifierHook

    return ClassifierHook(parts.of("G", "C"))


def _dann(parts: Parts, **more: Any) -> Any:
    from pytorch_adapt.hooks import DANNHook

    parts.models["D"] = Flat(WIDTH)
    return DANNHook(parts.of("G", "C", "D"), gradient_reversal_weight=0.5, **more)


def _bsp(parts: Parts) -> Any:
    from pytorch_adapt.hooks import BSPHook

    return _dann(parts, post_g=[BSPHook()], weighter=_weights(bsp_loss=1e-4))


def _cdan(parts: Parts) -> Any:
    from pytorch_adapt.hooks import CDANHook

    classes = parts.models["C"].out_features
    parts.models["D"] = Flat(WIDTH * int(classes))  # type: ignore[arg-type]
    parts.models["feature_combiner"] = _outer()
    return CDANHook(d_opts=parts.of("D"), g_opts=parts.of("G", "C"))


def _outer() -> nn.Module:
    class Outer(nn.Module):
        def forward(self, *pair: Tensor) -> Tensor:
            f, p = pair
            return (p[:, :, None] * f[:, None, :]).flatten(1)

    return Outer()


def _mcc(parts: Parts) -> Any:
    from pytorch_adapt.hooks import ClassifierHook, MCCHook
    from pytorch_adapt.layers import MCCLoss

    return ClassifierHook(parts.of("G", "C"), post=[MCCHook(loss_fn=MCCLoss(T=2.5))])


def _mcd(parts: Parts) -> Any:
    from pytorch_adapt.hooks import MCDHook
    from pytorch_adapt.layers import MultipleModels

    width, classes = parts.models["C"].in_features, parts.models["C"].out_features
    parts.models["C"] = MultipleModels(*(nn.Linear(int(width), int(classes)) for _ in range(2)))  # type: ignore[arg-type]
    return MCDHook(g_opts=parts.of("G"), c_opts=parts.of("C"), repeat=4)


def _deep_coral(parts: Parts) -> Any:
    from pytorch_adapt.hooks import AlignerHook, AlignerPlusCHook
    from pytorch_adapt.layers import CORALLoss

    aligner = AlignerHook(loss_fn=CORALLoss())
    return AlignerPlusCHook(parts.of("G", "C"), aligner_hook=aligner, weighter=_weights(features_confusion_loss=100.0))


def _dan(parts: Parts) -> Any:
    from pytorch_adapt.hooks import AlignerHook, AlignerPlusCHook

    return AlignerPlusCHook(parts.of("G", "C"), aligner_hook=AlignerHook(loss_fn=_kernels()))


def _jan(parts: Parts) -> Any:
    from pytorch_adapt.hooks import AlignerPlusCHook, JointAlignerHook

    return AlignerPlusCHook(parts.of("G", "C"), aligner_hook=JointAlignerHook(loss_fn=_kernels()))


CASES: tuple[Case, ...] = (
    Case("source_only", _source_only),
    Case("dann", _dann, {"trade_off": 1.0}),
    Case("cdan", _cdan, {"trade_off": 1.0}),
    Case("bsp", _bsp, {"trade_off": 1.0, "bsp_weight": 1e-4, "k": 1}),
    Case("mcc", _mcc, {"trade_off": 1.0, "temperature": 2.5}),
    Case("mcd", _mcd, {"trade_off": 1.0, "encoder_steps": 4}),
    Case("deep_coral", _deep_coral, {"trade_off": 100.0}),
    Case("dan", _dan, {"trade_off": 1.0}),
    Case("jan", _jan, {"trade_off": 1.0}),
)


class _Rows(torch.utils.data.Dataset[Any]):
    def __init__(self, x: Tensor, y: Tensor | None = None):
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        return self.x[i] if self.y is None else (self.x[i], self.y[i])


def theirs(case: Case, seen: Seen, steps: int) -> Run:
    """pytorch-adapt's side: its data sets in a loader, one call of the hook per batch."""
    from pytorch_adapt.datasets import CombinedSourceAndTargetDataset, SourceDataset, TargetDataset

    assert seen.source is not None
    scale = input_scale(seen)
    xs, xt, ys = scale * seen.source.x.float(), scale * seen.target.x.float(), seen.source.y
    pairs = CombinedSourceAndTargetDataset(SourceDataset(_Rows(xs, ys)), TargetDataset(_Rows(xt)))

    def batches() -> Any:
        while True:
            yield from torch.utils.data.DataLoader(pairs, batch_size=BATCH, shuffle=True, drop_last=True)

    def run() -> np.ndarray:
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 - its data sets draw from there
        parts = Parts({
            "G": nn.Sequential(nn.Linear(xs.shape[1], WIDTH), nn.ReLU()), "C": nn.Linear(WIDTH, seen.n_classes)
        })  # fmt: skip
        hook = case.peer(parts)
        for batch in itertools.islice(batches(), steps):
            hook({**parts.models, **batch})
        with torch.no_grad():
            scores = parts.models["C"](parts.models["G"](xt))
        return np.asarray((sum(scores) if isinstance(scores, list) else scores).argmax(1))

    return run


def compare(root: str | None, wanted: list[str], report: Callable[[Row], None]) -> list[Row]:
    """All cases on the four pairs, one run per side and pair, taking turns."""
    rows: list[Row] = []
    pairs = tasks(root)
    smallest = min(pairs, key=lambda t: len(t.sources[0]) + len(t.target)).seen()
    for case in [c for c in CASES if not wanted or c.method in wanted]:
        nobody = np.zeros(len(smallest.target))
        take_turns(ours(case, smallest, WIDTH, 20), theirs(case, smallest, 20), nobody, first=0, repeats=1)
        for i, task in enumerate(pairs):
            seen, y = task.seen(), task.hidden().y
            assert y is not None
            sides = ours(case, seen, WIDTH, STEPS), theirs(case, seen, STEPS)
            mine, other = take_turns(*sides, y.numpy(), first=i, repeats=1)
            rows.append(Row(case.method, task.name, mine, other, STEPS, "pytorch-adapt"))
            report(rows[-1])
    return rows
