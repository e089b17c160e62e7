"""POT's side: its own classes of domain adaptation, each followed by nearest neighbours, as its gallery does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers.by_skada import class_reg, nearest
from benchmarks.peers.cases import Case, Pair, Peer, fixed

SLOW = 4  # pairs for what needs minutes on the large ones


def moved(build: Callable[[Pair], Any]) -> Peer:
    """Fit the class, move the source, and label the target by the nearest moved sample."""

    def run(pair: Pair) -> np.ndarray:
        model = build(pair).fit(Xs=pair.xs, ys=pair.ys, Xt=pair.xt)
        return np.asarray(nearest().fit(model.transform(Xs=pair.xs), pair.ys).predict(pair.xt))

    return run


def _made(name: str, **options: Any) -> Callable[[Pair], Any]:
    def build(pair: Pair) -> Any:
        import ot.da

        return getattr(ot.da, name)(**{k: v(pair) if callable(v) else v for k, v in options.items()})

    return build


def _labels(pair: Pair) -> np.ndarray:
    import ot.da

    model = ot.da.EMDTransport(max_iter=1_000_000).fit(Xs=pair.xs, Xt=pair.xt)
    return np.asarray(model.transform_labels(ys=pair.ys).argmax(1))


def _laplace(pair: Pair) -> np.ndarray:
    """Of features divided by the root of the largest cost, as dazoo divides them, with its weights in POT's units."""
    import ot.da

    xs, xt = pair.xs / pair.top**0.5, pair.xt / pair.top**0.5
    total = (len(xs) + len(xt)) / 3
    model = ot.da.EMDLaplaceTransport(
        reg_lap=total, reg_src=len(xs) / 3 / total, max_iter=100, max_inner_iter=1_000_000, tol=1e-4, inner_tol=0.0
    )
    images = model.fit(Xs=xs, Xt=xt).transform(Xs=xs)
    return np.asarray(nearest().fit(images, pair.ys).predict(xt))


def _mapping(pair: Pair) -> np.ndarray:
    """The same features, moved by the map, which dazoo takes for training samples too."""
    import ot.da

    xs, xt = pair.xs / pair.top**0.5, pair.xt / pair.top**0.5
    model = ot.da.MappingTransport(
        mu=1, eta=1e-3, bias=True, max_iter=5, max_inner_iter=10, tol=1e-5, inner_tol=1e-6
    ).fit(Xs=xs, Xt=xt)
    images = xs @ model.mapping_[:-1] + model.mapping_[-1]
    return np.asarray(nearest().fit(images, pair.ys).predict(xt))


POT: tuple[Case, ...] = (
    Case("ot_emd", "ot_emd", moved(_made("EMDTransport", max_iter=1_000_000))),
    Case("ot_sinkhorn", "ot_sinkhorn", moved(_made("SinkhornTransport", reg_e=0.1, norm="max")), fixed(reg=0.1)),
    Case("ot_class_reg", "ot_class_reg",
         moved(_made("SinkhornLpl1Transport", reg_e=0.1, reg_cl=lambda p: 0.1 / len(p.xt) ** 0.5, norm="max")),
         class_reg, smallest=SLOW),
    Case("ot_group_lasso", "ot_group_lasso",
         moved(_made("SinkhornL1l2Transport", reg_e=0.1, reg_cl=0.1, norm="max", max_iter=10, max_inner_iter=200)),
         fixed(reg=0.1, class_weight=0.1, rounds=10, iterations=200), smallest=SLOW),
    Case("ot_linear", "ot_linear", moved(_made("LinearTransport", reg=1.0)), fixed(reg=1.0)),
    Case("ot_unbalanced", "ot_unbalanced",
         moved(_made("UnbalancedSinkhornTransport", reg_e=0.1, reg_m=1.0, norm="max", max_iter=1000, tol=1e-9)),
         fixed(reg=0.1, mass=1.0), smallest=SLOW),
    Case("ot_laplace", "ot_laplace", _laplace, fixed(rounds=100, tolerance=1e-4), smallest=SLOW),
    Case("ot_mapping", "ot_mapping", _mapping, fixed(mu=1.0, eta=1e-3, rounds=5), smallest=2),
    Case("ot_label_prop", "ot_label_prop", _labels),
)  # fmt: skip
