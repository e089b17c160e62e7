"""A worker: units of runs, one after the other, with one thread.

Importing this module loads neither numpy nor torch, so that what has to be chosen before may still be chosen.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dazoo.bench.execute.base import Unit
    from dazoo.bench.execute.place import Place
    from dazoo.bench.plan.plan import RunSpec

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Worker:
    """Does units in this process, which is its own: all that computes has one thread from now on.

    Args:
        since: sizes of the shards when the runs were planned (``store.Follower.at``).
        token: names its claims; a new one by default.
    """

    def __init__(self, place: Place, since: dict[str, int], token: str = ""):
        for name in THREADS:
            os.environ[name] = "1"
        import torch
        from threadpoolctl import threadpool_limits

        from dazoo.bench.execute.runner import Runner

        torch.set_num_threads(1)
        threadpool_limits(1)  # where the linear algebra below numpy was loaded before
        self.runner = Runner(place, since, token)

    def __call__(self, unit: Unit) -> list[RunSpec]:
        """Make what is missing of a unit; returns the runs that others are at."""
        try:
            for protocol, domain in unit.domains:
                with suppress(Exception):  # the runs meet it again and record it
                    self.runner.tasks.load(protocol, domain)
            return self.runner(unit.runs)
        finally:
            self.runner.rest()
