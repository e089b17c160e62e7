"""skada's side: one case for every class that it has in common with dazoo."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers.cases import TARGET, Case, Pair, Peer, fixed, mean_one
from dazoo.methods.reweighting._ratio import GRID

SLOW = 4  # pairs for what needs minutes on the large ones


def nearest() -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(1)


def weighted() -> Any:
    from sklearn.linear_model import RidgeClassifier

    return mean_one(RidgeClassifier)(alpha=1.0).set_fit_request(sample_weight=True)


def skada(build: Callable[[Pair], Any], named: bool = True) -> Peer:
    """Fit on both domains with masked target labels, predict the target, of which it is told so where ``named``."""

    def run(pair: Pair) -> np.ndarray:
        estimator = build(pair)
        x = np.concatenate([pair.xs, pair.xt])
        y = np.concatenate([pair.ys, np.full(len(pair.xt), -1)])
        domain = np.concatenate([np.ones(len(pair.xs), dtype=int), np.full(len(pair.xt), TARGET)])
        estimator.fit(x, y, sample_domain=domain)
        said = {"sample_domain": np.full(len(pair.xt), TARGET)} if named else {}
        return np.asarray(estimator.predict(pair.xt, **said))

    return run


def _plain(pair: Pair) -> Any:
    import skada

    return skada.make_da_pipeline(nearest())


def _sa(pair: Pair) -> Any:
    import skada

    return skada.SubspaceAlignment(nearest(), n_components=20, random_state=0)


def _coral(pair: Pair) -> Any:
    import skada

    return skada.CORAL(nearest(), reg=0.5)


def _tca(pair: Pair) -> Any:
    import skada
    from sklearn.preprocessing import Normalizer

    mu = 1.0 / (1 / len(pair.xs) + 1 / len(pair.xt))
    adapter = skada.TransferComponentAnalysisAdapter(kernel="linear", n_components=20, mu=mu)
    return skada.make_da_pipeline(Normalizer(), adapter, Normalizer(), nearest())


def _tjm(pair: Pair) -> Any:
    import skada
    from sklearn.preprocessing import Normalizer

    adapter = skada.TransferJointMatchingAdapter(n_components=20, tradeoff=1.0, max_iter=10, kernel="linear", tol=1e-12)
    return skada.make_da_pipeline(Normalizer(), adapter, Normalizer(), nearest())


def _emd(pair: Pair) -> Any:
    import skada

    return skada.OTMapping(nearest(), max_iter=1_000_000)


def _linear(pair: Pair) -> Any:
    import skada

    return skada.LinearOTMapping(nearest(), reg=1.0)


def _sinkhorn(norm: str | None) -> Callable[[Pair], Any]:
    def build(pair: Pair) -> Any:
        import skada

        return skada.EntropicOTMapping(nearest(), reg_e=0.1 if norm else 1.0, norm=norm)

    return build


def _classes(norm: str) -> Callable[[Pair], Any]:
    def build(pair: Pair) -> Any:
        import skada

        weight = 0.1 * pair.top / (len(pair.xt) ** 0.5 if norm == "lpl1" else 1.0)
        return skada.ClassRegularizerOTMapping(
            nearest(), norm=norm, reg_e=0.1 * pair.top, reg_cl=weight, max_iter=10, max_inner_iter=200
        )

    return build


def _labels(pair: Pair) -> Any:
    import skada

    return skada.OTLabelProp(nearest(), reg=None, n_iter_max=1_000_000)


def _jdot(pair: Pair) -> Any:
    import skada
    from sklearn.linear_model import LogisticRegression

    return skada.JDOTClassifier(LogisticRegression(max_iter=1000), n_iter_max=10)


def _dasvm(pair: Pair) -> Any:
    import skada
    from sklearn.svm import SVC

    return skada.DASVMClassifier(SVC(kernel="linear"))


def _kmm(pair: Pair) -> Any:
    import skada

    return skada.KMMReweight(weighted(), gamma=1 / (2 * pair.width**2))


def _kliep(pair: Pair) -> Any:
    import skada

    gammas = [1 / (2 * (pair.width * g) ** 2) for g in GRID]
    return skada.KLIEPReweight(weighted(), gamma=gammas, random_state=0)


def _kde(pair: Pair) -> Any:
    import skada
    from sklearn.neighbors import KernelDensity

    return skada.DensityReweight(weighted(), weight_estimator=KernelDensity(bandwidth="scott"))


def _density(pair: Pair) -> np.ndarray:
    """With skada's warning, after which its weights are uniform, as the failure that it is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="All weights are zero")
        return skada(_kde)(pair)


