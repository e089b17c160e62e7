"""Hyper-parameter settings of trials, by Optuna's samplers; trial 0 is always the defaults.

Every hyper-parameter is drawn by a sampler of its own, seeded by its name: adding a field to a method leaves the draws
of the other fields as they were, and two methods that share a name are tried at the same positions of their ranges.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np

from dazoo.core import hparam

SAMPLERS = ("random", "quasi_random")


def settings(cls: type, trials: int, sampler: str = "random") -> list[dict[str, Any]]:
    """What each of ``trials`` trials changes of the defaults of ``cls``: ``[{}, {field: value, ...}, ...]``.

    ``random``: independent uniform (log-uniform) draws, of which a larger number of trials keeps the earlier ones.
    ``quasi_random``: a scrambled Sobol sequence per field, so that few trials cover each range evenly. The sequences of
    two fields would move in step, so each is shuffled; another number of trials is another shuffle.
    """
    rows: list[dict[str, Any]] = [{}]
    for i in range(trials - 1):
        rows.append(hparam.setting_at(cls, lambda name, i=i: positions(name, trials - 1, sampler)[i]))  # type: ignore[misc]
    return rows


@lru_cache(maxsize=4096)
def positions(name: str, n: int, sampler: str) -> tuple[float, ...]:
    """``n`` positions in [0, 1) for the hyper-parameter ``name``."""
    import optuna

    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    quasi = sampler == "quasi_random"
    made = _sobol(seed) if quasi else optuna.samplers.RandomSampler(seed=seed)
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=made)
    finally:
        optuna.logging.set_verbosity(before)
    unit: dict[str, Any] = {name: optuna.distributions.FloatDistribution(0.0, 1.0)}
    found = []
    for _ in range(n + quasi):
        trial = study.ask(unit)
        study.tell(trial, 0.0)
        found.append(min(float(trial.params[name]), np.nextafter(1.0, 0.0)))
    found = found[quasi:]  # Optuna draws the first trial of a sequence at random
    if quasi:
        found = [found[i] for i in np.random.default_rng(seed).permutation(n)]
    return tuple(found)


def _sobol(seed: int) -> Any:
    import warnings

    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.QMCSampler(
            seed=seed, scramble=True, warn_independent_sampling=False, warn_asynchronous_seeding=False
        )
