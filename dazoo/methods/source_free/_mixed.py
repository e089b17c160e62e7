"""What methods have in common that mix one model per source and adapt them together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.types import Prediction
from dazoo.methods.base import Look
from dazoo.methods.source_free._source_free import SourceFree
from dazoo.nets.net import Net
from dazoo.nets.parts.models import Model
from dazoo.ops.source_free import mixed_scores


class MixedModels(SourceFree):
    """One model per source, ``net.models``, whose heads stay; they answer with a weighted mean of scores."""

    handles = Handles(source="model", n_sources="many")
    one_by_one = False
    joins_models = True
    stackable = False

    def part_lr(self) -> dict[str, float]:
        return {"body": 0.0, "head": 0.0}

    def setup(self, net: Net) -> None:
        net.models = nn.ModuleList(Model(net, head_moves=False) for _ in range(net.n_sources))

    def shares(self, net: Net) -> Tensor:
        """Weights of the models (S,), of sum 1."""
        raise NotImplementedError

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features, scores = self.each(net, x)
        w = self.shares(net)
        return Prediction(mixed_scores(scores, w.expand(scores.shape[1], -1)), torch.einsum("s,snd->nd", w, features))

    def each(self, net: Net, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (S, n, width) and scores (S, n, C) of every model."""
        found = [model(x) for model in net.models]
        return torch.stack([f for f, _ in found]), torch.stack([s for _, s in found])

    def look(self, net: Net, look: Look) -> tuple[Tensor, Tensor]:
        """The same of all target samples."""
        found = [self.each(net, x) for x in look.inputs("target")]
        return torch.cat([f for f, _ in found], 1), torch.cat([s for _, s in found], 1)
