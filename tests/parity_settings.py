"""The recorded formulas of settings beyond the closed set, as far as dazoo has them today.

Every function takes a case's inputs by their names. A vector result r is recorded as ``sum(probe * r)``.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dazoo.bench.metrics import formulas
from dazoo.methods.base import Context
from dazoo.methods.reweighting._label_shift import Confusion
from dazoo.methods.reweighting.bbse import solve_bbse
from dazoo.methods.semi_supervised.mme import MME
from dazoo.nets.net import Net
from dazoo.ops import (
    active,
    adversarial,
    entropy,
    neighbourhood,
    openset,
    partial,
    selftraining,
    source_free,
    sources,
)
from dazoo.ops.classwise import one_hot
from dazoo.shallow.classifiers import classifier
from tests.parity_generalisation import GENERALISATION
from tests.parity_open import OPEN
from tests.parity_spaces import SPACES
from tests.parity_stream import STREAM


def _shot_labels(f: Tensor, l: Tensor, threshold: Tensor, probe: Tensor) -> Tensor:  # noqa: E741
    return (probe * selftraining.centroid_labels(f, l.softmax(-1), int(threshold))).sum()


def _banks(f: Tensor, l: Tensor, rows: Tensor, bank_f: Tensor, bank_p: Tensor) -> tuple[Tensor, Tensor]:  # noqa: E741
    """Both banks with the batch as it is now."""
    new = normalize(f, dim=-1), l.softmax(-1)
    return neighbourhood.renewed(bank_f, rows, new[0]), neighbourhood.renewed(bank_p, rows, new[1])


def _nrc(flat: bool) -> Callable[..., Tensor]:
    def loss(l: Tensor, f: Tensor, rows: Tensor, bank_f: Tensor, bank_p: Tensor, k: Tensor, kk: Tensor) -> Tensor:  # noqa: E741
        banks = _banks(f, l, rows, bank_f, bank_p)
        near, far = neighbourhood.nrc(l, f, rows, *banks, int(k), int(kk), flat=flat)
        return near + far - entropy.diversity(l.softmax(-1))

    return loss


def _aad(l: Tensor, f: Tensor, rows: Tensor, bank_f: Tensor, bank_p: Tensor, k: Tensor, alpha: Tensor) -> Tensor:  # noqa: E741
    attract, disperse = neighbourhood.aad(l, f, rows, *_banks(f, l, rows, bank_f, bank_p), int(k))
    return attract + alpha * disperse


def _gsfda(hidden: bool) -> Callable[..., Tensor]:
    """Local clustering with the two nearest rows of the bank as it was: all of it, or without the batch."""

    def loss(l: Tensor, f: Tensor, rows: Tensor, bank_f: Tensor, bank_p: Tensor) -> Tensor:  # noqa: E741
        if hidden:
            bank_f = bank_f.index_fill(0, rows, -0.1)
        nobody = torch.full_like(rows, -1)
        near = neighbourhood.similar_rows(f, nobody, bank_f, 2)
        return sum(neighbourhood.local_clustering(l, bank_p[near]))  # type: ignore[return-value]

    return loss


def _unknown_split(l: Tensor, probe: Tensor) -> Tensor:  # noqa: E741
    _, threshold, unknown = source_free.unknown_split(l.softmax(-1))
    return threshold + (probe * ~unknown).sum()


def _dine_targets(q: Tensor, p: Tensor, top: Tensor, gamma: Tensor, probe: Tensor) -> Tensor:
    return (probe * (gamma * source_free.top_smoothed(q, int(top)) + (1.0 - gamma) * p)).sum()


def _dine_loss(l: Tensor, q: Tensor, lm: Tensor, perm: Tensor, lam: Tensor, mix: Tensor) -> Tensor:  # noqa: E741
    p = l.softmax(-1).detach()
    mixed = source_free.soft_target_kl(lm, lam * p + (1.0 - lam) * p[perm])
    return source_free.soft_target_kl(l, q) + entropy.info_max(l) + mix * mixed


def _label_smoothing(l: Tensor, y: Tensor) -> Tensor:  # noqa: E741
    return Net.criterion(SimpleNamespace(regression=False, smooth=0.1), l, y)  # type: ignore[arg-type]


def _mme(f: Tensor, w: Tensor, T: Tensor, lam: Tensor) -> Tensor:
    net = SimpleNamespace(head=SimpleNamespace(weight=w))
    return -lam * entropy.entropy_mean(MME(temperature=T).scores(net, f).softmax(-1))


def _ovanet_source(o: Tensor, y: Tensor) -> Tensor:
    return 0.5 * openset.one_vs_all(o.transpose(1, 2), one_hot(y, o.shape[2], o.dtype), eps=1e-8)


def _by_domain(domain: Tensor) -> Tensor:
    return one_hot(domain, int(domain.max()) + 1, torch.float64)


def _mdan(e: Tensor, h: Tensor, mu: Tensor, gamma: Tensor) -> Tensor:
    every = torch.ones_like(e)
    return sources.smooth_worst(e, h, every, mu, gamma) + sources.hard_worst(e, h, every, mu)


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


def _pada_loss(l: Tensor, y: Tensor, w: Tensor, fs: Tensor, ft: Tensor, v: Tensor) -> Tensor:  # noqa: E741
    rows = torch.cat([w[y], w[y].mean().expand(len(ft))])
    game = adversarial.domain_bce(torch.cat([fs, ft]) @ v, len(fs), rows, saturate=True)
    return partial.weighted_cross_entropy(l, y, w[y]) + game


def _iwan(fs: Tensor, ft: Tensor, v: Tensor, u: Tensor, lt: Tensor, k: Tensor, gamma: Tensor) -> Tensor:
    both = torch.cat([fs, ft])
    far = (both.detach() @ v).squeeze(1)
    weights = torch.cat([partial.outlier_weights(far[: len(fs)], eps=1e-5), torch.ones_like(far[len(fs) :])])
    weigh = adversarial.domain_bce(far, len(fs), saturate=True)
    game = adversarial.domain_bce(both @ u, len(fs), weights, saturate=True)
    return 1.5 * k * weigh + k * game + gamma * entropy.entropy_mean(lt.softmax(1))


def _etn(as_: Tensor, at: Tensor, y: Tensor, k: Tensor, probe: Tensor) -> Tensor:
    rows = partial.leaky_one_vs_rest(as_, one_hot(y, as_.shape[1], as_.dtype))
    weights = partial.transferability(as_, eps=1e-10)
    return rows + k * partial.leaky_domain_bce(as_, at) + (probe * weights).sum()


def _ba3us(f: Tensor, ent: Tensor, c: Tensor, v: Tensor, m: Tensor) -> Tensor:
    n, weights = (len(f) - int(m)) // 2, c * (1.0 + torch.exp(-ent))
    return partial.borrowed_domain_bce((f @ v).squeeze(1), n, n, weights, int(m) / n, saturate=True)


def _probed(probe: Tensor, found: dict[str, float], *names: str) -> Tensor:
    return (probe * torch.tensor([found[n] for n in names], dtype=probe.dtype)).sum()


def _open_set(y: Tensor, h: Tensor, n_known: Tensor, probe: Tensor) -> Tensor:
    found = formulas.open_set_metrics(h.numpy(), y.numpy(), int(n_known))
    return _probed(probe, found, "os", "os_star", "unk", "hos")


def _unknown_ranking(y: Tensor, h: Tensor, u: Tensor, n_known: Tensor, probe: Tensor) -> Tensor:
    found = formulas.unknown_ranking(h.numpy(), y.numpy(), u.numpy(), int(n_known))
    return _probed(probe, found, "auroc_unknown", "oscr")


def _clustering(y: Tensor, h: Tensor, probe: Tensor) -> Tensor:
    return _probed(probe, formulas.cluster_metrics(h.numpy(), y.numpy()), "cluster_acc", "nmi", "ari")


def _prior_errors(t: Tensor, q: Tensor, eps: Tensor, probe: Tensor) -> Tensor:
    found = formulas.prior_errors(q.numpy(), t.numpy(), float(eps))
    return _probed(probe, found, "prior_mae", "prior_rae", "prior_kld")


SETTINGS: dict[str, Callable[..., Tensor]] = {
    **OPEN,
    **STREAM,
    **SPACES,
    "sf_infomax": lambda l: entropy.info_max(l),  # noqa: E741
    "sf_label_smoothing": _label_smoothing,
    "sf_shot_labels": _shot_labels,
    "sf_unknown_split": _unknown_split,
    "sf_nrc": _nrc(flat=False),
    "sf_nrc_flat": _nrc(flat=True),
    "sf_aad": _aad,
    "sf_gsfda": _gsfda(hidden=False),
    "sf_gsfda_hidden": _gsfda(hidden=True),
    "sf_cowa_jmds": lambda f, l, eps, probe: (probe * source_free.jmds(f, l.softmax(-1), eps)[1]).sum(),  # noqa: E741
    "sf_decision": lambda l, w: entropy.info_max(source_free.mixed_scores(l, w)),  # noqa: E741
    "bb_dine_targets": _dine_targets,
    "bb_dine_loss": _dine_loss,
    "tta_memo": lambda l: entropy.diversity(l.softmax(-1), eps=0.0),  # noqa: E741
    "uni_ovanet_source": _ovanet_source,
    "uni_ovanet_target": lambda o: openset.one_vs_all_entropy(o.transpose(1, 2), eps=1e-8),
    "ssda_mme_entropy": _mme,
    "ms_m3sda_paper": lambda f, domain, ft, K: sources.moment_distance(f, ft, _by_domain(domain), int(K)),
    "ms_m3sda_code": lambda s, ft, K: sources.moment_distance_as_program(s, ft, int(K)),
    "ms_coral": lambda f, domain, ft: sources.coral_by_source(f, ft, _by_domain(domain)),
    "ms_mdan": _mdan,
    "ms_dctn": lambda d, a, p, probe: (probe * sources.perplexity_vote(torch.logit(d), a, p)).sum(),
    "prior_adjusted_counts": _counts,
    "pda_pada_weights": lambda l, T, probe: (probe * partial.class_weights(l, T)).sum(),  # noqa: E741
    "pda_pada_loss": _pada_loss,
    "pda_iwan": _iwan,
    "pda_etn_aux": _etn,
    "pda_ba3us_complement": lambda l, y, cw, alpha: partial.complement_entropy(l, y, cw[y], alpha),  # noqa: E741
    "pda_ba3us_adv": _ba3us,
    "active_aada": lambda l, g, probe: (probe * active.aada(l, g[:, 1] - g[:, 0])).sum(),  # noqa: E741
    "active_clue_weights": lambda l, T, probe: (probe * active.clue_weights(l, float(T))).sum(),  # noqa: E741
    "metric_open_set": _open_set,
    **GENERALISATION,
    "metric_unknown_ranking": _unknown_ranking,
    "metric_clustering": _clustering,
    "prior_errors": _prior_errors,
}
