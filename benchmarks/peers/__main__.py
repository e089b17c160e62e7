"""``python -m benchmarks.peers shallow|deep``: run one comparison and write its tables; ``reasons`` measures why the
accuracies of shallow methods differ and adds that to their page; ``seeds`` repeats deep runs with further seeds, and
``hooks`` compares with pytorch-adapt, which needs an environment of its own."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.peers import deep, hooks, seeds, shallow, why
from benchmarks.peers.measure import Machine, Row, one_thread
from benchmarks.peers.tables import read, summary, write


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("part", choices=("shallow", "deep", "reasons", "seeds", "hooks"))
    parser.add_argument("--data-root", help="where datasets lie; by default DAZOO_DATA")
    parser.add_argument("--out", type=Path, default=Path("results/peers"))
    parser.add_argument("--only", nargs="*", default=[], help="names of cases")
    parser.add_argument("--peers", nargs="*", default=list(shallow.PEERS), choices=shallow.PEERS, help="shallow only")
    parser.add_argument("--features", nargs="*", default=list(shallow.FEATURES), choices=shallow.FEATURES)
    parser.add_argument("--pairs", type=int, default=12, help="shallow only: how many pairs at most, smallest first")
    parser.add_argument("--seeds", type=int, default=5, help="seeds only: how many")
    options = parser.parse_args()
    one_thread()

    if options.part == "reasons":
        explain(options)
        return
    if options.part == "seeds":
        repeat(options)
        return
    module: ModuleType = {"shallow": shallow, "deep": deep, "hooks": hooks}[options.part]
    packages = ["skada", "numpy", "scipy", "scikit-learn", "torch", "POT"]
    more = {"shallow": ["adapt", "tensorflow", "cvxopt"], "deep": ["skorch"], "hooks": ["pytorch-adapt", "setuptools"]}
    machine = Machine.here([*packages, *more[options.part]])
    about, known = (module.__doc__ or "").strip(), []
    if module is shallow:  # what was not asked for now stays as it was measured
        anew = {(kind, peer) for kind in options.features for peer in options.peers}
        known = [
            r for r in read(options.out / "shallow.csv")
            if (r.features, r.peer) not in anew or (options.only and r.case not in options.only)
        ]  # fmt: skip
    elif options.only:
        known = [r for r in read(options.out / f"{options.part}.csv") if r.case.split(",")[0] not in options.only]

    def report(row: Row) -> None:
        known.append(dataclasses.replace(row, machine=machine.text))
        if module is deep:
            known.sort(key=deep.place)
        write(options.out, options.part, known, machine, about)  # what is measured survives an interruption
        print(
            f"{row.features[:4]:4s} {row.case:26s} {row.task:18s} "
            f"dazoo {row.ours.seconds:8.3f} s {row.ours.accuracy:6.2f} {row.ours.failure}"
            f"  {row.peer} {row.theirs.seconds:8.3f} s {row.theirs.accuracy:6.2f} {row.theirs.failure}",
            file=sys.stderr,
            flush=True,
        )

    restricted: dict[str, Any] = {}
    if module is shallow:
        restricted = {"peers": tuple(options.peers), "features": tuple(options.features), "most": options.pairs}
    module.compare(options.data_root, options.only, report, **restricted)
    paths = write(options.out, options.part, known, machine, about)
    print(summary(known))
    print("written: " + ", ".join(str(p) for p in paths))


def repeat(options: argparse.Namespace) -> None:
    """Deep runs over seeds; methods that were not asked for now stay as they were measured."""
    machine = Machine.here(["skada", "skorch", "torch", "numpy"])
    rows = [r for r in seeds.read(options.out / "seeds.csv") if options.only and r.method not in options.only]

    def report(row: seeds.Seeded) -> None:
        rows.append(row)
        print(row, file=sys.stderr, flush=True)

    seeds.compare(options.data_root, options.only, options.seeds, report)
    print("written: " + ", ".join(str(p) for p in seeds.write(options.out, rows, machine)))


def explain(options: argparse.Namespace) -> None:
    """Measure, and put the findings into ``reasons.csv``; the page of ``shallow`` gets them when it is next written."""
    from benchmarks.peers.reasons import findings

    named = Machine.here(["skada", "adapt", "POT", "scikit-learn", "numpy", "scipy", "torch"]).versions
    versions = ", ".join(f"{k} {v}" for k, v in named.items())
    for found in findings(options.data_root, options.only, tuple(options.peers), tuple(options.features)):
        path = why.write(options.out, [dataclasses.replace(f, versions=versions) for f in found])
        print(why.table(found), f"written: {path}", sep="\n", flush=True)


if __name__ == "__main__":
    main()
