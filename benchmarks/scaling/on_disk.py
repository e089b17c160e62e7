"""More data than memory: shallow methods on domains that stay on disk, memory-mapped in half precision.

``python -m benchmarks.scaling.on_disk --n 10000000 --folder DIR`` writes two arrays (n, 256) of float16 to ``DIR``,
measures every case in a process of its own (``dazoo.open_blocks``, ``dazoo.fit``, ``predict`` of all
target samples into a file), removes the arrays and adds its rows to ``results/scaling/on_disk.{csv,md}``. The samples
are those of ``benchmarks.scaling``; beyond 262,144 they are repeated, so that time is spent on methods and not on
making data.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.measure import Machine
from benchmarks.scaling.measure import GIB, POOLS, made, resident

METHODS = ("source_only", "sa", "coral", "ot_linear", "pca", "tca", "jda", "gfk", "kmm", "ulsif", "ot_sinkhorn")
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "POT")
DISTINCT = 1 << 18
AIM_GIB = 6.0
SAMPLES_WHY = """
A plan is made on a sample of both domains, as a whole or, beyond memory_gib, in random parts of at most 1,024 samples a
side. More samples are more such mini-batches, and more moved samples for the classifier to learn from. Time and memory
grow with them, so that 10,000 are the default and `sample=` takes more; the whole stream is not gone through.
"""
SA_HEADS = ("ridge", "logistic", "1nn")
SA_WHY = """
The answer is that of memory, and it is what the method is with a classifier that hardly penalises weights. Source
samples get the coordinates P_s'x M with M = P_s'P_t, target samples P_t'x. The scores of least squares on the source
are the same for every invertible M, since it finds M^-1 w: on the target every direction that the subspaces do not
share is multiplied by the inverse of the cosine of its angle. Ridge's penalty (alpha 1) damps that for few samples
only, since the scatter grows with them; logistic regression and neighbours do not multiply. In memory:
"""


@dataclass(frozen=True)
class Row:
    """One measurement: wall clock and CPU seconds of fit and prediction, peak resident memory of the process, what it
    read from files in sizes of both domains, accuracy on the target in percent, and the load of the machine."""

    method: str
    classifier: str
    n: int
    d: int
    seconds: float
    cpu_seconds: float
    peak_gib: float
    passes: float
    accuracy: float
    load: float
    machine: str
    versions: str


def write_domain(path: Path, x: Any, n: int) -> None:
    """``n`` rows of ``x`` over and over as an array of float16."""
    half = x.numpy().astype(np.float16)
    out = np.lib.format.open_memmap(path, "w+", np.float16, (n, half.shape[1]))  # type: ignore[no-untyped-call]
    for at in range(0, n, len(half)):
        out[at : at + len(half)] = half[: n - at]
    out.flush()


def measure(method: str, classifier: str, folder: Path) -> dict[str, float]:
    """Here and now, on the arrays in ``folder``."""
    import torch

    import dazoo

    torch.set_num_threads(1)
    domains = [dazoo.open_blocks(folder / f"{side}.npy") for side in "st"]
    labels = [np.load(folder / f"y{side}.npy") for side in "st"]
    labels = [np.resize(y, len(x)) for x, y in zip(domains, labels)]
    small = dazoo.Task.from_arrays(domains[0][:200], labels[0][:200], domains[1][:200])
    with warnings.catch_warnings():  # what the libraries load on first use
        warnings.simplefilter("ignore")
        dazoo.fit(method, small, classifier=classifier, transform=None)
    wall, cpu, read = time.perf_counter(), time.process_time(), read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = dazoo.Task.from_arrays(domains[0], labels[0], domains[1])
        model = dazoo.fit(method, task, classifier=classifier, transform=None)
    out = model.predict(domains[1], out=folder / "scores.npy")
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    right = np.mean([(s.argmax(1).numpy() == y).mean() for s, y in parts(out.scores, labels[1])])
    return {
        "seconds": wall, "cpu_seconds": cpu, "peak_gib": resident(os.getpid(), "VmHWM"), "accuracy": 100 * float(right),
        "passes": (read_bytes() - read) / sum((folder / f"{side}.npy").stat().st_size for side in "st"),
    }  # fmt: skip


def against_memory(method: str, folder: Path, n: int) -> float:
    """Largest difference of the scores of ``n`` samples per domain from those of the same fit in memory, over the
    largest score."""
    import torch

    import dazoo

    domains = [dazoo.open_blocks(folder / f"{side}.npy")[:n] for side in "st"]
    task = dazoo.Task.from_arrays(domains[0], np.resize(np.load(folder / "ys.npy"), n), domains[1])
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for stream in (False, True):
            model = dazoo.fit(method, task, classifier="ridge", transform=None, stream=stream, sample=n)
            found.append(torch.cat([model.predict(x).scores for x in domains[1].split(10_000)]))
    return float((found[0] - found[1]).abs().max() / found[0].abs().max())


def sampled(method: str, folder: Path, sample: int) -> dict[str, float]:
    """CPU seconds of a fit to ``sample`` samples of each domain, and accuracy on the first samples of the target."""
    import torch

    import dazoo

    torch.set_num_threads(1)
    domains = [dazoo.open_blocks(folder / f"{side}.npy") for side in "st"]
    ys, yt = (np.resize(np.load(folder / f"y{side}.npy"), len(x)) for side, x in zip("st", domains))
    cpu = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = dazoo.Task.from_arrays(domains[0], ys, domains[1])
        model = dazoo.fit(method, task, classifier="ridge", transform=None, sample=sample)
    cpu = time.process_time() - cpu
    labels = model.predict(domains[1][:DISTINCT]).labels.numpy()
    return {"cpu_seconds": cpu, "accuracy": 100 * float((labels == yt[: len(labels)]).mean())}


def aligned_in_memory(n: int, d: int) -> list[dict[str, str]]:
    """Accuracy of ``sa`` in memory by classifier, on ``n`` samples per domain, and the least cosine of an angle between
    the subspaces."""
    from dazoo.engine.fit import Options, fit
    from dazoo.methods.base import create_method
    from dazoo.ops.linalg.spectral import principal_components
    from dazoo.shallow.classifiers import classifier

    seen, y = made(n, d)
    method: Any = create_method("sa")
    ps, pt = (principal_components(x, method.dim)[2].numpy() for x in (seen.source.x, seen.target.x))
    cosine = np.linalg.svd(ps.T @ pt, compute_uv=False).min()
    rows = []
    for head in SA_HEADS:
        model = fit(method, seen, options=Options(classifier=classifier(head))).predictor
        right = 100 * float((model.predict(seen.target.x).labels == y).double().mean())
        rows.append({"n": str(n), "classifier": head, "accuracy": f"{right:.4g}", "least_cosine": f"{cosine:.4g}"})
    return rows


def parts(scores: Any, y: np.ndarray[Any, Any], size: int = 100_000) -> Iterable[tuple[Any, Any]]:
    return ((scores[i : i + size], y[i : i + size]) for i in range(0, len(y) - len(y) % size or len(y), size))


def read_bytes() -> int:
    """Bytes that this process has read from files and pipes so far."""
    with open("/proc/self/io") as file:
        return int(next(line for line in file if line.startswith("rchar")).split()[1])


Lines = Sequence[dict[str, str]]


def page(rows: Sequence[Row], exact: Lines = (), sa: Lines = (), samples: Lines = ()) -> str:
    """A Markdown table per size and classifier."""
    lines = ["# More data than memory", "", *__doc__.split("\n\n")[1].replace("\n", " ").split("\x00"), ""]
    for n, d in dict.fromkeys((r.n, r.d) for r in rows):
        gib = 2 * n * d * 2 / GIB
        lines += [f"## {n:,} + {n:,} samples of {d} features ({gib:.1f} GiB on disk, {4 * gib:.0f} GiB as float64)", ""]
        lines += ["| method | classifier | CPU seconds | wall clock | load | peak memory | read | accuracy |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        mine = [r for r in rows if (r.n, r.d) == (n, d)]
        for r in mine:
            lines.append(
                f"| {r.method} | {r.classifier} | {r.cpu_seconds:.0f} s | {r.seconds:.0f} s | {r.load:.0f} | "
                f"{r.peak_gib:.1f} GiB | {r.passes:.1f} passes | {r.accuracy:.1f} % |"
            )
        under = sum(r.peak_gib < AIM_GIB for r in mine)
        lines += ["", f"{under} of {len(mine)} stayed under {AIM_GIB:g} GiB of resident memory, interpreter and "
                  "libraries included.", ""]  # fmt: skip
    if exact:
        lines += ["## The same answer", "", f"At {int(exact[0]['n']):,} samples per domain, against the fit in memory "
                  "(ridge): largest difference of a score over the largest score.", "",
                  "| method | difference |", "|---|---|"]  # fmt: skip
        lines += [f"| {line['method']} | {float(line['difference']):.1e} |" for line in exact] + [""]
    if sa:
        lines += ["## Why sa is low with ridge", "", *SA_WHY.strip().split("\n"), ""]
        lines += [f"| samples per domain | least cosine | {' | '.join(SA_HEADS)} |"]
        lines += ["|---|---" + "|---" * len(SA_HEADS) + "|"]
        for n in dict.fromkeys(line["n"] for line in sa):
            at = {line["classifier"]: line for line in sa if line["n"] == n}
            cells = " | ".join(f"{float(at[h]['accuracy']):.1f} %" for h in SA_HEADS)
            lines.append(f"| {int(n):,} | {at[SA_HEADS[0]]['least_cosine']} | {cells} |")
        lines.append("")
    if samples:
        lines += ["## More samples for a plan", "", *SAMPLES_WHY.strip().split("\n"), ""]
        lines += ["| method | samples per domain | CPU seconds of the fit | accuracy |", "|---|---|---|---|"]
        for line in samples:
            spent, right = float(line["cpu_seconds"]), float(line["accuracy"])
            lines.append(f"| {line['method']} | {int(line['sample']):,} | {spent:.0f} s | {right:.1f} % |")
        lines.append("")
    places = dict.fromkeys(f"Machine: {r.machine}. Versions: {r.versions}." for r in rows)
    return "\n".join([
        *lines, "Passes: bytes read over the size of both domains, prediction (half a pass) included. Load: of the "
        "machine when the measurement began, which stretches wall clock, not CPU seconds.", "", *places, "",
        "Made by `python -m benchmarks.scaling.on_disk`.", "",
    ])  # fmt: skip


def read_rows(path: Path) -> list[Row]:
    kinds = {f.name: {"int": int, "float": float, "str": str}[str(f.type)] for f in fields(Row)}
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [Row(**{k: kinds[k](v) for k, v in line.items()}) for line in csv.DictReader(file)]  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling.on_disk", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/scaling"))
    parser.add_argument("--only", nargs="*", default=list(METHODS), metavar="METHOD")
    parser.add_argument("--classifier", nargs="*", default=["ridge"])
    parser.add_argument("--n", type=int, default=1_000_000, help="samples per domain")
    parser.add_argument("--d", type=int, default=256, help="features")
    parser.add_argument("--folder", type=Path, help="where the arrays lie for as long as it takes")
    parser.add_argument("--exact", type=int, default=0, metavar="N", help="compare with N samples in memory instead")
    parser.add_argument("--sa", nargs="*", type=int, default=[], metavar="N", help="sa in memory at N samples instead")
    parser.add_argument("--samples", nargs="*", type=int, default=[], metavar="N", help="fit to N samples instead")
    parser.add_argument("--keep", action="store_true", help="leave the arrays there")
    options = parser.parse_args()
    here = Machine.here(PACKAGES)
    machine = here.text.replace(", one thread per side", ", one thread")
    versions = ", ".join(f"{k} {v}" for k, v in here.versions.items())
    path = options.out / "on_disk.csv"
    if options.sa:
        return record_lines(options.out, "sa", [row for n in options.sa for row in aligned_in_memory(n, options.d)])
    with tempfile.TemporaryDirectory(dir=options.folder) as made_here:
        folder = options.folder if options.keep else Path(made_here)
        if not (folder / "t.npy").exists():
            seen, y = made(min(options.n, DISTINCT), options.d)
            for side, x, labels in (("s", seen.source.x, seen.source.y), ("t", seen.target.x, y)):
                np.save(folder / f"y{side}.npy", labels.numpy())
                write_domain(folder / f"{side}.npy", x, options.n)
        if options.samples:
            found = [(m, k, apart(["sampled", m, str(folder), k])) for m in options.only for k in options.samples]
            lines = [
                {"method": m, "n": str(options.n), "sample": str(k), **{a: f"{v:.4g}" for a, v in f.items()}}
                for m, k, f in found
            ]
            return record_lines(options.out, "samples", lines)
        for method in options.only if options.exact else []:
            found = apart(["exact", method, str(folder), options.exact])
            record_exact(options.out, method, options.exact, found["difference"])
        for classifier in options.classifier if not options.exact else []:
            for method in options.only:
                load = os.getloadavg()[0]
                found = apart(["measure", method, str(folder), classifier])
                row = Row(
                    method, classifier, options.n, options.d, **found, load=load, machine=machine, versions=versions
                )
                print(f"{method:12s} {classifier:10s} {found}", file=sys.stderr, flush=True)
                record(path, row)


def apart(order: Sequence[Any]) -> dict[str, float]:
    """One measurement in a process of its own."""
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling.on_disk", "--one", json.dumps(order)],
        env={**os.environ, **dict.fromkeys(POOLS, "1")}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(child.stdout.strip().splitlines()[-1])
    return found


def read_lines(out: Path, which: str) -> list[dict[str, str]]:
    path = out / f"on_disk_{which}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def record_exact(out: Path, method: str, n: int, difference: float) -> None:
    """Add a comparison with the fit in memory, and make the page anew."""
    lines = {line["method"]: line for line in read_lines(out, "exact")}
    lines[method] = {"method": method, "n": str(n), "difference": f"{difference:.2e}"}
    record_lines(out, "exact", [lines[m] for m in METHODS if m in lines])


def record_lines(out: Path, which: str, lines: list[dict[str, str]]) -> None:
    """Write what stands beside the measurements, and make the page anew."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / f"on_disk_{which}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    write_page(out)


def write_page(out: Path) -> None:
    text = page(read_rows(out / "on_disk.csv"), *(read_lines(out, which) for which in ("exact", "sa", "samples")))
    (out / "on_disk.md").write_text(text)


def record(path: Path, row: Row) -> None:
    """Add a row, in the place of one of the same case, and make the page anew."""
    key = lambda r: (r.n, r.d, r.classifier, METHODS.index(r.method))  # noqa: E731
    rows = {key(r): r for r in read_rows(path)} | {key(row): row}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for r in (rows[k] for k in sorted(rows)):
            writer.writerow({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in asdict(r).items()})
    write_page(path.parent)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        what, method_, folder_, more = json.loads(sys.argv[2])
        if what == "exact":
            print(json.dumps({"difference": against_memory(method_, Path(folder_), more)}))
        elif what == "sampled":
            print(json.dumps(sampled(method_, Path(folder_), more)))
        else:
            print(json.dumps(measure(method_, more, Path(folder_))))
    else:
        main()
