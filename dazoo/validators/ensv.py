"""EnsV: agreement with the ensemble of all candidates.

    e(x) = (1/m) sum_k p_k(x),    V_k = (1/n) sum_i [argmax_c p_k(x_i)_c = argmax_c e(x_i)_c]

over the m candidates of a group (all checkpoints of all trials of a method on a task with one seed), with p_k (n, C)
the class probabilities of target samples. The ensemble's log loss is at most the mean of the candidates', so it is
never the worst of them. Hu, Luo, Liang, Foo: Towards Reliable Model Selection for Unsupervised Domain Adaptation: An
Empirical Study and A Certified Baseline. NeurIPS 2024 (Datasets and Benchmarks).
https://openreview.net/forum?id=rI7kbFTSpr

Deviation: the paper's candidates are the last models of several hyper-parameter values; here earlier checkpoints are
candidates as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dazoo.validators.base import Candidate, register_validator


@register_validator(cost="costly")
def ensv(group: Sequence[Candidate]) -> list[float | None]:
    """Share of target samples on which a candidate agrees with the ensemble of all candidates of its group."""
    total: Tensor | None = None
    labels: list[Tensor] = []
    for candidate in group:
        probs = candidate.evidence().target_probs
        if probs is None:
            return [None] * len(group)
        total = probs.clone() if total is None else total + probs
        labels.append(probs.argmax(1))
    if total is None:
        return []
    ensemble = total.argmax(1)
    return [float((each == ensemble).double().mean()) for each in labels]
