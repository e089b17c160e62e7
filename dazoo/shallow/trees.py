"""Gradient-boosted trees as what shallow methods finish with: fitted by scikit-learn, kept as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.shallow.steps import Head


@dataclass(frozen=True, eq=False)
class Trees(Head):
    """A sum of trees per score: s_k(x) = base_k + sum of the leaves of x in the trees of k.

    All trees are one array of nodes: ``feature``, ``threshold`` (go left where x <= threshold), ``left`` and ``right``
    (indices), ``value`` and ``leaf``; ``roots`` (rounds, trees per round). Scores are logits, of two classes
    (-s, s) / 2 from the one tree of a round; of regression the values.
    """

    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    leaf: Tensor
    roots: Tensor
    base: Tensor
    classes: Tensor
    n_classes: int

    def __call__(self, z: Tensor) -> Tensor:
        x = z.to(device=self.threshold.device, dtype=self.threshold.dtype)
        total = self.base.expand(len(x), -1).clone()
        rows = torch.arange(len(x), device=x.device)[:, None]
        for roots in self.roots:
            at = roots.expand(len(x), -1)
            while not bool(self.leaf[at].all()):
                below = torch.where(x[rows, self.feature[at]] <= self.threshold[at], self.left[at], self.right[at])
                at = torch.where(self.leaf[at], at, below)
            total += self.value[at]
        if not self.n_classes:
            return total
        if total.shape[1] == 1:
            total = torch.cat([-total, total], 1) / 2
        scores = total.new_full((len(x), self.n_classes), float(total.min()) - 30.0 if len(x) else 0.0)
        scores[:, self.classes] = total
        return scores


def fit_trees(z: Tensor, y: Tensor, n_classes: int, options: dict[str, Any], weights: Tensor | None) -> Trees:
    """Histogram gradient boosting on features ``z`` (n, d); ``n_classes`` 0 means values. Sample weights are used."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    cls = HistGradientBoostingClassifier if n_classes else HistGradientBoostingRegressor
    model = cls(
        max_iter=options["rounds"],
        learning_rate=options["rate"],
        max_leaf_nodes=options["leaves"],
        min_samples_leaf=max(2, min(20, len(z) // 20)),
        early_stopping=False,
        random_state=0,
    )
    model.fit(z.cpu().double().numpy(), y.cpu().numpy(), None if weights is None else weights.cpu().numpy())
    parts: list[tuple[np.ndarray, int]] = []
    roots: list[list[int]] = []
    offset = 0
    for stage in model._predictors:  # no public door leads to the nodes
        roots.append([])
        for tree in stage:
            nodes = tree.nodes
            parts.append((nodes, offset))
            roots[-1].append(offset)
            offset += len(nodes)
    joined = np.concatenate([nodes for nodes, _ in parts])
    starts = np.concatenate([np.full(len(nodes), start) for nodes, start in parts])
    classes = np.arange(1) if not n_classes else np.asarray(model.classes_)
    return Trees(
        feature=torch.from_numpy(joined["feature_idx"].astype(np.int64)),
        threshold=torch.from_numpy(joined["num_threshold"].astype(np.float64)),
        left=torch.from_numpy(joined["left"].astype(np.int64) + starts),
        right=torch.from_numpy(joined["right"].astype(np.int64) + starts),
        value=torch.from_numpy(joined["value"].astype(np.float64)),
        leaf=torch.from_numpy(joined["is_leaf"].astype(bool)),
        roots=torch.tensor(roots, dtype=torch.int64),
        base=torch.from_numpy(np.atleast_2d(model._baseline_prediction).astype(np.float64)),
        classes=torch.from_numpy(classes.astype(np.int64)),
        n_classes=n_classes,
    )
