"""What ``reasons`` measures about one case on one pair: objectives of both answers, and single differences swapped."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.peers.by_adapt import QUIET, _gammas, ridge
from benchmarks.peers.by_skada import nearest
from benchmarks.peers.cases import Case, Pair, fixed
from benchmarks.peers.shallow import given, ours
from dazoo.core.types import Seen
from dazoo.methods.base import Context, create_method
from dazoo.methods.reweighting._lsif import LAMBDAS
from dazoo.shallow.classifiers import classifier

Sides = dict[str, tuple[float, float]]  # quantity: dazoo's value and the peer's, NaN where a side has none
NONE = float("nan")
LONG = 60  # rounds of a group lasso


def context(case: Case, pair: Pair) -> Context:
    """What the engine lends dazoo's method, with the width that both sides are given."""
    return Context(torch.Generator().manual_seed(0), classifier(case.classifier), given(pair))


def accuracy(predicted: np.ndarray, y: np.ndarray) -> float:
    """In percent."""
    return 100.0 * float(np.mean(np.asarray(predicted).ravel() == y))


def exact_svd(module: str, case: Case, seen: Seen, pair: Pair, y: np.ndarray) -> Sides:
    """The peer with the exact PCA of scikit-learn in place of the randomised one."""
    from sklearn.decomposition import PCA

    with patch.object(importlib.import_module(module), "PCA", functools.partial(PCA, svd_solver="full")):
        exact = case.peer(pair)
    mine = ours(case, seen, pair)()
    return {
        "accuracy, exact PCA on both sides": (accuracy(mine, y), accuracy(exact, y)),
        "samples that the sides then answer differently": (int((mine != exact).sum()),) * 2,
    }


def pencil(case: Case, seen: Seen, pair: Pair, y: np.ndarray) -> Sides:
    """How well each side's components solve its own eigenproblem, and the peer's equation solved exactly."""
    from scipy.linalg import eigh
    from skada._subspace import TransferComponentAnalysisAdapter
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import normalize

    from dazoo.methods.subspace._pencil import pencil_of
    from dazoo.methods.subspace.tca import TCA

    n_s, n_t, mu = len(pair.xs), len(pair.xt), 1.0 / (1 / len(pair.xs) + 1 / len(pair.xt))
    x = normalize(np.concatenate([pair.xs, pair.xt]))
    e = np.concatenate([np.full(n_s, 1 / n_s), np.full(n_t, -1 / n_t)])
    centred = x - x.mean(0)

    method = create_method("tca", **case.hparams(pair))
    assert isinstance(method, TCA)
    mine = method.solve(pencil_of(seen, context(case, pair), "linear", True, spanned=False)).numpy()
    towards = x.T @ (e / np.linalg.norm(e))
    own = residual(centred.T @ (centred @ mine), np.outer(towards, towards @ mine) + method.mu * mine, mine)

    k = x @ x.T
    kh = k - k.mean(1)[:, None]
    a, b = np.eye(n_s + n_t) + mu * np.outer(k @ e, k @ e), kh @ kh.T
    domains = np.concatenate([np.ones(n_s, dtype=int), np.full(n_t, -2)])
    peer = TransferComponentAnalysisAdapter(kernel="linear", n_components=method.dim, mu=mu)
    found = peer.fit(x, sample_domain=domains).eigvects_
    n = n_s + n_t
    z = normalize(k @ eigh(b, a, subset_by_index=[n - method.dim, n - 1])[1])
    exact = KNeighborsClassifier(1).fit(z[:n_s], pair.ys).predict(z[n_s:])
    return {
        "residual of the components": (own, residual(b @ found, a @ found, found)),
        "accuracy, the peer's equation solved as a symmetric pencil": (NONE, accuracy(exact, y)),
    }


def residual(bv: np.ndarray, av: np.ndarray, v: np.ndarray) -> float:
    """||B V - A V diag(l)|| / ||B V||, every l the best fit."""
    values = (av * bv).sum(0) / (av * av).sum(0)
    return float(np.linalg.norm(bv - av * values) / np.linalg.norm(bv))


