"""Steps, heads, transforms and encoders of models as nodes of an ONNX graph, one function for each kind.

Values are double precision, as in ``shallow.steps``, whose formulas these are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dazoo.data.transform import Map
from dazoo.deploy.graph import ML, CannotExport, Graph
from dazoo.methods.label_shift._quantifier import Calibrated as Corrected
from dazoo.methods.reweighting._boost import Committee
from dazoo.methods.unlabelled.gaussian_mixture import DiagonalGaussians
from dazoo.shallow import steps as s
from dazoo.shallow.trees import Trees

F = np.float64
BELOW = {"logits": ("ReduceMax", -30.0), "decision": ("ReduceMin", -1.0)}
"""What classes score that a head was not fitted on, relative to the others."""


def transform(g: Graph, fitted: Map, x: str) -> str:
    """``data.transform.Map`` of vectors in double precision."""
    if fitted.shift is not None and fitted.factor is not None:
        moved = g.add("Mul", g.add("Sub", x, g.const(fitted.shift, F)), g.const(fitted.factor, F))
        return str(g.add("Clip", moved, g.const(0.0, F), g.const(1.0, F)) if fitted.name == "scale" else moved)
    if fitted.name == "log1p":
        return str(g.add("Log", g.add("Add", x, g.const(1.0, F))))
    if fitted.name == "row_sum":
        return _by_rows(g, x, g.add("ReduceSum", x, g.const([1], np.int64), keepdims=1))
    if fitted.name == "unit_norm":
        return _by_rows(g, x, g.add("ReduceL2", x, axes=[1], keepdims=1))
    raise CannotExport(f"the transform {fitted.name!r} has no form in ONNX; fit without it")


def through(g: Graph, steps: tuple[s.Step, ...], x: str) -> str:
    """Samples through steps, in order."""
    for step in steps:
        x = _translated(g, step, x, STEPS)
    return x


def scores(g: Graph, head: s.Head, z: str) -> str:
    """Scores (n, C) of features, or values (n, 1)."""
    return _translated(g, head, z, HEADS)


def _translated(g: Graph, piece: Any, x: str, known: dict[type, Callable[[Graph, Any, str], str]]) -> str:
    make = known.get(type(piece))
    if make is None:
        raise CannotExport(
            f"this model holds a {type(piece).__name__}, which has no form in ONNX; serve it with dazoo.load and "
            "predict, or fit a method whose model is a map, a network or trees"
        )
    return make(g, piece, x)


def _by_rows(g: Graph, x: str, size: str) -> str:
    """x / size, where rows of size 0 stay what they are."""
    zero = g.add("Equal", size, g.const(0.0, F))
    return str(g.add("Div", x, g.add("Where", zero, g.const(1.0, F), size)))


def _linear(g: Graph, x: str, weight: Any, bias: Any) -> str:
    z = g.add("MatMul", x, g.const(weight, F))
    return str(z if bias is None else g.add("Add", z, g.const(bias, F)))


def _distances(g: Graph, x: str, anchors: torch.Tensor) -> str:
    """Squared distances (n, m) to anchors (m, d), relative to their mean."""
    mean = anchors.double().mean(0)
    y = anchors.double() - mean
    x = g.add("Sub", x, g.const(mean, F))
    own = g.add("ReduceSumSquare", x, axes=[1], keepdims=1)
    both = g.add("MatMul", x, g.const(-2 * y.T, F))
    return str(g.add("Max", g.add("Add", g.add("Add", both, own), g.const(y.square().sum(1), F)), g.const(0.0, F)))


def _nearest(g: Graph, x: str, anchors: torch.Tensor) -> str:
    return str(g.add("ArgMin", _distances(g, x, anchors), axis=1, keepdims=0))


def _standardise(g: Graph, p: s.Standardise, x: str) -> str:
    scale = torch.where(p.scale > 0, p.scale, torch.ones_like(p.scale))
    return str(g.add("Div", g.add("Sub", x, g.const(p.mean, F)), g.const(scale, F)))


def _unit(g: Graph, p: s.UnitNorm, x: str) -> str:
    return _by_rows(g, x, g.add("ReduceL2", x, axes=[1], keepdims=1))


def _copies(g: Graph, p: s.Copies, x: str) -> str:
    zeros = g.add("Mul", x, g.const(0.0, F))
    return str(g.add("Concat", *[x if keep else zeros for keep in p.keep.tolist()], axis=1))


def _kernel(g: Graph, p: s.KernelMap, x: str) -> str:
    if p.kind == "linear":
        k = g.add("MatMul", x, g.const(p.anchors.T, F))
    else:
        k = g.add("Exp", g.add("Mul", _distances(g, x, p.anchors), g.const(-float(p.gamma), F)))
    return _linear(g, k, p.coef, p.bias)


def _shift(g: Graph, p: s.NearestShift, x: str) -> str:
    return str(g.add("Add", x, g.add("Gather", g.const(p.shifts, F), _nearest(g, x, p.anchors), axis=0)))


STEPS: dict[type, Callable[[Graph, Any, str], str]] = {
    s.Affine: lambda g, p, x: _linear(g, x, p.weight, p.bias),
    s.Center: lambda g, p, x: g.add("Sub", x, g.const(p.mean, F)),
    s.Standardise: _standardise,
    s.UnitNorm: _unit,
    s.Columns: lambda g, p, x: g.add("Gather", x, g.const(p.index, np.int64), axis=1),
    s.Copies: _copies,
    s.Tanh: lambda g, p, x: g.add("Tanh", x),
    s.Append: lambda g, p, x: g.add("Concat", x, through(g, p.steps, x), axis=1),
    s.KernelMap: _kernel,
    s.NearestShift: _shift,
    s.NearestImage: lambda g, p, x: g.add("Gather", g.const(p.images, F), _nearest(g, x, p.anchors), axis=0),
}


# -- heads ------------------------------------------------------------------------------------------------------------


def _spread(g: Graph, raw: str, classes: torch.Tensor, n_classes: int, kind: str) -> str:
    """Scores of the ``classes`` in their columns of ``n_classes``, and what the others score."""
    listed = classes.tolist()
    if listed == list(range(n_classes)):
        return raw
    reduce, offset = BELOW[kind]
    low = g.add("Add", g.add(reduce, raw, axes=[1], keepdims=1), g.const(offset, F))
    place = [listed.index(c) if c in listed else len(listed) for c in range(n_classes)]
    return str(g.add("Gather", g.add("Concat", raw, low, axis=1), g.const(place, np.int64), axis=1))


def _linear_scores(g: Graph, p: s.LinearScores, z: str) -> str:
    raw = _linear(g, z, p.weight, p.bias)
    if p.kind == "values":
        return raw
    found = _spread(g, raw, p.classes, p.n_classes, p.kind)
    return str(g.add("LogSoftmax", found, axis=1)) if p.kind == "logits" else found


def _votes(g: Graph, p: s.PairwiseVotes, z: str) -> str:
    """Votes and squashed sums of decision values as products with the signs of classes in pairs."""
    decision, k = through(g, p.steps, z), len(p.classes)
    first, second = torch.triu_indices(k, k, offset=1)
    pairs = torch.arange(len(first))
    wins, signs = torch.zeros(2, len(first), k), torch.zeros(len(first), k)
    wins[0, pairs, first], wins[1, pairs, second] = 1.0, 1.0
    signs[pairs, first], signs[pairs, second] = 1.0, -1.0
    ahead = g.cast(g.add("GreaterOrEqual", decision, g.const(0.0, F)), F)
    behind = g.add("Sub", g.const(1.0, F), ahead)
    votes = g.add("Add", g.add("MatMul", ahead, g.const(wins[0], F)), g.add("MatMul", behind, g.const(wins[1], F)))
    trust = g.add("MatMul", decision, g.const(signs, F))
    size = g.add("Mul", g.add("Add", g.add("Abs", trust), g.const(1.0, F)), g.const(3.0, F))
    raw = str(g.add("Add", votes, g.add("Div", trust, size)))
    listed = p.classes.tolist()
    if listed == list(range(p.n_classes)):
        return raw
    none = g.add("Sub", g.add("Mul", g.add("ReduceMax", raw, axes=[1], keepdims=1), g.const(0.0, F)), g.const(1.0, F))
    place = [listed.index(c) if c in listed else k for c in range(p.n_classes)]
    return str(g.add("Gather", g.add("Concat", raw, none, axis=1), g.const(place, np.int64), axis=1))


def _neighbours(g: Graph, p: s.NearestNeighbors, z: str) -> str:
    if p.k != 1:
        raise CannotExport(f"{p.k} nearest neighbours have no form in ONNX; fit with classifier='1nn' or 'logistic'")
    if p.n_classes == 0:
        answers = p.y.double()[:, None]
    else:
        share = torch.nn.functional.one_hot(p.y, p.n_classes).double()
        answers = torch.log((1 - s.EPS_VOTE) * share + s.EPS_VOTE / p.n_classes)
    return str(g.add("Gather", g.const(answers, F), _nearest(g, z, p.x), axis=0))


def _centres(g: Graph, p: s.CentreScores, z: str) -> str:
    raw = str(g.add("Sub", g.const(p.offsets, F), g.add("Sqrt", _distances(g, z, p.centres))))
    return _spread(g, raw, p.classes, p.n_classes, "decision")


def _gaussians(g: Graph, p: DiagonalGaussians, z: str) -> str:
    precision = 1 / p.variances
    squares = g.add("MatMul", g.add("Mul", z, z), g.const(-precision.T / 2, F))
    products = g.add("MatMul", z, g.const((p.means * precision).T, F))
    rest = p.weights.clamp_min(1e-300).log() - (p.means.square() * precision).sum(1) / 2
    rest = rest - (2 * math.pi * p.variances).log().sum(1) / 2
    return str(g.add("Add", g.add("Add", squares, products), g.const(rest, F)))


def _corrected(g: Graph, p: Corrected, z: str) -> str:
    raw = g.add("LogSoftmax", scores(g, p.head, z), axis=1)
    return str(g.add("LogSoftmax", g.add("Add", g.add("Mul", raw, g.const(p.scale, F)), g.const(p.bias, F)), axis=1))


def _committee(g: Graph, p: Committee, z: str) -> str:
    share = None
    for member, vote in zip(p.members, (p.votes / p.votes.sum()).tolist()):
        said = scores(g, member, z)
        if p.soft:
            said = g.add("Softmax", said, axis=1)
        else:
            depth = _width(member)
            hot = g.add("OneHot", g.add("ArgMax", said, axis=1, keepdims=0), g.const([depth], np.int64),
                        g.const([0.0, 1.0], F))  # fmt: skip
            said = hot
        said = g.add("Mul", said, g.const(vote, F))
        share = said if share is None else g.add("Add", share, said)
    eps = s.EPS_VOTE
    assert share is not None
    return str(g.add("Log", g.add("Add", g.add("Mul", share, g.const(1 - eps, F)), g.const(eps / _width(p), F))))


def _width(head: Any) -> int:
    """How many scores a head gives."""
    while isinstance(head, (Committee, s.StepsThenHead)):
        head = head.members[0] if isinstance(head, Committee) else head.head
    found = getattr(head, "n_classes", None)
    if not found:
        raise CannotExport(f"a {type(head).__name__} does not say how many classes it scores; serve it with dazoo.load")
    return int(found)


def _trees(g: Graph, p: Trees, z: str) -> str:
    """A sum of trees as ``TreeEnsembleRegressor``, whose thresholds and inputs are of single precision."""
    per_round, inner = p.roots.shape[1], ~p.leaf
    tree_of, root_of = _owners(p)
    node = (torch.arange(len(p.leaf)) - root_of).tolist()
    tree = tree_of.tolist()
    threshold = _rounded_down(p.threshold)
    leaves = torch.nonzero(p.leaf)[:, 0].tolist()
    found = g.add(
        "TreeEnsembleRegressor",
        g.cast(z, np.float32),
        domain=ML,
        aggregate_function="SUM",
        base_values=p.base.flatten().tolist(),
        n_targets=per_round,
        post_transform="NONE",
        nodes_treeids=tree,
        nodes_nodeids=node,
        nodes_featureids=torch.where(inner, p.feature, 0).tolist(),
        nodes_values=torch.where(inner, threshold, 0.0).tolist(),
        nodes_modes=["BRANCH_LEQ" if i else "LEAF" for i in inner.tolist()],
        nodes_truenodeids=torch.where(inner, p.left - root_of, 0).tolist(),
        nodes_falsenodeids=torch.where(inner, p.right - root_of, 0).tolist(),
        target_treeids=[tree[i] for i in leaves],
        target_nodeids=[node[i] for i in leaves],
        target_ids=[tree[i] % per_round for i in leaves],
        target_weights=p.value[p.leaf].tolist(),
    )
    total = g.cast(found, F)
    if not p.n_classes:
        return total
    if per_round == 1:
        half = g.add("Div", total, g.const(2.0, F))
        total = str(g.add("Concat", g.add("Neg", half), half, axis=1))
    if p.classes.tolist() != list(range(p.n_classes)):
        raise CannotExport(
            "these trees know only some of the classes, which has no form in ONNX; serve with dazoo.load"
        )
    return total


def _owners(p: Trees) -> tuple[torch.Tensor, torch.Tensor]:
    """For every node the number of its tree, in the order of rounds, and the tree's first node."""
    roots = p.roots.flatten()
    which = torch.searchsorted(roots, torch.arange(len(p.leaf)), right=True) - 1
    return which, roots[which]


def _rounded_down(x: torch.Tensor) -> torch.Tensor:
    """The largest single-precision numbers that are not above x: a single-precision sample then goes the same way."""
    single = x.float()
    lower = torch.nextafter(single, torch.full_like(single, -torch.inf))
    return torch.where(single.double() > x, lower, single)


HEADS: dict[type, Callable[[Graph, Any, str], str]] = {
    s.LinearScores: _linear_scores,
    s.PairwiseVotes: _votes,
    s.NearestNeighbors: _neighbours,
    s.NearestScores: lambda g, p, z: g.add("Gather", g.const(p.scores, F), _nearest(g, z, p.x), axis=0),
    s.CentreScores: _centres,
    s.AsScores: lambda g, p, z: g.add("Div", z, g.const(p.temperature, F)),
    s.StepsThenHead: lambda g, p, z: scores(g, p.head, through(g, p.steps, z)),
    DiagonalGaussians: _gaussians,
    Corrected: _corrected,
    Committee: _committee,
    Trees: _trees,
}
