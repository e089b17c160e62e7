"""The exponents of time and memory of every shallow method: ``python -m benchmarks.scaling.growth``.

Every method is fitted to and predicts n samples a side of made data, for n = 1k ... 100k, each time in a process of
its own (forked, so that libraries are loaded once) with a limit on CPU seconds. A method is not tried where it met a
limit at a smaller n, or where its last two times say that it would; one that has fewer than two times gets a smaller
n. Rows that ``growth.csv`` has already are kept. An exponent is the largest slope of log seconds, or of log memory
beyond what libraries and data take, over log n: among the values of at least ``SHORT`` seconds, or ``LEAST`` GiB, of
any tenfold of n (of all that was measured, where that is less), and of any step from ten times that on. A bounded form
that takes the place of a method at many samples is looked at apart, and the larger exponent is the method's.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import re
import resource
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import torch

from benchmarks.peers.measure import Machine, one_thread
from benchmarks.scaling.measure import made, resident
from dazoo.core.errors import DazooError
from dazoo.core.hparam import space
from dazoo.core.setting import Setting
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import METHODS, ShallowMethod, create_method
from dazoo.shallow.classifiers import classifier

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
FEWER = 300  # for methods of which less than two of the sizes were timed
TENFOLD = 9.9
BOUNDS = 10_000  # bounded forms of plans begin below it, so that smaller sizes say nothing of it
LINEAR = 1.3  # n log n has an exponent of 1.15 or less between these sizes; the rest is caches, and a loaded machine
SHORT = 0.05
LEAST = 0.03  # GiB
FEW = 100
SAID = 300  # characters of a message
EXPECTED = "not tried: its smaller sizes say so"
BOUNDED = re.compile(r"drawn at random|random parts|is approximated|is sparse")  # what such a warning says
HEADER = ("method", "n", "status", "cpu_seconds", "added_gib", "message")
Rows: TypeAlias = dict[tuple[str, int], dict[str, str]]
PREFERRED = (
    "unsupervised", "few_labels", "multi_source", "heterogeneous", "heterogeneous_few", "unlabelled", "label_shift",
    "oracle",
)  # fmt: skip


def methods() -> list[str]:
    """All shallow methods that come with dazoo."""
    return [n for n in METHODS.names() if issubclass(METHODS.get(n), ShallowMethod)]


def task_of(name: str, n: int, d: int) -> Seen:
    """Made data in the first setting that the method can handle."""
    cls = METHODS.get(name)
    known = {s.value for s in cls.settings}
    setting = Setting.of(next(s for s in PREFERRED if s in known))
    seen, y = made(n, d)
    source, x, few = seen.source, seen.target.x, None
    assert source is not None
    if setting.value.startswith("heterogeneous"):
        x = x[:, : 3 * d // 4]
    if "classes" not in cls.targets:
        source = replace(source, y=source.x[:, 0] + source.x[:, 1])
        y = (x[:, 0] + x[:, 1]).to(source.x)
    if setting.marked in ("few", "half"):
        count = FEW if setting.marked == "few" else n // 2
        few, x = Labeled(x[:count], y[:count].to(source.y), torch.zeros(count, dtype=torch.int64)), x[count:]
    if setting.value == "multi_source":
        source = replace(source, domain=torch.arange(n) // 10 % 2)
    classes = seen.n_classes if "classes" in cls.targets else 0
    more = {"n_sources": 2} if setting.value == "multi_source" else {}
    return replace(seen, source=source, target=Unlabeled(x), few=few, n_classes=classes, setting=setting, **more)


def measure(name: str, n: int, d: int) -> dict[str, Any]:
    """CPU seconds of fit and prediction, and the memory in GiB that they added at their peak."""
    seen = task_of(name, n, d)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before, began = resident(os.getpid()), time.process_time()
    try:
        head = classifier("logistic" if seen.n_classes else "ridge")
        result = fit(create_method(name), seen, options=Options(classifier=head))
        result.predictor.predict(seen.target.x)
    except DazooError as error:
        return {"status": "refuses", "message": str(error)[:SAID]}
    spent, peak = time.process_time() - began, resident(os.getpid(), "VmHWM")
    said = " / ".join(w for w in result.warnings if BOUNDED.search(w))
    return {"status": "ok", "cpu_seconds": spent, "added_gib": max(peak - before, 0.0), "message": said[:SAID]}


def apart(name: str, n: int, d: int, seconds: int, gib: float) -> dict[str, Any]:
    """``measure`` in a fork that is ended beyond ``seconds`` of CPU time or ``gib`` of memory."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        with os.fdopen(write, "w") as pipe:
            try:
                pipe.write(json.dumps(measure(name, n, d)))
            except BaseException as error:
                pipe.write(json.dumps({"status": "failed", "message": f"{type(error).__name__}: {error}"[:150]}))
            pipe.flush()
            os._exit(0)
    os.close(write)
    over = False
    while True:
        if resident(pid) > gib:  # looked at before the end, which may come within the rest below
            over = True
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            break
        if os.waitpid(pid, os.WNOHANG)[0]:
            break
        time.sleep(0.02)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    if over or not text:
        return {"status": "memory limit" if over else "time limit"}
    found: dict[str, Any] = json.loads(text)
    return found


