"""All shallow methods at one size that is large for a laptop: ``python -m benchmarks.scaling.large``.

Every method is fitted to and predicts 20,000 + 20,000 samples of 128 features of made data (``growth.measure``), each
in a process of its own with limits on CPU seconds and memory, the fastest of ``growth.csv`` first. Finished rows stay
in ``large.csv``; the page says which methods finish, which take a bounded form for it, and with which sentence the
others refuse.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.peers.measure import Machine, one_thread
from benchmarks.scaling import growth

STEM = "large"


def quickest_first(names: list[str], rows: growth.Rows) -> list[str]:
    """By what ``growth`` measured at the largest n that a method finished; unmeasured ones last."""

    def seconds(name: str) -> tuple[float, float]:
        done = [(int(r["n"]), float(r["cpu_seconds"])) for (m, _), r in rows.items() if m == name and r["cpu_seconds"]]
        n, spent = max(done, default=(0, float("inf")))
        return (-n, spent)

    return sorted(names, key=seconds)


def page(rows: growth.Rows, d: int, seconds: int, gib: float) -> str:
    """What finishes, what it takes, and what the others say."""
    n = max((n for _, n in rows), default=0)
    of = {status: [r for r in rows.values() if r["status"] == status] for status in dict.fromkeys(
        r["status"] for r in sorted(rows.values(), key=lambda r: r["status"] != "ok"))}  # fmt: skip
    ok = of.get("ok", [])
    bounded = sum(bool(r["message"]) for r in ok)
    counts = ", ".join(f"{len(v)} {k}" for k, v in of.items() if k != "ok")
    here = Machine.here(("numpy", "scipy", "scikit-learn", "torch", "POT"))
    lines = [
        f"# All shallow methods at {n:,} + {n:,} samples", "",
        f"{d} features, made data; one thread, a process each, which ends beyond {seconds} CPU seconds or {gib:g} GiB. "
        f"CPU seconds are of fit and prediction, GiB what they add at their peak. {len(ok)} of {len(rows)} methods "
        f"finish, {bounded} of them by a form that is bounded, as a warning of the run says"
        f"{f' ({counts})' if counts else ''}.", "",
        "| method | CPU seconds | GiB | bounded form |", "|---|---|---|---|",
    ]  # fmt: skip
    for r in sorted(ok, key=lambda r: float(r["cpu_seconds"])):
        lines.append(
            f"| {r['method']} | {float(r['cpu_seconds']):.1f} | {float(r['added_gib']):.2f} | {r['message']} |"
        )
    lines += ["", "## Not finished", ""]
    rest = [f"- {r['method']}: {r['status']}: {r['message']}".removesuffix(": ") for r in rows.values() if r not in ok]
    lines += [*(rest or ["Everything that was measured finished."]), ""]
    if waiting := [name for name in growth.methods() if name not in {m for m, _ in rows}]:
        lines += [f"Not measured yet (the same command goes on): {', '.join(waiting)}.", ""]
    lines += [f"Machine: {here.text}. Versions: {', '.join(f'{k} {v}' for k, v in here.versions.items())}.", ""]
    return "\n".join([*lines, "Made by `python -m benchmarks.scaling.large`.", ""])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling.large", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/scaling"))
    parser.add_argument("--only", nargs="*", default=[], metavar="METHOD")
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--d", type=int, default=128)
    parser.add_argument("--seconds", type=int, default=64, help="limit of CPU seconds of one measurement")
    parser.add_argument("--gib", type=float, default=6.0)
    parser.add_argument("--again", action="store_true", help="repeat what is there")
    options = parser.parse_args(arguments)
    one_thread()
    table = options.out / f"{STEM}.csv"
    rows = growth.read(table)
    names = quickest_first(options.only or growth.methods(), growth.read(options.out / "growth.csv"))
    growth.load()
    for name in names:
        if (name, options.n) in rows and not options.again:
            continue
        rows[name, options.n] = growth.row(
            name, options.n, growth.apart(name, options.n, options.d, options.seconds, options.gib)
        )
        print(rows[name, options.n], file=sys.stderr, flush=True)
        growth.write_rows(table, rows)
        table.with_suffix(".md").write_text(page(rows, options.d, options.seconds, options.gib), encoding="utf-8")


if __name__ == "__main__":
    main()