def _gaussian(pair: Pair) -> Any:
    import skada

    return skada.GaussianReweight(weighted(), reg=0.5)


def _discriminator(pair: Pair) -> Any:
    import skada
    from sklearn.linear_model import LogisticRegression

    return skada.DiscriminatorReweight(weighted(), domain_classifier=LogisticRegression(max_iter=1000))


def _neighbours(pair: Pair) -> Any:
    import skada

    return skada.NearestNeighborReweight(weighted(), laplace_smoothing=True)


def _target_shift(pair: Pair) -> Any:
    import skada

    return skada.MMDTarSReweight(weighted(), gamma=1 / (2 * pair.width**2))


def class_reg(pair: Pair) -> dict[str, Any]:
    return {"reg": 0.1, "class_weight": 0.1, "epsilon": 1e-3 * len(pair.xt), "rounds": 10, "iterations": 200}


SKADA: tuple[Case, ...] = (
    Case("source_only", "source_only", skada(_plain)),
    Case("sa", "sa", skada(_sa), fixed(dim=20)),
    Case("coral", "coral", skada(_coral), fixed(reg=1.0, align_means=False)),
    Case("tca", "tca", skada(_tca), fixed(dim=20, mu=1.0)),
    Case("tjm", "tjm", skada(_tjm), fixed(dim=20, lam=1.0, rounds=1), smallest=SLOW),
    Case("ot_linear", "ot_linear", skada(_linear), fixed(reg=1.0)),
    Case("ot_emd", "ot_emd", skada(_emd)),
    Case("ot_sinkhorn", "ot_sinkhorn", skada(_sinkhorn(None)), fixed(reg=0.1), smallest=SLOW, features=("SURF",)),
    Case("ot_sinkhorn_scaled", "ot_sinkhorn", skada(_sinkhorn("max")), fixed(reg=0.1)),
    Case("ot_class_reg", "ot_class_reg", skada(_classes("lpl1")), class_reg, smallest=SLOW),
    Case("ot_group_lasso", "ot_group_lasso", skada(_classes("l1l2")),
         fixed(reg=0.1, class_weight=0.1, rounds=10, iterations=200), smallest=SLOW),
    Case("ot_label_prop", "ot_label_prop", skada(_labels)),
    Case("jdot", "jdot", skada(_jdot), lambda p: {"rounds": 10, "alpha": p.top / p.mean}, smallest=SLOW),
    Case("dasvm, two classes", "dasvm", skada(_dasvm, named=False), fixed(rounds=10), smallest=1, two=True),
    Case("kmm", "kmm", skada(_kmm), classifier="ridge"),
    Case("kliep", "kliep", skada(_kliep), classifier="ridge", smallest=SLOW),
    Case("kde_ratio", "kde_ratio", _density, classifier="ridge", smallest=SLOW, counted=False),
    Case("gaussian_ratio", "gaussian_ratio", skada(_gaussian), fixed(reg=1.0), classifier="ridge", smallest=SLOW),
    Case("discriminator_ratio", "discriminator_ratio", skada(_discriminator), classifier="ridge"),
    Case("nearest_neighbor_weighting", "nearest_neighbor_weighting", skada(_neighbours), classifier="ridge"),
    Case("mmd_target_shift", "mmd_target_shift", skada(_target_shift), classifier="ridge", smallest=SLOW),
)  # fmt: skip