def read(path: Path) -> Rows:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {(row["method"], int(row["n"])): row for row in csv.DictReader(file)}


def exponent(points: list[tuple[int, float]], least: float = SHORT) -> float | None:
    """The largest slope of log value over log n that a tenfold of n has (all points where they span less), or a step
    from ten times ``least`` on; of the values of at least ``least``. None where fewer than two are."""
    long = [(n, v) for n, v in sorted(points) if v >= least]
    if len(long) < 2:
        return None
    spans = [next(((a, b) for b in long if b[0] >= TENFOLD * a[0]), None) for a in long]
    found = [s for s in spans if s is not None] or [(long[0], long[-1])]
    found += [(a, b) for a, b in pairwise(long) if a[1] >= 10 * least]
    return max(math.log(high / low) / math.log(b / a) for (a, low), (b, high) in found)


def bounded(name: str) -> bool:
    """Whether a hyper-parameter says from where on a bounded form takes the place of the method."""
    return "memory_gib" in space(METHODS.get(name))


def expected(points: list[tuple[int, float]], n: int) -> float:
    """What the slope of the last two of ``points`` says of ``n``; the last value where there are no two."""
    (a, low), (b, high) = [points[0], *sorted(points)][-2:]
    slope = max(math.log(high / low) / math.log(b / a), 0.0) if b > a and low > 0 else 0.0
    return high * (n / b) ** slope


def rounded(power: float) -> float:
    """What a method says of itself (``growth``): 1 up to n log n, else the exponent to half a unit."""
    return 1.0 if power <= LINEAR else max(round(2 * power) / 2, 1.5)


def exponents(rows: Rows) -> dict[str, tuple[float | None, float | None]]:
    """By method: of time and of memory."""
    found = {}
    for name in sorted({m for m, _ in rows}):
        done = [r for (m, _), r in rows.items() if m == name and r["status"] == "ok"]
        forms = [[r for r in done if bool(r["message"]) == bounded] for bounded in (False, True)]
        time_, memory = (
            [p for form in forms if (p := exponent([(int(r["n"]), float(r[key])) for r in form], least)) is not None]
            for key, least in (("cpu_seconds", SHORT), ("added_gib", LEAST))
        )
        found[name] = (max(time_, default=None), max(memory, default=None))
    return found


def row(name: str, n: int, found: dict[str, Any]) -> dict[str, str]:
    """A line of the table."""
    shown = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in found.items()}
    return {"method": name, "n": str(n), "cpu_seconds": "", "added_gib": "", "message": "", **shown}


def write_rows(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows[k] for k in sorted(rows))


