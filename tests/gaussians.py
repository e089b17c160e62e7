"""A pair of Gaussians whose density ratio is known, and short ways to the weights methods give it."""

from __future__ import annotations

import numpy as np
import torch

from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import Context, create_method
from dazoo.methods.reweighting._ratio import Bumps, centres
from dazoo.shallow.classifiers import classifier

SHIFT = 0.8


def context(seed: int = 0) -> Context:
    return Context(torch.Generator().manual_seed(seed), classifier("logistic"))


def gaussians(n_s: int = 400, n_t: int = 300, d: int = 2, seed: int = 0) -> Seen:
    """Source N(0, I), target N((SHIFT, 0, ...), I): the log density ratio is SHIFT x_1 - SHIFT^2 / 2."""
    rng = np.random.default_rng(seed)
    xs, xt = rng.normal(size=(n_s, d)), rng.normal(size=(n_t, d)) + SHIFT * np.eye(d)[0]
    y = torch.from_numpy((xs[:, 0] > 0).astype(np.int64))
    source = Labeled(torch.from_numpy(xs), y, torch.zeros(n_s, dtype=torch.int64))
    return Seen(source, Unlabeled(torch.from_numpy(xt)), None, 2, "vector", UNSUPERVISED)


def true_log_ratio(seen: Seen) -> torch.Tensor:
    return SHIFT * seen.source.x[:, 0] - SHIFT**2 / 2


def weights_of(name: str, seen: Seen, seed: int = 0, **hparams) -> torch.Tensor:
    return create_method(name, **hparams).weights(seen, context(seed))


def accuracy(name: str, task, clf: str = "logistic", **hparams) -> float:
    options = Options(classifier=classifier(clf))
    model = fit(create_method(name, **hparams), task.seen(), seed=0, options=options).predictor
    hidden = task.hidden()
    return 100 * float((model.predict(hidden.x).labels == hidden.y).double().mean())


def kernels(seen: Seen, m: int = 20, sigma: float = 0.9):
    return Bumps(seen.source.x, seen.target.x, centres(seen.target.x, m, context()))(sigma)


def kmm_problem(seen: Seen, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """K / n_s and the mean of k over the target, written out."""
    xs, xt = seen.source.x.numpy(), seen.target.x.numpy()

    def gauss(x, y):
        return np.exp(-((x[:, None] - y[None]) ** 2).sum(2) / (2 * sigma**2))

    return gauss(xs, xs) / len(xs), gauss(xs, xt).mean(1)
