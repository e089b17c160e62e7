"""Gradient methods on frozen EfficientNet-Lite0 features (1,280-d) of Office-Caltech10.

Both sides train Linear(1280, w) - ReLU - Linear(w, 10), freshly initialised by torch's defaults, with Adam at a
constant rate, the same batch per domain and the same number of steps; the discriminators are perceptrons with two
hidden layers of w. There are two widths: at w = 64 a step is mostly what a library does around the arithmetic, at
w = 256 mostly the arithmetic itself, which is torch's on both sides. What had to be converted:

- adversarial: skada adds the source's and the target's cross-entropy, dazoo halves the sum: ``reg = 1/2``. skada's own
  domain classifier ends in a softmax over one number, which is constant; it is given dazoo's perceptron instead, with a
  sigmoid. The weight of the reversed gradient is 1 throughout (no ramp).
- skada's CDAN conditions on logits, dazoo's on probabilities; skada's DAN sums 33 kernels of plain distances, dazoo's
  5 Gaussian kernels. These are left as the libraries have them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers.cases import TARGET
from benchmarks.peers.measure import Row, Run, take_turns
from benchmarks.peers.shallow import DOMAINS
from dazoo.core.hparam import space
from dazoo.core.types import Seen
from dazoo.data.registry import load_domain
from dazoo.data.task import Task
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, create_method
from dazoo.nets.frozen import frozen
from dazoo.nets.parts.common import mlp

BACKBONE = "tf_efficientnet_lite0"
WIDTHS, BATCH, RATE, STEPS = (64, 256), 32, 1e-3, 200


class Small(nn.Module):
    """The network on skada's side; the hook of skada reads the layer ``bottleneck``."""

    def __init__(self, d: int, width: int, n_classes: int):
        super().__init__()
        self.bottleneck = nn.Sequential(nn.Linear(d, width), nn.ReLU())
        self.head = nn.Linear(width, n_classes)

    def forward(self, x: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        scores: Tensor = self.head(self.bottleneck(x))
        return scores


class Discriminator(nn.Module):
    """Reversal, perceptron, sigmoid: what skada's binary cross-entropy takes."""

    def __init__(self, d: int, width: int):
        super().__init__()
        self.layers = mlp(d, width, width, 1)

    def forward(self, x: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        from skada.deep.modules import GradientReversalLayer

        return torch.sigmoid(self.layers(GradientReversalLayer.apply(x, 1.0))).squeeze(-1)


@dataclass(frozen=True)
class Case:
    """One method on both sides; ``peer(module, **common)`` builds skada's net."""

    method: str
    peer: Callable[..., Any]
    hparams: dict[str, Any] = field(default_factory=dict)


def _discriminator(module: Small, times: int) -> Discriminator:
    width = module.head.in_features
    return Discriminator(times * width, width)


def _source_only(module: Small, **common: Any) -> Any:
    from skada.deep import SourceOnly

    return SourceOnly(module, layer_name="bottleneck", **common)


def _dann(module: Small, **common: Any) -> Any:
    from skada.deep import DANN

    return DANN(module, layer_name="bottleneck", reg=0.5, domain_classifier=_discriminator(module, 1), **common)


def _cdan(module: Small, **common: Any) -> Any:
    from skada.deep import CDAN

    disc = _discriminator(module, module.head.out_features)
    return CDAN(module, layer_name="bottleneck", reg=0.5, domain_classifier=disc, **common)


def _deep_coral(module: Small, **common: Any) -> Any:
    from skada.deep import DeepCoral

    return DeepCoral(module, layer_name="bottleneck", reg=100.0, **common)


def _dan(module: Small, **common: Any) -> Any:
    from skada.deep import DAN

    return DAN(module, layer_name="bottleneck", reg=1.0, **common)


def _mcc(module: Small, **common: Any) -> Any:
    from skada.deep import MCC

    return MCC(module, layer_name="bottleneck", reg=1.0, T=2.5, **common)


def _deep_jdot(module: Small, **common: Any) -> Any:
    from skada.deep import DeepJDOT

    return DeepJDOT(module, layer_name="bottleneck", reg_dist=1e-3, reg_cl=1e-4, **common)


CASES: tuple[Case, ...] = (
    Case("source_only", _source_only),
    Case("dann", _dann, {"trade_off": 1.0}),
    Case("cdan", _cdan, {"trade_off": 1.0}),
    Case("deep_coral", _deep_coral, {"trade_off": 100.0}),
    Case("dan", _dan, {"trade_off": 1.0}),
    Case("mcc", _mcc, {"trade_off": 1.0, "temperature": 2.5}),
    Case("deep_jdot", _deep_jdot, {"trade_off": 1.0, "feature_weight": 1e-3, "label_weight": 1e-4}),
)


def tasks(root: str | None) -> list[Task]:
    """Four pairs of frozen features: every domain is a source once and a target once."""
    photos = {d: load_domain("office_caltech10", d, root, features="images") for d in DOMAINS}
    loaded = {d: frozen(photo, BACKBONE) for d, photo in photos.items()}
    ring = zip(DOMAINS, (*DOMAINS[1:], DOMAINS[0]))
    return [Task(f"{s}->{t}", (loaded[s],), loaded[t]) for s, t in ring]


def epochs(case: Case, seen: Seen) -> tuple[int, int]:
    """(epochs, steps) on skada's side, as close to ``STEPS`` as whole epochs allow; dazoo takes the same steps."""
    assert seen.source is not None
    sizes = [len(seen.source)] if case.method == "source_only" else [len(seen.source), len(seen.target)]
    per_epoch = max(n // BATCH for n in sizes)
    count = max(1, round(STEPS / per_epoch))
    return count, count * per_epoch


def ours(case: Case, seen: Seen, width: int, steps: int, seed: int = 0) -> Run:
    """dazoo's side: building, training and predicting."""
    recipe = Recipe.named(
        "frozen", optimizer="adam", lr=RATE, weight_decay=0.0, schedule="constant", steps=steps, batch=BATCH,
        bottleneck=width, norm="none", ramp="constant",
    )  # fmt: skip
    hparams = {**case.hparams, **({"disc_width": width} if "disc_width" in space(METHODS.get(case.method)) else {})}

    def run() -> np.ndarray:
        result = fit(create_method(case.method, **hparams), seen, seed=seed, options=Options(recipe=recipe))
        return result.predictor.predict(seen.target.x).labels.numpy()

    return run


def theirs(case: Case, seen: Seen, width: int, count: int, seed: int = 0, scale: float = 1.0) -> Run:
    """skada's side: the same, through skorch without its printing and without a validation split; samples times
    ``scale``."""
    assert seen.source is not None
    xs, xt, ys = scale * seen.source.x.numpy(), scale * seen.target.x.numpy(), seen.source.y.numpy()
    x = np.concatenate([xs, xt]).astype(np.float32)
    y = np.concatenate([ys, np.full(len(xt), -1)])
    domain = np.concatenate([np.ones(len(xs), dtype=int), np.full(len(xt), TARGET)])

    def run() -> np.ndarray:
        torch.manual_seed(seed)
        net = case.peer(
            Small(x.shape[1], width, seen.n_classes), optimizer=torch.optim.Adam, lr=RATE, batch_size=BATCH,
            max_epochs=count, train_split=None, verbose=0,
        )  # fmt: skip
        net.fit(x, y, sample_domain=domain)
        return np.asarray(net.predict(xt.astype(np.float32), sample_domain=np.full(len(xt), TARGET)))

    return run


def place(row: Row) -> tuple[int, int]:
    """Where a row stands in the table: by width, then by case."""
    name, width = row.case.split(", w = ")
    return int(width), [c.method for c in CASES].index(name)


def compare(root: str | None, wanted: list[str], report: Callable[[Row], None]) -> list[Row]:
    """All cases on the four pairs, one run per side and pair, taking turns."""
    rows: list[Row] = []
    pairs = tasks(root)
    smallest = min(pairs, key=lambda t: len(t.sources[0]) + len(t.target)).seen()
    for case, width in [(c, w) for w in WIDTHS for c in CASES]:
        if wanted and case.method not in wanted:
            continue
        nobody = np.zeros(len(smallest.target))
        take_turns(ours(case, smallest, width, 20), theirs(case, smallest, width, 1), nobody, first=0, repeats=1)
        for i, task in enumerate(pairs):
            seen = task.seen()
            y = task.hidden().y
            assert y is not None
            count, steps = epochs(case, seen)
            sides = ours(case, seen, width, steps), theirs(case, seen, width, count)
            mine, other = take_turns(*sides, y.numpy(), first=i, repeats=1)
            rows.append(Row(f"{case.method}, w = {width}", task.name, mine, other, steps))
            report(rows[-1])
    return rows