def write(folder: Path, rows: Rows, d: int, seconds: int) -> None:
    """The measurements as CSV, and a page with their exponents."""
    write_rows(folder / "growth.csv", rows)
    sizes, lines = sorted({n for _, n in rows}), []
    for name, powers in exponents(rows).items():
        cells = [_cell(rows.get((name, n))) for n in sizes]
        shown = ["under the clock" if p is None else f"{p:.2f}" for p in powers]
        shown[1] = "little" if powers[1] is None else shown[1]
        lines.append(f"| {name} | {' | '.join([*shown, *cells])} |")
    here = Machine.here(("numpy", "scipy", "scikit-learn", "torch", "POT"))
    text = [
        "# How time and memory of the shallow methods grow", "",
        f"CPU seconds of fit and prediction, one thread, and GiB that they add at their peak, with {d} features and n "
        f"samples a side of made data; a measurement ends at {seconds} CPU seconds, none follows at larger n, and none "
        "is made that would take longer. Exponents are the steepest tenfold of n (all of it where less was measured) "
        f"of what took {SHORT} s or added {LEAST} GiB at least, or step from ten times that on; above {LINEAR} a "
        "method grows faster than n log n, and `dazoo info` says so. (*): a bounded form took the place of the method, "
        "as a warning of the run says: such a method has its exponent below that size, and another one above. No cell: "
        "not measured.", "",
        f"| method | time, n^ | memory, n^ | {' | '.join(f'{n:,}' for n in sizes)} |", "|---" * (len(sizes) + 3) + "|",
        *lines, "", f"Machine: {here.text}. Versions: {', '.join(f'{k} {v}' for k, v in here.versions.items())}.", "",
        "Made by `python -m benchmarks.scaling.growth`.", "",
    ]  # fmt: skip
    (folder / "growth.md").write_text("\n".join(text), encoding="utf-8")


def _cell(row: dict[str, str] | None) -> str:
    if row is None:
        return ""
    if row["status"] != "ok":
        return row["status"]
    return f"{float(row['cpu_seconds']):.2f} s, {float(row['added_gib']):.2f} GiB{' (*)' if row['message'] else ''}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling.growth", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/scaling"))
    parser.add_argument("--only", nargs="*", default=[], metavar="METHOD")
    parser.add_argument("--n", nargs="*", type=int, default=list(SIZES))
    parser.add_argument("--d", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=20, help="limit of CPU seconds of one measurement")
    parser.add_argument("--gib", type=float, default=6.0)
    parser.add_argument("--anyway", action="store_true", help="also what met a limit at a smaller n")
    parser.add_argument("--again", action="store_true", help="repeat what is there")
    options = parser.parse_args(arguments)
    one_thread()
    rows = read(options.out / "growth.csv")
    names = options.only or methods()
    if options.again:
        rows = {key: row for key, row in rows.items() if key[0] not in names}
    load()

    def one(name: str, n: int) -> None:
        before = [r for (m, k), r in rows.items() if m == name and k < n]
        if (name, n) in rows or (any(r["status"] != "ok" for r in before) and not options.anyway):
            return
        timed = [(int(r["n"]), float(r["cpu_seconds"])) for r in before if r["status"] == "ok"]
        known = (n > BOUNDS or not bounded(name)) and not options.anyway
        if known and timed and expected(timed, n) > options.seconds:
            found: dict[str, Any] = {"status": "time limit", "message": EXPECTED}
        else:
            found = apart(name, n, options.d, options.seconds, options.gib)
        rows[name, n] = row(name, n, found)
        print(rows[name, n], file=sys.stderr, flush=True)
        write(options.out, rows, options.d, options.seconds)

    for n in sorted(options.n):
        for name in names:
            one(name, n)
    for name in names:
        if sum(m == name and r["status"] == "ok" for (m, _), r in rows.items()) < 2:
            one(name, FEWER)


def load() -> None:
    """What the forks need: libraries are loaded once."""
    for name in ("ot_emd", "sot", "label_propagation"):
        measure(name, 100, 8)


if __name__ == "__main__":
    main()
