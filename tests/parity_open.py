"""The recorded formulas of open-set and universal adaptation; see ``tests.parity_settings``."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from dazoo.ops import openset, universal


def _sta(ps: Tensor, y: Tensor, pt: Tensor, k: Tensor, ds: Tensor, dt: Tensor, pu: Tensor) -> Tensor:
    terms = openset.known_unknown_terms(ps, y, pt, k, ds, dt, pu)
    return terms["cls"] + 0.3 * terms["dom"] + 0.1 * terms["ent"] + 0.3 * terms["unknown"]


def _uan(ls: Tensor, lt: Tensor, ds: Tensor, dt: Tensor, probe_s: Tensor, probe_t: Tensor) -> Tensor:
    source = universal.private_score(ls, ds.squeeze(1), 10.0, eps=1e-10)
    target = -universal.private_score(lt, dt.squeeze(1), 1.0, eps=1e-10)
    weights = [universal.batch_weights(w)[:, None] for w in (source, target)]
    return (probe_s * weights[0]).sum() + (probe_t * weights[1]).sum()


def _cmu(l: Tensor, probe_e: Tensor, probe_c: Tensor) -> Tensor:  # noqa: E741
    entropy, inconsistency, _ = universal.ensemble_uncertainty(l, eps=1e-10)
    return (probe_e * entropy).sum() + (probe_c * inconsistency).sum()


def _dance_nc(l: Tensor, f: Tensor, rows: Tensor, bank: Tensor, T: Tensor) -> Tensor:  # noqa: E741
    return universal.neighbourhood_entropy(l, f, rows, bank, T, eps=1e-5)


def _dance_es(l: Tensor, thr: Tensor, m: Tensor) -> Tensor:  # noqa: E741
    return universal.entropy_separation(l, thr, m, eps=1e-5, floor=True)


def _sinkhorn(s: Tensor, eps: Tensor, rounds: Tensor, probe: Tensor) -> Tensor:
    return (probe * universal.balanced_assignment(s, eps, int(rounds))).sum()


def _ccd(s: Tensor, beta: Tensor, probe: Tensor, probe_r: Tensor) -> Tensor:
    n, c = s.shape
    g = universal.class_potentials(s, beta, rounds=100_000, tolerance=1e-12)
    q = universal.row_plan(s, g, beta).flatten().softmax(0).view(n, c)
    found, label = q.max(1)
    kept = (found > 1 / n) & (q.sum(0)[label] >= 1 / c)
    return (probe * q.sum(0)).sum() + (probe_r * kept * (1 + label)).sum()


def _glc(l: Tensor, y: Tensor, q: Tensor, lam: Tensor) -> Tensor:  # noqa: E741
    return lam * universal.soft_pseudo_loss(l, y, eps=1e-5) + universal.soft_pseudo_loss(l, q, eps=1e-5)


OPEN: dict[str, Callable[..., Tensor]] = {
    "sf_glc": _glc,
    "oda_sta_stage2": _sta,
    "uni_uan_weights": _uan,
    "uni_cmu_uncertainty": _cmu,
    "uni_dance_nc": _dance_nc,
    "uni_dance_es": _dance_es,
    "uni_sinkhorn": _sinkhorn,
    "uni_uniot_ccd": _ccd,
}
