"""The recorded formulas of settings beyond the closed set, as far as dazoo has them today.

Every function takes a case's inputs by their names. A vector result r is recorded as ``sum(probe * r)``.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor

from dazoo.methods.base import Context
from dazoo.methods.reweighting._label_shift import Confusion
from dazoo.methods.reweighting.bbse import solve_bbse
from dazoo.methods.selftraining.mme import MME
from dazoo.ops import entropy, moments, openset, selftraining, sources
from dazoo.ops.classwise import one_hot
from dazoo.shallow.classifiers import classifier


def _shot_labels(f: Tensor, l: Tensor, threshold: Tensor, probe: Tensor) -> Tensor:  # noqa: E741
    return (probe * selftraining.centroid_labels(f, l.softmax(-1), int(threshold))).sum()


def _mme(f: Tensor, w: Tensor, T: Tensor, lam: Tensor) -> Tensor:
    net = SimpleNamespace(head=SimpleNamespace(weight=w))
    return -lam * entropy.entropy_mean(MME(temperature=T)._scores(net, f).softmax(-1))


def _ovanet_source(o: Tensor, y: Tensor) -> Tensor:
    return 0.5 * openset.one_vs_all(o.transpose(1, 2), one_hot(y, o.shape[2], o.dtype), eps=1e-8)


def _by_domain(domain: Tensor) -> Tensor:
    return one_hot(domain, int(domain.max()) + 1, torch.float64)


def _coral(f: Tensor, domain: Tensor, ft: Tensor) -> Tensor:
    return torch.stack([moments.coral(f[domain == d], ft) for d in domain.unique()]).mean()


def _counts(y: Tensor, p: Tensor, pt: Tensor, probe: Tensor) -> Tensor:
    """Class shares of the target: as predicted, and as BBSE corrects them, with hard and with soft predictions."""
    n_classes = p.shape[1]
    belongs = one_hot(y, n_classes, p.dtype)
    hard = [one_hot(probabilities.argmax(1), n_classes, p.dtype) for probabilities in (p, pt)]
    rows = []
    for held, target in (hard, (p, pt)):
        found = Confusion(held.T @ belongs / len(y), target.mean(0), belongs.mean(0))
        share = found.share * solve_bbse(found, Context(torch.Generator(), classifier("logistic")))
        rows += [found.target, share / share.sum()]
    return (probe * torch.stack(rows)).sum()


SETTINGS: dict[str, Callable[..., Tensor]] = {
    "sf_infomax": lambda l: entropy.info_max(l),  # noqa: E741
    "sf_shot_labels": _shot_labels,
    "tta_memo": lambda l: entropy.diversity(l.softmax(-1), eps=0.0),  # noqa: E741
    "uni_ovanet_source": _ovanet_source,
    "uni_ovanet_target": lambda o: openset.one_vs_all_entropy(o.transpose(1, 2), eps=1e-8),
    "ssda_mme_entropy": _mme,
    "ms_m3sda_paper": lambda f, domain, ft, K: sources.moment_distance(f, ft, _by_domain(domain), int(K)),
    "ms_coral": _coral,
    "prior_adjusted_counts": _counts,
}
