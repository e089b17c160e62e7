"""Decision trees as nodes that can be rebuilt, and as tensors that predict and can be saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.shallow.steps import EPS_VOTE, Head

BLOCK = 1 << 22


@dataclass
class Node:
    """A node of a tree: a test x[feature] <= threshold with two children, or a leaf. ``value`` (C,): class shares."""

    value: np.ndarray
    feature: int = -1
    threshold: float = 0.0
    left: Node | None = None
    right: Node | None = None

    @property
    def leaf(self) -> bool:
        return self.left is None

    def children(self) -> tuple[Node, Node]:
        """Both children of an inner node."""
        assert self.left is not None and self.right is not None
        return self.left, self.right

    def cut(self, value: np.ndarray | None = None) -> None:
        """Turn into a leaf, with another ``value`` where given."""
        self.left = self.right = None
        self.feature = -1
        if value is not None:
            self.value = value

    def goes_left(self, x: np.ndarray) -> np.ndarray:
        """Which rows of ``x`` (n, d) pass to the left child."""
        return x[:, self.feature].astype(np.float64) <= self.threshold


def from_sklearn(tree: Any, columns: np.ndarray, n_classes: int) -> Node:
    """A fitted scikit-learn tree (``tree_``) whose k-th class is number ``columns[k]`` of ``n_classes``."""

    def build(i: int) -> Node:
        value = np.zeros(n_classes)
        raw = tree.value[i, 0]
        value[columns] = raw / raw.sum()
        if tree.children_left[i] < 0:
            return Node(value)
        left, right = build(tree.children_left[i]), build(tree.children_right[i])
        return Node(value, int(tree.feature[i]), float(tree.threshold[i]), left, right)

    return build(0)


def shares(y: np.ndarray, n_classes: int) -> np.ndarray:
    """Class shares (C,) of labels (n,), n > 0."""
    return np.bincount(y, minlength=n_classes) / len(y)


@dataclass(frozen=True, eq=False)
class Forest(Head):
    """Mean class shares of trees, as log((1 - eps) p + eps / C).

    ``feature``, ``threshold``, ``left``, ``right`` (T, m) and ``value`` (T, m, C); a leaf is its own child. Tests
    are made in single precision, as in scikit-learn. ``width`` is the number of features,
    ``depth`` that of the deepest leaf.
    """

    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    width: int
    depth: int

    def __call__(self, z: Tensor) -> Tensor:
        if z.ndim != 2 or z.shape[1] != self.width:
            raise DazooError(f"the model takes samples of {self.width} features, but got shape {tuple(z.shape)}")
        if not bool(torch.isfinite(z).all()):
            raise DazooError("the samples hold NaN or infinite values")
        z = z.to(self.value.device)
        size = max(1, BLOCK // self.feature.numel())
        p = torch.cat([self._shares(z[i : i + size]) for i in range(0, len(z), size)]) if len(z) else z.new_zeros(0, 1)
        return torch.log((1 - EPS_VOTE) * p + EPS_VOTE / p.shape[1])

    def _shares(self, z: Tensor) -> Tensor:
        single = z.to(torch.float32).to(torch.float64)
        trees = torch.arange(len(self.feature), device=z.device)[:, None]
        at = torch.zeros(len(self.feature), len(z), dtype=torch.int64, device=z.device)
        rows = torch.arange(len(z), device=z.device)
        for _ in range(self.depth):
            low = single[rows, self.feature[trees, at]] <= self.threshold[trees, at]
            at = torch.where(low, self.left[trees, at], self.right[trees, at])
        return self.value[trees, at].mean(0)


def forest(roots: list[Node], width: int, device: torch.device) -> Forest:
    """Trees as tensors."""
    tables, deepest = [], 0
    for root in roots:
        table: list[tuple[int, float, int, int, np.ndarray]] = []

        def add(node: Node, depth: int, table: list[Any] = table) -> tuple[int, int]:
            i = len(table)
            table.append((0, 0.0, i, i, node.value))
            if node.leaf:
                return i, depth
            left, right = node.children()
            (a, da), (b, db) = add(left, depth + 1), add(right, depth + 1)
            table[i] = (node.feature, node.threshold, a, b, node.value)
            return i, max(da, db)

        deepest = max(deepest, add(root, 0)[1])
        tables.append(table)
    m, classes = max(len(t) for t in tables), len(roots[0].value)
    whole = np.zeros((3, len(tables), m), dtype=np.int64)
    threshold, value = np.zeros((len(tables), m)), np.zeros((len(tables), m, classes))
    for t, table in enumerate(tables):
        for i, (tested, limit, low, high, share) in enumerate(table):
            whole[:, t, i], threshold[t, i], value[t, i] = (tested, low, high), limit, share
    feature, left, right, limits, values = (
        torch.from_numpy(table.copy()).to(device) for table in (*whole, threshold, value)
    )
    return Forest(feature, limits, left, right, values, width, deepest)
