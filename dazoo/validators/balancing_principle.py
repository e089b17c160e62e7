"""Balancing principle: the strongest adaptation that every weaker one still agrees with, up to the domains' distance.

    reject(i) = max_{j < i} ( d(h_i, h_j) - D_i (2 + 2 B / D_0) ),    d(h, h') = (1/n) sum_x [h(x) != h'(x)]

over candidates in the order of growing trade-off, with d the disagreement of two models on target samples, D_i the
proxy A-distance of source and target features of model i, and B = 3. Candidate i is accepted if reject(i) < 0. Its
score is its position i, so that the strongest accepted one is chosen; that of a rejected one is -1 - reject(i). Source
error grows with the trade-off and distance falls, as in Lepskii's principle for ill-posed problems.
Zellinger et al.: The balancing principle for parameter choice in distance-regularized domain adaptation. NeurIPS 2021.
https://proceedings.neurips.cc/paper/2021/hash/ae0909a324fb2530e205e52d40266418-Abstract.html

Candidates are the last checkpoints of the trials of a group; earlier checkpoints have no score. Undefined where no
hyper-parameter ``trade_off`` exists or all trials share its value. Deviations: trials may differ in other
hyper-parameters too, which the theory does not cover; D is the proxy A-distance as in the authors' comparison, not
their margin disparity; where D_0 = 0 every model is accepted that agrees with the weaker ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dazoo.ops.adistance import a_distance
from dazoo.validators.base import Candidate, register_validator

BOUND = 3.0
WEIGHT = "trade_off"
ROWS = 20_000


@register_validator(cost="costly")
def balancing_principle(group: Sequence[Candidate]) -> list[float | None]:
    """Position of a trial in the order of trade-offs, if all weaker trials agree with it; negative if not."""
    scores: list[float | None] = [None] * len(group)
    last = [k for k, c in enumerate(group) if c.last and isinstance(c.hparams.get(WEIGHT), (int, float))]
    last.sort(key=lambda k: group[k].hparams[WEIGHT])
    if len({group[k].hparams[WEIGHT] for k in last}) < 2:
        return scores
    labels: list[Tensor] = []
    distances: list[float] = []
    for k in last:
        evidence = group[k].evidence()
        source, target, probs = evidence.source_features, evidence.target_features, evidence.target_probs
        if source is None or target is None or probs is None:
            return scores
        labels.append(probs.argmax(1))
        distances.append(a_distance(thinned(source), thinned(target)))
    for k, value in zip(last, balanced(labels, distances)):
        scores[k] = value
    return scores


def thinned(x: Tensor) -> Tensor:
    """Every k-th row, at most 20,000."""
    return x[:: -(-len(x) // ROWS)]


def balanced(labels: Sequence[Tensor], distances: Sequence[float]) -> list[float]:
    """Scores of candidates in the order of growing trade-off, from predicted labels (n,) and distances."""
    scores = [0.0]
    for i in range(1, len(labels)):
        allowed = distances[i] * (2 + 2 * BOUND / max(distances[0], 1e-9))
        differ = max(float((labels[i] != labels[j]).double().mean()) for j in range(i))
        excess = differ - allowed
        scores.append(float(i) if excess < 0 or differ == 0 else -1.0 - excess)
    return scores
