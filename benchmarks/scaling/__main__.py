"""``python -m benchmarks.scaling``: measure what has not been measured yet, and write the tables and the figure."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.peers.measure import Machine
from benchmarks.scaling.measure import CASES, run_apart
from benchmarks.scaling.tables import Row, figure, page, read, write

SIZES = (1_000, 3_000, 10_000, 30_000, 50_000, 100_000)
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "POT")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/scaling"))
    parser.add_argument("--only", nargs="*", default=[], metavar="CASE", help="names of cases")
    parser.add_argument("--n", nargs="*", type=int, default=list(SIZES), help="samples per domain")
    parser.add_argument("--d", type=int, default=256, help="features")
    parser.add_argument("--classifier", default="logistic", help="what the methods finish with")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=180.0, help="time limit of one measurement, loading included")
    parser.add_argument("--gib", type=float, default=8.0, help="limit of resident memory")
    parser.add_argument("--again", action="store_true", help="repeat finished measurements")
    options = parser.parse_args(arguments)
    cases = [c for c in CASES if not options.only or c.name in options.only]
    here = Machine.here(PACKAGES)
    machine, versions = (
        here.text.replace(", one thread per side", ""),
        ", ".join(f"{k} {v}" for k, v in here.versions.items()),
    )
    path = options.out / "scaling.csv"
    rows = {r.key: r for r in read(path)}
    known = list(rows)
    plan = [(case, n) for n in sorted(options.n) for case in cases]
    stuck: set[str] = set()
    for i, (case, n) in enumerate(plan):
        key = (case.name, options.classifier, n, options.d, options.threads, machine, versions)
        if key in known and not options.again:
            result, kept = rows[key].result, True
        elif case.name in stuck:
            continue  # a smaller problem ran into a limit already
        else:
            result, kept = (
                run_apart(case, n, options.d, options.classifier, options.threads, options.seconds, options.gib),
                False,
            )
            rows[key] = Row(case.name, options.classifier, n, options.d, options.threads, machine, versions, result)
            write(path, rows.values())
        if result.status.endswith("limit"):
            stuck.add(case.name)
        said = (
            f"{result.seconds:.2f} s, {result.peak_gib:.2f} GiB, {result.accuracy:.1f} %"
            if result.status == "ok"
            else result.status
        )
        print(
            f"[{i + 1}/{len(plan)}] {case.name:26s} n = {n:>7,}: {said}{' (kept)' if kept else ''}",
            file=sys.stderr,
            flush=True,
        )
    order = [c.name for c in CASES]
    shown = sorted(rows.values(), key=lambda r: (r.classifier != "logistic", r.classifier, order.index(r.case), r.n))
    write(path, shown)
    about = (
        "Seconds of wall clock for fitting and for predicting all target samples, and the largest resident memory of "
        f"the whole process, with {options.d} features and the same number of samples in each domain; "
        f"{options.threads} threads, one fresh process per measurement, limits of {options.seconds:g} s and "
        f"{options.gib:g} GiB. CPU seconds and accuracies are in `scaling.csv`. A case that meets a limit is not tried "
        "at larger n."
    )
    (options.out / "scaling.md").write_text(page(shown, about))
    print("written: " + ", ".join(str(p) for p in [path, options.out / "scaling.md", *figure(shown, options.out)]))


if __name__ == "__main__":
    main()
