"""Transfer forest: SER and STRUT. Segev, Harel, Mannor, Crammer and El-Yaniv, TPAMI 2017.

A random forest is grown on the source; each tree is then refined with the labelled target samples S.

SER (structure expansion and reduction): every leaf that S reaches grows a full subtree on its part of S; then, bottom
up, an inner node v becomes a leaf with the class shares of S_v if  err(v as a leaf, S_v) <= err(subtree of v, S_v).

STRUT (structure transfer): the features of the tests stay, top down each threshold is chosen anew,

    max_h  1 - |S_L|/|S_v| JSD(Q_L, P_L) - |S_R|/|S_v| JSD(Q_R, P_R)       over local maxima of the information gain

with Q the class shares (C,) of the source in the node's children, P those of the target samples left (L) and right (R)
of h, and JSD the Jensen-Shannon divergence in bits; the children change places where that is better. Leaves get
the class shares of S. ``mix`` joins the trees of both; the forest's answer is the mean of the trees' class shares.

Evidence: tests/test_parameter_transfer.py::test_forest_equals_scikit_learn, test_ser_never_errs_more_on_the_few,
test_ser_by_hand, test_strut_thresholds_by_brute_force.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.parameter_transfer._few import few_of
from dazoo.methods.parameter_transfer._trees import Node, forest, from_sklearn, shares
from dazoo.methods.shallow import pair, source_of
from dazoo.shallow.steps import Pipeline

MOST_SAMPLES = 4_096


@register
class TransferForest(ShallowMethod):
    """Forests of the source refined on the target: SER and STRUT."""

    paper = Paper(
        title="Learn on Source, Refine on Target: A Model Transfer Learning Framework with Random Forests",
        authors="Noam Segev, Maayan Harel, Shie Mannor, Koby Crammer, Ran El-Yaniv", year=2017,
        url="https://arxiv.org/abs/1511.01258",
        venue="IEEE Transactions on Pattern Analysis and Machine Intelligence (Journal)",
        deviations="all labelled target samples refine every tree instead of a bootstrap sample of them; SER keeps "
        "the source's subtrees that no target sample reaches (they would be cut); STRUT makes a leaf where the target "
        "samples are of one class or cannot be told apart by the node's feature; of more than 4,096 source samples "
        "every tree is grown on 4,096 draws",
    )  # fmt: skip
    handles = Handles(marked="few")

    trees: int = hp(50, 10, 200, log=True, help="trees grown on the source")
    variant: str = hp("mix", choices=("mix", "ser", "strut"), help="how trees are refined; mix joins both forests")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Grow on the source, refine on the target."""
        x, y = few_of(seen)
        rows, labels = _single(x), y.cpu().numpy()
        seed = int(torch.randint(1 << 31, (1,), generator=ctx.gen))
        if len(source_of(seen)) > MOST_SAMPLES:
            ctx.warn(f"transfer_forest: each tree of the source is grown on {MOST_SAMPLES} samples, drawn at random")
        model, roots = self.grow(seen, seed), []
        if self.variant in ("mix", "ser"):
            from sklearn import config_context

            with config_context(skip_parameter_validation=True):  # hundreds of trees of a few samples
                for i, root in enumerate(nodes(model, seen.n_classes)):
                    ser(root, rows, labels, seen.n_classes, seed + i)
                    roots.append(root)
        if self.variant in ("mix", "strut"):
            for root in nodes(model, seen.n_classes):
                strut(root, rows, labels, seen.n_classes)
                roots.append(root)
        return Pipeline((), None, forest(roots, x.shape[1], x.device))

    def grow(self, seen: Seen, seed: int) -> Any:
        """scikit-learn's forest of the source, each tree from at most ``MOST_SAMPLES`` draws."""
        from sklearn.ensemble import RandomForestClassifier

        if self.trees < 1:
            raise DazooError(f"transfer_forest.trees must be at least 1, not {self.trees}")
        rows = _single(pair(seen)[0])
        draws = MOST_SAMPLES if len(rows) > MOST_SAMPLES else None
        model = RandomForestClassifier(
            n_estimators=self.trees, criterion="entropy", random_state=seed, max_samples=draws
        )
        return model.fit(rows, source_of(seen).y.cpu().numpy())


def nodes(model: Any, n_classes: int) -> list[Node]:
    """The trees of a fitted forest of scikit-learn, to be rebuilt."""
    return [from_sklearn(e.tree_, model.classes_, n_classes) for e in model.estimators_]


