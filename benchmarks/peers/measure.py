"""Timing two sides fairly: one thread each, the same number of repeats, taking turns within one run."""

from __future__ import annotations

import contextlib
import cProfile
import gc
import importlib.metadata
import io
import os
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

Run = Callable[[], np.ndarray]  # fits, and returns predicted class indices of the target


@dataclass(frozen=True)
class Side:
    """What one library did with one case.

    Attributes:
        seconds: CPU seconds of the fastest repeat (fit and prediction); NaN where it failed. With one thread these
            are the wall-clock seconds of an idle machine, and hold on a busy one too.
        accuracy: in percent; NaN where it failed.
        failure: why there is no number, empty otherwise.
    """

    seconds: float = float("nan")
    accuracy: float = float("nan")
    failure: str = ""


@dataclass(frozen=True)
class Row:
    """One case on one task, both sides.

    Attributes:
        grouped: CPU seconds of dazoo's side as one of a group of runs on the pair that share work; NaN where not run.
        library: the share of dazoo's time that passes in POT, LAPACK, BLAS and scikit-learn; NaN where not measured.
        counted: whether the row enters the means.
        load: how many processes wanted the machine's cores in the minute before.
        machine: where it was measured.
    """

    case: str
    task: str
    ours: Side
    theirs: Side
    steps: int = 1
    peer: str = "skada"
    features: str = ""
    grouped: float = float("nan")
    library: float = float("nan")
    counted: bool = True
    load: float = field(default_factory=lambda: round(os.getloadavg()[0], 1))
    machine: str = ""


@dataclass
class Machine:
    """Where the numbers come from."""

    versions: dict[str, str] = field(default_factory=dict)
    text: str = ""

    @staticmethod
    def here(packages: Sequence[str]) -> Machine:
        versions = {name: _version(name) for name in packages}
        cpu = platform.processor() or platform.machine()
        with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
            cpu = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), cpu)
        system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
        return Machine(versions, f"{cpu}, {os.cpu_count()} cores, one thread per side; {system}")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def one_thread() -> None:
    """Hold every library to one thread; call before anything heavy runs."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)


def take_turns(
    ours: Run, theirs: Run, y: np.ndarray, *, first: int, repeats: int = 3, budget: float = 0.5
) -> list[Side]:
    """Both sides alternately, ``repeats`` times each; no further round once a side has used ``budget`` seconds.

    Args:
        y: target labels (n,), for the accuracy only.
        first: even: ours starts, odd: theirs.

    Returns:
        The sides ``[ours, theirs]``.
    """
    runs = [ours, theirs]
    sides = [Side(), Side()]
    spent = [0.0, 0.0]
    for round_ in range(repeats):
        if round_ and max(spent) > budget:
            break
        order = (0, 1) if (first + round_) % 2 == 0 else (1, 0)
        for which in order:
            if not sides[which].failure:
                side = timed(runs[which], y)
                spent[which] += side.seconds if side.seconds == side.seconds else 0.0
                faster = not (sides[which].seconds <= side.seconds)
                sides[which] = side if faster or side.failure else sides[which]
    return sides


def timed(run: Run, y: np.ndarray) -> Side:
    """One run, with its warnings and prints kept quiet and its failure put down in words."""
    gc.collect()
    began = time.process_time()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            predicted = run()
    except Exception as error:  # a peer may fail in any way; that is a result
        return Side(failure=f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"[:120])
    seconds = time.process_time() - began
    return Side(seconds, 100.0 * float(np.mean(np.asarray(predicted) == y)))


# where a profile's time counts as a library's: its own files, and dazoo's thin calls of BLAS and LAPACK
LIBRARIES = (
    "/ot/", "/numpy/linalg/", "/scipy/linalg/", "/scipy/sparse/", "/scipy/optimize/", "/sklearn/", "/dazoo/ops/linalg/",
)  # fmt: skip


def library_share(run: Run) -> float:
    """The share of a run's time within ``LIBRARIES``, calls of built-in functions counted where they are called."""
    profile = cProfile.Profile(time.process_time, builtins=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        profile.runcall(run)
    times = [
        (entry.code.co_filename, entry.inlinetime) for entry in profile.getstats() if hasattr(entry.code, "co_name")
    ]
    total = sum(spent for _, spent in times)
    return sum(spent for name, spent in times if any(part in name for part in LIBRARIES)) / total
