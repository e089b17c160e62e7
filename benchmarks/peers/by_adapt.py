"""adapt's side: one case for every shallow class that it has in common with dazoo.

Its ``LDM`` is left out: the semidefinite programme it states in d features has 2 d^2 rows, 1.3 million at d = 800.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers.by_skada import nearest
from benchmarks.peers.cases import Case, Pair, Peer, fixed, mean_one
from dazoo.core.setting import FEW_LABELS
from dazoo.methods.reweighting._lsif import LAMBDAS
from dazoo.methods.reweighting._ratio import GRID

SLOW = 2  # pairs for what needs a minute on the large ones
QUIET: dict[str, Any] = {"verbose": 0, "copy": False, "random_state": 0}


def ridge() -> Any:
    from sklearn.linear_model import RidgeClassifier

    return mean_one(RidgeClassifier)(alpha=1.0)


def adapt(build: Callable[[Pair], Any], few: bool = False, domain: str | None = None) -> Peer:
    """Fit with the target's samples, or with its few labelled ones, and predict the target."""

    def run(pair: Pair) -> np.ndarray:
        model = build(pair)
        if few:
            model.fit(pair.xs, pair.ys, Xt=pair.fx, yt=pair.fy)
        else:
            model.fit(pair.xs, pair.ys, Xt=pair.xt)
        found = model.predict(pair.xt, domain=domain) if domain else model.predict(pair.xt)
        return np.asarray(found).ravel()

    return run


def _gammas(pair: Pair) -> list[float]:
    return [1 / (2 * (pair.width * g) ** 2) for g in GRID]


def _made(name: str, estimator: Callable[[], Any] = ridge, **options: Any) -> Callable[[Pair], Any]:
    def build(pair: Pair) -> Any:
        import adapt.feature_based
        import adapt.instance_based
        import adapt.parameter_based

        for part in (adapt.feature_based, adapt.instance_based, adapt.parameter_based):
            if hasattr(part, name):
                filled = {k: v(pair) if callable(v) else v for k, v in options.items()}
                return getattr(part, name)(estimator(), **{**QUIET, **filled})
        raise AttributeError(f"adapt has no class {name}")

    return build


def _tca(pair: Pair) -> np.ndarray:
    import adapt.feature_based
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer, normalize

    mu = 1.0 / (1 / len(pair.xs) + 1 / len(pair.xt))
    model = adapt.feature_based.TCA(
        make_pipeline(Normalizer(), nearest()), n_components=20, mu=mu, kernel="linear", **QUIET
    )
    xt = normalize(pair.xt)
    model.fit(normalize(pair.xs), pair.ys, Xt=xt)
    return np.asarray(model.predict(xt, domain="tgt")).ravel()


def _from_source(name: str, learn: Callable[[], Any], **options: Any) -> Peer:
    """Parameter transfer: the source model first, then adapt's class on the few labelled target samples."""

    def run(pair: Pair) -> np.ndarray:
        import adapt.parameter_based

        made = getattr(adapt.parameter_based, name)(learn().fit(pair.xs, pair.ys), **options, **QUIET)
        made.fit(pair.fx, pair.fy)
        return np.asarray(made.predict(pair.xt)).ravel()

    return run


def _forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(50, random_state=0)


def _boosted() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)


ADAPT: tuple[Case, ...] = (
    Case("sa", "sa", adapt(_made("SA", nearest, n_components=20), domain="tgt"), fixed(dim=20)),
    Case("coral", "coral", adapt(_made("CORAL", nearest, lambda_=1.0), domain="tgt"),
         fixed(reg=1.0, align_means=False), smallest=SLOW),
    Case("tca", "tca", _tca, fixed(dim=20, mu=1.0), smallest=SLOW),
    Case("fmmd", "fmmd", adapt(_made("fMMD", nearest, threshold=0.1), domain="tgt"), fixed(threshold=0.1),
         smallest=1, features=("SURF",)),
    Case("kmm", "kmm", adapt(_made("KMM", gamma=lambda p: 1 / (2 * p.width**2))), classifier="ridge", smallest=SLOW),
    Case("kliep", "kliep", adapt(_made("KLIEP", gamma=_gammas)), classifier="ridge", smallest=1),
    Case("ulsif", "ulsif", adapt(_made("ULSIF", gamma=_gammas, lambdas=list(LAMBDAS))), classifier="ridge"),
    Case("rulsif", "rulsif", adapt(_made("RULSIF", gamma=_gammas, lambdas=list(LAMBDAS), alpha=0.5)),
         fixed(alpha=0.5), classifier="ridge"),
    Case("nearest_neighbor_weighting", "nearest_neighbor_weighting",
         adapt(_made("NearestNeighborsWeighting", n_neighbors=1)), fixed(smoothing=0.0), classifier="ridge"),
    Case("discriminator_ratio", "discriminator_ratio", adapt(_made("IWC", classifier=lambda p: _boosted())),
         classifier="ridge"),
    Case("balanced_weighting", "balanced_weighting", adapt(_made("BalancedWeighting", gamma=0.5), few=True),
         fixed(gamma=0.5), classifier="ridge", setting=FEW_LABELS),
    # without copies adapt refits one and the same object, and its committee is the last classifier, ten times over
    Case("tradaboost", "tradaboost", adapt(_made("TrAdaBoost", n_estimators=10, copy=True), few=True),
         fixed(rounds=10, soft=True), classifier="ridge", setting=FEW_LABELS),
    Case("easyadapt", "easyadapt", adapt(_made("FA"), few=True, domain="tgt"), classifier="ridge", setting=FEW_LABELS),
    Case("prediction_feature", "prediction_feature", adapt(_made("PRED"), few=True, domain="tgt"), classifier="ridge",
         setting=FEW_LABELS),
    Case("linear_interpolation", "linear_interpolation", adapt(_made("LinInt", prop=0.5), few=True), classifier="ridge",
         setting=FEW_LABELS, counted=False),
    Case("regular_transfer", "regular_transfer", _from_source("RegularTransferLC", ridge, lambda_=1.0),
         classifier="ridge", setting=FEW_LABELS, counted=False),
    Case("transfer_forest", "transfer_forest", _from_source("TransferForestClassifier", _forest, algo="ser"),
         fixed(variant="ser", trees=50), classifier="ridge", smallest=1, setting=FEW_LABELS),
)  # fmt: skip
