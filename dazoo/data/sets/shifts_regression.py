"""A synthetic covariate shift with real-valued targets, after Shimodaira (2000).

y = -x + x^3 + 0.3 e with e ~ N(0, 1); source x ~ N(0.5, 0.5^2), target x ~ N(0, 0.3^2). A straight line fits the
target well, but it is another line than that of the source; importance weights find it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dazoo.data.domain import Domain
from dazoo.data.generic import MOST_SEED, check_whole
from dazoo.data.registry import Dataset, register_dataset

DOMAINS = ("source", "target")
CENTRE = {"source": 0.5, "target": 0.0}
SPREAD = {"source": 0.5, "target": 0.3}
NOISE = 0.3
MOST = 1_000_000


def check(n: int, data_seed: int) -> None:
    """Refuse sizes and seeds that make no sense, before memory is taken."""
    check_whole("n", n, 10, MOST)
    check_whole("data_seed", data_seed, 0, MOST_SEED)


def load(domain: str, root: Path | None, n: int = 500, data_seed: int = 0) -> Domain:
    """``n`` samples (n, 1) float32 of one domain with targets (n,) float32.

    Raises:
        DazooError: fewer than 10 samples are asked for, or more than ``MOST``.
    """
    check(n, data_seed)
    rng = np.random.default_rng([data_seed, 100 + DOMAINS.index(domain)])
    x = CENTRE[domain] + SPREAD[domain] * rng.standard_normal((n, 1))
    y = x[:, 0] ** 3 - x[:, 0] + NOISE * rng.standard_normal(n)
    return Domain(domain, torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.float32)), ())


def bayes_mse() -> float:
    """Mean squared error of the true regression function: the variance 0.3^2 of the noise."""
    return NOISE**2


register_dataset(
    Dataset(
        name="shifts_regression",
        domains=DOMAINS,
        pairs=(("source", "target"),),
        load=load,
        description="synthetic covariate shift with real-valued targets and known noise variance",
        options={"n": 500, "data_seed": 0},
        license="generated",
        check=check,
        targets="values",
    )
)