def mean_matching(case: Case, seen: Seen, pair: Pair, y: np.ndarray) -> Sides:
    """The objective of KMM at both answers, and the peer's after twenty times its steps."""
    from skada._reweight import KMMReweightAdapter
    from sklearn.metrics.pairwise import rbf_kernel

    gamma = 1 / (2 * pair.width**2)
    n, k = len(pair.xs), rbf_kernel(pair.xs, gamma=gamma)
    to_target, within = rbf_kernel(pair.xs, pair.xt, gamma=gamma).mean(1), rbf_kernel(pair.xt, gamma=gamma).mean()

    def objective(w: np.ndarray) -> float:
        return float(w @ k @ w / n**2 - 2 * w @ to_target / n + within)

    mine = create_method("kmm", **case.hparams(pair)).weights(seen, context(case, pair)).numpy()
    weights = [
        KMMReweightAdapter(gamma=gamma, max_iter=steps)._weights_optimization(pair.xs, pair.xt)
        for steps in (1000, 20_000)
    ]
    finished = ridge().fit(pair.xs, pair.ys, sample_weight=weights[1]).predict(pair.xt)
    solved = ridge().fit(pair.xs, pair.ys, sample_weight=mine).predict(pair.xt)
    return {
        "objective": (objective(mine), objective(weights[0])),
        "objective, 20,000 steps": (NONE, objective(weights[1])),
        "accuracy, 20,000 steps": (NONE, accuracy(finished, y)),
        "accuracy, the peer's classifier on dazoo's weights": (NONE, accuracy(solved, y)),
    }


def relative_ratio(case: Case, seen: Seen, pair: Pair, y: np.ndarray) -> Sides:
    """The paper's held-out objective at both choices of width and ridge, and the peer at dazoo's choice."""
    from adapt.instance_based import RULSIF

    method = create_method("rulsif", **case.hparams(pair))
    _, sigma, lam = method.choose(seen, context(case, pair))
    mine = (1 / (2 * float(sigma) ** 2), lam)
    options: dict[str, Any] = {"alpha": method.alpha, **QUIET}
    chosen = RULSIF(ridge(), gamma=_gammas(pair), lambdas=list(LAMBDAS), **options)
    best = chosen.fit(pair.xs, pair.ys, Xt=pair.xt).best_params_
    told = RULSIF(ridge(), gamma=[mine[0]], lambdas=[mine[1]], **options).fit(pair.xs, pair.ys, Xt=pair.xt)
    return {
        "held-out objective": (
            held_out(pair, method.alpha, *mine),
            held_out(pair, method.alpha, best["k"]["gamma"], best["lamb"]),
        ),
        "accuracy, the peer at dazoo's width and ridge": (NONE, accuracy(told.predict(pair.xt), y)),
    }


def held_out(pair: Pair, alpha: float, gamma: float, lam: float, draws: int = 5, folds: int = 5) -> float:
    """RuLSIF's objective on held-out samples, a mean over folds and draws of centres and folds."""
    from sklearn.metrics.pairwise import rbf_kernel

    scores = []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        centres = pair.xt[rng.permutation(len(pair.xt))[:100]]
        ks, kt = (rbf_kernel(x, centres, gamma=gamma) for x in (pair.xs, pair.xt))
        of_s, of_t = (rng.permutation(len(x)) % folds for x in (pair.xs, pair.xt))
        for fold in range(folds):
            s, t = ks[of_s != fold], kt[of_t != fold]
            moments = alpha * t.T @ t / len(t) + (1 - alpha) * s.T @ s / len(s)
            theta = np.maximum(0, np.linalg.solve(moments + lam * np.eye(len(centres)), t.mean(0)))
            rs, rt = ks[of_s == fold] @ theta, kt[of_t == fold] @ theta
            scores.append(alpha * np.mean(rt**2) / 2 + (1 - alpha) * np.mean(rs**2) / 2 - rt.mean())
    return float(np.mean(scores))


def group_lasso(case: Case, seen: Seen, pair: Pair, y: np.ndarray) -> Sides:
    """The objective of the group lasso at both plans, and how far their rows are from 1 / n_s."""
    import ot

    h = case.hparams(pair)
    cost = ot.dist(pair.xs, pair.xt) / pair.top
    members = np.eye(pair.ys.max() + 1)[pair.ys]
    a, b = ot.unif(len(pair.xs)), ot.unif(len(pair.xt))
    peer = ot.da.sinkhorn_l1l2_gl(
        a, pair.ys, b, cost * pair.top, h["reg"] * pair.top, h["class_weight"] * pair.top,
        numItermax=h["rounds"], numInnerItermax=h["iterations"], stopInnerThr=1e-8,
    )  # fmt: skip
    mine = create_method("ot_group_lasso", **h).plan(seen, context(case, pair)).numpy()

    def objective(plan: np.ndarray) -> float:
        plan = np.maximum(plan, 1e-300)
        return float(
            (plan * cost).sum() + h["reg"] * (plan * np.log(plan)).sum()
            + h["class_weight"] * np.sqrt(members.T @ plan**2).sum()
        )  # fmt: skip

    def off(plan: np.ndarray) -> float:
        return float(np.abs(plan.sum(1) / a - 1).max() + np.abs(plan.sum(0) / b - 1).max())

    # both sides once more with as many rounds as they take to settle
    longer = {**h, "rounds": LONG}
    settled = create_method("ot_group_lasso", **longer).plan(seen, context(case, pair)).numpy()
    peers = ot.da.sinkhorn_l1l2_gl(
        a, pair.ys, b, cost * pair.top, h["reg"] * pair.top, h["class_weight"] * pair.top,
        numItermax=LONG, numInnerItermax=h["iterations"], stopInnerThr=1e-8,
    )  # fmt: skip

    def told(plan: np.ndarray) -> float:
        return accuracy(nearest().fit(plan @ pair.xt / plan.sum(1)[:, None], pair.ys).predict(pair.xt), y)

    return {
        "objective": (objective(mine), objective(peer)),
        "relative error of the masses": (off(mine), off(peer)),
        f"objective, {LONG} rounds": (objective(settled), objective(peers)),
        f"accuracy, {LONG} rounds": (told(settled), told(peers)),
    }


