"""One measurement: made data, fit and prediction, in a fresh process that is watched from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

GIB = 1 << 30
CLASSES = 10
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Case:
    """A method and the hyper-parameters that make up the row called ``name``."""

    name: str
    method: str
    hparams: dict[str, Any] = field(default_factory=dict)


CASES: tuple[Case, ...] = (
    *(Case(m, m) for m in ("sa", "coral", "ot_linear", "tca", "jda", "gfk", "easytl", "ulsif", "kmm")),
    Case("ot_emd", "ot_emd"),
    Case("ot_emd, mini-batches", "ot_emd", {"large": "minibatch"}),
    Case("ot_sinkhorn", "ot_sinkhorn"),
    Case("ot_sinkhorn, mini-batches", "ot_sinkhorn", {"large": "minibatch"}),
    Case("ot_sinkhorn, lazy", "ot_sinkhorn", {"large": "lazy"}),
)


@dataclass(frozen=True)
class Result:
    """What came out of one measurement.

    Attributes:
        status: ``ok``, ``refuses`` (the method said that the problem is too large), ``time limit``, ``memory limit``
            or ``failed``; message: in words.
        seconds: wall clock of fit and prediction of all target samples. cpu_seconds: of all threads.
        peak_gib: largest resident memory of the whole process, interpreter, libraries and data included.
        accuracy: in percent, on the target; says that something was learned.
    """

    status: str
    seconds: float = float("nan")
    cpu_seconds: float = float("nan")
    peak_gib: float = float("nan")
    accuracy: float = float("nan")
    message: str = ""


def run_apart(case: Case, n: int, d: int, classifier: str, threads: int, seconds: float, gib: float) -> Result:
    """Measure in a new process; it is ended once it takes more than ``seconds`` or ``gib`` of resident memory."""
    order = json.dumps({**asdict(case), "n": n, "d": d, "classifier": classifier, "threads": threads})
    env = {**os.environ, **dict.fromkeys(POOLS, str(threads))}
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scaling.measure", order],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
    )  # fmt: skip
    began, peak = time.monotonic(), 0.0
    while child.poll() is None:
        peak = max(peak, resident(child.pid))
        late, large = time.monotonic() - began > seconds, peak > gib
        if late or large:
            child.kill()
            child.communicate()
            what = f"{seconds:g} s" if late else f"{gib:g} GiB"
            return Result("time limit" if late else "memory limit", peak_gib=peak, message=f"ended beyond {what}")
        time.sleep(0.05)
    out, err = child.communicate()
    if child.returncode:
        return Result("failed", message=(err.strip().splitlines() or [f"exit status {child.returncode}"])[-1][:200])
    return Result(**json.loads(out.strip().splitlines()[-1]))


def resident(pid: int, field_: str = "VmRSS") -> float:
    """Resident memory of a process in GiB (Linux); ``VmHWM`` is its peak so far."""
    try:
        with open(f"/proc/{pid}/status") as file:
            line = next((line for line in file if line.startswith(field_)), "")
    except OSError:
        return 0.0
    return int(line.split()[1]) * 1024 / GIB if line else 0.0


def made(n: int, d: int) -> Any:
    """Ten Gaussian classes of samples on a third of the features; the target is stretched, turned a little and moved.

    Returns:
        ``Seen`` and the hidden target labels (n,).
    """
    import torch

    from dazoo.core.setting import UNSUPERVISED
    from dazoo.core.types import Labeled, Seen, Unlabeled

    gen = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Any:
        return torch.randn(*shape, generator=gen, dtype=torch.float64)

    centres = normal(CLASSES, d) * (torch.arange(d) % 3 == 0)
    skew = 0.02 * normal(d, d)
    turn = torch.linalg.matrix_exp(skew - skew.T)
    scale, shift = torch.exp(0.2 * normal(d)), 0.3 * normal(d)
    width = torch.linspace(0.3, 2.0, d, dtype=torch.float64)
    ys = torch.arange(n) % CLASSES
    yt = torch.randint(CLASSES, (n,), generator=gen)
    xs = normal(n, d).mul_(width).add_(centres[ys])
    xt = normal(n, d).mul_(width).add_(centres[yt]).mul_(scale) @ turn + shift
    source = Labeled(xs, ys, torch.zeros_like(ys))
    return Seen(source, Unlabeled(xt), None, CLASSES, "vector", UNSUPERVISED), yt


def measure(case: Case, n: int, d: int, classifier: str, threads: int) -> Result:
    """Measure here and now; a tiny fit first loads what the libraries load on first use."""
    import torch

    from dazoo.core.errors import DazooError
    from dazoo.engine.fit import Options, fit
    from dazoo.methods.base import create_method
    from dazoo.shallow.classifiers import classifier as named

    torch.set_num_threads(threads)
    options = Options(classifier=named(classifier))

    def run(seen: Any) -> Any:
        model = fit(create_method(case.method, **case.hparams), seen, options=options).predictor
        return model.predict(seen.target.x).labels

    run(made(100, d)[0])
    seen, y = made(n, d)
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        labels = run(seen)
    except DazooError as error:
        return Result("refuses", peak_gib=resident(os.getpid(), "VmHWM"), message=str(error))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    accuracy = 100.0 * float((labels == y).double().mean())
    return Result("ok", wall, cpu, resident(os.getpid(), "VmHWM"), accuracy)


def main(arguments: Sequence[str]) -> None:
    order = json.loads(arguments[0])
    case = Case(order["name"], order["method"], order["hparams"])
    print(json.dumps(asdict(measure(case, order["n"], order["d"], order["classifier"], order["threads"]))))


if __name__ == "__main__":
    main(sys.argv[1:])