def _single(x: Tensor) -> np.ndarray:
    """Rows in the precision in which scikit-learn's trees compare."""
    rows: np.ndarray = x.cpu().numpy().astype(np.float32)
    if not np.isfinite(rows).all():
        raise DazooError("the features hold NaN, infinite values, or values too large for trees in single precision")
    return rows


def ser(node: Node, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int = 0) -> int:
    """Expand and reduce the tree below ``node`` with target samples x (m, d), y (m,); returns its errors on them."""
    from sklearn.tree import DecisionTreeClassifier

    if len(y) == 0:
        return 0
    mine = shares(y, n_classes)
    if node.leaf:
        if (mine < 1).all():
            model = DecisionTreeClassifier(criterion="entropy", max_features="sqrt", random_state=seed)
            model.fit(np.ascontiguousarray(x), y, check_input=False)  # checked by ``_single``
            grown = from_sklearn(model.tree_, model.classes_, n_classes)
            node.feature, node.threshold, node.left, node.right = (
                grown.feature, grown.threshold, grown.left, grown.right
            )  # fmt: skip
        node.value = mine
        return int((predict(node, x) != y).sum())
    low = node.goes_left(x)
    left, right = node.children()
    below = ser(left, x[low], y[low], n_classes, seed) + ser(right, x[~low], y[~low], n_classes, seed)
    alone = int((y != mine.argmax()).sum())
    if alone <= below:
        node.cut(mine)
        return alone
    return below


def strut(node: Node, x: np.ndarray, y: np.ndarray, n_classes: int) -> None:
    """Choose the thresholds below ``node`` anew for target samples x (m, d), y (m,), m > 0."""
    mine = shares(y, n_classes)
    if node.leaf or (mine == 1).any():
        node.cut(mine)
        return
    left, right = node.children()
    found = best_threshold(x[:, node.feature].astype(np.float64), y, left.value, right.value)
    if found is None:
        node.cut(mine)
        return
    node.threshold, swapped = found
    if swapped:
        node.left, node.right = right, left
    node.value = mine
    low = node.goes_left(x)
    left, right = node.children()
    strut(left, x[low], y[low], n_classes)
    strut(right, x[~low], y[~low], n_classes)


def best_threshold(v: np.ndarray, y: np.ndarray, left: np.ndarray, right: np.ndarray) -> tuple[float, bool] | None:
    """The threshold on values ``v`` (m,) of most divergence gain, and whether the children's shares ``left`` and
    ``right`` (C,) should change places; None where all values are equal.

    Candidates are the middles between neighbouring different values; a local maximum of the information gain is at
    least as good as both its neighbours.
    """
    order = np.argsort(v, kind="stable")
    v, y = v[order], y[order]
    ends = np.flatnonzero(np.diff(v) > 0)
    if len(ends) == 0:
        return None
    counts = np.cumsum(np.eye(len(left))[y], 0)
    low, total = counts[ends], counts[-1]
    high = total - low
    n_low, n_high = low.sum(1), high.sum(1)
    share = n_low / len(y)
    p_low, p_high = low / n_low[:, None], high / n_high[:, None]
    gain = _entropy(total / len(y)) - share * _entropy(p_low) - (1 - share) * _entropy(p_high)
    padded = np.concatenate([[-np.inf], gain, [-np.inf]])
    peaks = (gain >= padded[:-2] - 1e-12) & (gain >= padded[2:] - 1e-12)
    best: tuple[float, float, bool] | None = None
    for swapped, (a, b) in ((False, (left, right)), (True, (right, left))):
        divergence = 1 - share * _jsd(p_low, a) - (1 - share) * _jsd(p_high, b)
        i = int(np.where(peaks, divergence, -np.inf).argmax())
        if best is None or divergence[i] > best[0] + 1e-12:
            middle = (v[ends[i]] + v[ends[i] + 1]) / 2
            best = (float(divergence[i]), float(middle if middle < v[ends[i] + 1] else v[ends[i]]), swapped)
    assert best is not None
    return best[1:]


def _entropy(p: np.ndarray) -> np.ndarray:
    """Entropy in bits over the last axis."""
    return -(p * np.log2(np.where(p > 0, p, 1.0))).sum(-1)


def _jsd(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence in bits of rows p (k, C) and q (C,)."""
    return _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2


def predict(node: Node, x: np.ndarray) -> np.ndarray:
    """The class of most share (m,) in the leaf of each row."""
    if node.leaf:
        return np.full(len(x), int(node.value.argmax()))
    low = node.goes_left(x)
    left, right = node.children()
    out = np.empty(len(x), dtype=np.int64)
    out[low], out[~low] = predict(left, x[low]), predict(right, x[~low])
    return out