def same_loss(case: Case, seen: Seen, pair: Pair, y: np.ndarray) -> Sides:
    """Two of the classes as -1 and 1, squared loss and ridge 10 on both sides: the peer's regressor."""
    from skada._ot import solve_jdot_regression
    from sklearn.linear_model import Ridge

    from benchmarks.peers.shallow import pair_of
    from dazoo.core.types import Labeled

    assert seen.source is not None
    rows = seen.source.y < 2
    source = Labeled(seen.source.x[rows], seen.source.y[rows], seen.source.domain[rows])
    fewer = dataclasses.replace(seen, source=source, n_classes=2)
    two = pair_of(fewer)
    # of one-hot rows, (1, 0) and (0, 1), the squared distance is half that of -1 and 1
    mine = ours(
        dataclasses.replace(case, hparams=fixed(rounds=10, ridge=10.0, alpha=two.top / two.mean / 2)), fewer, two
    )()
    model, *_ = solve_jdot_regression(Ridge(10.0), two.xs, 2.0 * two.ys - 1, two.xt, alpha=0.5, n_iter_max=10, tol=0.0)
    differ = int((mine != (model.predict(two.xt) > 0)).sum())
    return {"samples answered differently, two source classes and squared loss on both sides": (differ, differ)}


def boosting(case: Case, seen: Seen, pair: Pair, y: np.ndarray) -> Sides:
    """TrAdaBoost: adapt's steps written out, with single differences swapped."""
    from adapt.instance_based import TrAdaBoost

    h = case.hparams(pair)
    hard = ours(dataclasses.replace(case, hparams=fixed(**{**h, "soft": False})), seen, pair)()
    x, labels = np.concatenate([pair.xs, pair.fx]), np.concatenate([pair.ys, pair.fy])
    pooled = ridge().fit(x, labels).predict(pair.xt)
    one = TrAdaBoost(ridge(), n_estimators=h["rounds"], **QUIET).fit(pair.xs, pair.ys, Xt=pair.fx, yt=pair.fy)
    plain, classes, samme = (
        boosted(pair, h["rounds"], soft=soft, samme=factor) for soft, factor in ((1, 0), (0, 0), (1, 1))
    )
    return {
        "accuracy, one classifier on all labelled samples": (accuracy(pooled, y),) * 2,
        "accuracy, losses and votes by classes": (accuracy(hard, y), accuracy(classes, y)),
        "accuracy, every member the last classifier": (NONE, accuracy(one.predict(pair.xt), y)),
        "accuracy, adapt's steps written out": (NONE, accuracy(plain, y)),
        "accuracy, these with b_t = e_t / ((1 - e_t) (C - 1))": (NONE, accuracy(samme, y)),
    }


def boosted(pair: Pair, rounds: int, soft: int, samme: int) -> np.ndarray:
    """adapt 0.4.5's rounds on ridge classifiers, by its probabilities or by classes, by its b_t or SAMME's."""
    x, y, n_s = np.concatenate([pair.xs, pair.fx]), np.concatenate([pair.ys, pair.fy]), len(pair.xs)
    hot = np.eye(y.max() + 1)
    source_rate = 1 / (1 + np.sqrt(2 * np.log(n_s) / rounds))

    def said(model: Any, at: np.ndarray) -> np.ndarray:
        if not soft:
            return np.asarray(hot[model.predict(at)])
        sure = 1 / (1 + np.exp(-model.decision_function(at)))
        return np.asarray(sure / sure.sum(1, keepdims=True))

    w, total = np.ones(len(x)), np.zeros((len(pair.xt), len(hot)))
    for t in range(rounds):
        model = ridge().fit(x, y, sample_weight=w)
        loss = np.abs(said(model, x) - hot[y]).sum(1) / 2
        error = max(np.average(loss[n_s:], weights=w[n_s:]), 1e-9)
        vote = np.log((1 - error) * (len(hot) - 1) / error) if samme else np.log((2 - error) / error)
        w = np.concatenate([w[:n_s] * source_rate ** loss[:n_s], w[n_s:] * np.exp(vote * loss[n_s:])])
        w /= w.sum()
        if t >= rounds // 2:
            total += vote * said(model, pair.xt)
    return np.asarray(total.argmax(1))
