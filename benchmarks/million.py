"""What the record store costs per run, up to a million runs: ``python -m benchmarks.million --base DIR``.

Made-up runs of one checkpoint and three validators, as shallow methods leave them, are lines of full shards; the last
shards still grow. In processes of their own, with the version here and that of ``--base``:

- ``keys``: what is stored already, as ``dazoo run`` asks when it begins (from lines, then from parts);
- ``look``: one look of a driver or a worker at what was appended since, while 16 shards grow;
- ``look at so many shards``: the same while so many workers append, each one line of 1.6 kB since the last look;
- ``claim``: claiming 64 runs, looking, and releasing them, per run; ``append``: writing 64 records, per run;
- ``compact``: making parts of lines; ``report``: the whole report from parts;
- ``plan``: all keys of a suite of so many runs, and units for 256 workers; ``divide``: the division of what waits that
  follows when half of them have run.

CPU seconds, imports not counted. What takes long is left out above a number of runs (``MOST``).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

from dazoo.bench.execute.clock import load
from dazoo.bench.execute.machine import machine

COLUMNS = ("runs", "what", "from", "MB on disk", "CPU seconds", "GB", "microseconds per run", "before", "times faster")
ORDER = ("keys", "look", "claim", "append", "plan", "divide", "report", "compact", "look at so many shards")
SHARD, GROWING = 800_000, 16
TASKS, SEEDS = 50, 10
MOST = {"report": 100_000}
SHARDS = (16, 256, 4096)
"""Workers of one sweep, whose shards a look opens."""
BEFORE = ("keys", "look", "claim", "report")
"""What is measured with ``--base``, too."""
IMPORTS = """
import sys, time, json
from pathlib import Path
from dazoo.bench.records.store import Follower, Writer, stored
from dazoo.bench.records.claims import Claims
folder = Path(sys.argv[1])
"""
CALLS = {
    "keys": ("", "stored(folder)", 1),
    "look": ("f = Follower(folder); f.new_keys()", "for _ in range(20): f.new_keys()", 20),
    "workers": (
        "root = folder / 'records'; root.mkdir(parents=True, exist_ok=True); n = int(folder.name.split('-')[1])\n"
        "w = [Writer(folder) for _ in range(n)]; body = {'cpu_seconds': 1.0, 'x': 'y' * 1500}\n"
        "[o.append('%032x' % i, 'ok', body) or o.close() for i, o in enumerate(w)]\n"
        "paths = list(root.iterdir()); line = paths[0].read_bytes(); f = Follower(folder); f.new_keys()\n"
        "[p.open('ab').write(line) for p in paths]",
        "assert len(f.new_keys()) == n",
        1,
    ),
    "claim": (
        "f = Follower(folder); f.new_keys(); c = Claims(folder); keys = ['%032x' % (i << 64) for i in range(64)]",
        "for _ in range(5): c.take(keys); f.new_keys(); c.release(keys)",
        320,
    ),
    "append": (
        "body = json.loads(next(folder.glob('records/*.jsonl')).open().readline()); w = Writer(folder / 'other')",
        "for i in range(640): w.append('%032x' % i, 'ok', body)",
        640,
    ),
    "compact": ("from dazoo.bench.records.compact import compact", "compact(folder)", 1),
    "report": ("from dazoo.bench.report.build import report", "report(folder)", 1),
    "plan": (
        "from dazoo.bench.plan.plan import make_plan; from dazoo.bench.plan.suite import Suite\n"
        "from dazoo.bench.execute.schedule import units\n"
        "s = Suite.of(json.loads((folder / 'plan-me.json').read_text()))",
        "p = make_plan(s); p.missing([]); units(p.specs, 256)",
        1,
    ),
    "divide": (
        "from dazoo.bench.plan.plan import make_plan; from dazoo.bench.plan.suite import Suite\n"
        "from dazoo.bench.execute.schedule import Schedule\n"
        "p = make_plan(Suite.of(json.loads((folder / 'plan-me.json').read_text())))\n"
        "s = Schedule(); s.units(p.specs, 256); n = len(p.specs) // 2; [s.learn(r, 1.0) for r in p.specs[:n]]",
        "s.units(p.specs[n:], 256)",
        1,
    ),
}
CHILD = """
{imports}
{before}
start = time.process_time()
{call}
spent = time.process_time() - start
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("COST", spent, int(peak.split()[1]) * 1024 / 1e9)
"""


def fill(folder: Path, runs: int) -> None:
    """Lines of made-up runs: methods x 50 tasks x 10 seeds, in full shards but for the last ones."""
    root = folder / "records"
    root.mkdir(parents=True)
    names, last, sizes, shard = 0, min(GROWING, runs), 0, []
    for i in range(runs):
        method, task, seed = i // (TASKS * SEEDS), i // SEEDS % TASKS, i % SEEDS
        label = f"method_{method:04d}"
        spec = {"label": label, "method": label, "family": "f", "task": f"toy/a{task:02d}->b", "seed": seed}
        spec |= {"setting": "unsupervised", "trial": 0}
        score = (i * 2654435761 % 1000) / 1000
        point = {"step": 1, "fraction": 1.0, "scores": {"entropy": -score, "info_max": score, "snd": score / 2}}
        point["target"] = {"accuracy": score}
        body = {"format": 1, "key": f"{i:032x}", "status": "ok", "variant": "v", "started": "2024", "spec": spec}
        text = json.dumps(body | {"checkpoints": [point], "seconds": 1.0}, separators=(",", ":")).encode()[:-1]
        line = text + b',"crc":"%08x"}\n' % zlib.crc32(text)
        shard.append(line)
        sizes += len(line)
        if sizes > SHARD or i >= runs - last:
            (root / f"shard-{names:08x}-1-{names:06x}.jsonl").write_bytes(b"".join(shard))
            names, sizes, shard = names + 1, 0, []


def cost(code: Path, what: str, folder: Path) -> tuple[float, float]:
    """CPU seconds and GB of a process that does ``what`` with the version of dazoo in ``code``."""
    before, call, _ = CALLS[what]
    text = CHILD.format(imports=IMPORTS, before=before, call=call)
    env = os.environ | {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", text, str(folder)], env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    seconds, memory = next(line for line in done.stdout.splitlines() if line.startswith("COST")).split()[1:]
    return float(seconds), float(memory)


def measure_look(work: Path, shards: int) -> dict[str, object]:
    """The row of a look at so many shards that grow."""
    folder = work / f"workers-{shards}"
    seconds, memory = cost(Path(__file__).resolve().parent.parent, "workers", folder)
    shutil.rmtree(folder)
    row = dict.fromkeys(COLUMNS, "") | {"runs": shards, "what": "look at so many shards", "from": "lines"}
    return row | {"CPU seconds": round(seconds, 4), "GB": round(memory, 2)}


def measure(work: Path, runs: int, base: Path | None, only: list[str]) -> list[dict[str, object]]:
    """One row per thing that was measured."""
    here = Path(__file__).resolve().parent.parent
    folder, rows = work / f"runs-{runs}", []
    shutil.rmtree(folder, ignore_errors=True)
    fill(folder, runs)
    suite = {"dataset": "digits", "methods": ["source_only", "coral", "sa", "pca"], "tasks": "*->*"}
    pairs = 30 * 4
    (folder / "plan-me.json").write_text(json.dumps(suite | {"seeds": max(1, runs // pairs), "recipe": None}))

    def row(what: str, source: str) -> None:
        if only and what not in only:
            return
        size = sum(p.stat().st_size for p in (folder / "records").iterdir()) / 1e6
        was = cost(base, what, folder) if base is not None and what in BEFORE else None
        found, times = cost(here, what, folder), CALLS[what][2]
        per = times if times > 1 else runs
        made: dict[str, object] = {"runs": runs, "what": what, "from": source, "MB on disk": round(size, 1)}
        made |= {"CPU seconds": round(found[0] / (20 if what == "look" else 1), 4), "GB": round(found[1], 2)}
        made |= {"microseconds per run": "" if what == "look" else round(1e6 * found[0] / per, 1)}
        made |= {"before": round(was[0] / (20 if what == "look" else 1), 4) if was else ""}
        made |= {"times faster": round(was[0] / found[0], 1) if was else ""}
        rows.append(made)
        print(made, flush=True)

    for what in ("keys", "look", "claim", "append"):
        row(what, "lines")
    row("plan", "")
    row("divide", "")
    if runs <= MOST["report"]:
        row("report", "lines")
    row("compact", "lines")
    row("keys", "parts")
    if runs <= MOST["report"]:
        row("report", "parts")
    shutil.rmtree(folder)
    return rows


def write(rows: list[dict[str, object]], out: Path) -> None:
    """The rows as ``million.csv`` and ``million.md``, beside those of other numbers of runs that are there."""
    out.mkdir(parents=True, exist_ok=True)
    if (out / "million.csv").is_file():
        with (out / "million.csv").open(newline="") as file:
            made = {(int(str(r["runs"])), r["what"], r["from"]) for r in rows}
            known = [r for r in csv.DictReader(file) if (int(r["runs"]), r["what"], r["from"]) not in made]
        rows = sorted([*known, *rows], key=lambda row: (int(str(row["runs"])), ORDER.index(str(row["what"]))))
    with (out / "million.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    about, busy = machine("cpu"), load(1)
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = ["# What the record store costs per run", ""]
    lines += ["What is measured say the first lines of `benchmarks/million.py`, which made this page; `before` is an "]
    lines[-1] += "earlier version of dazoo in the same run. A look is given in seconds, all else also per run."
    lines += [f"{about['machine']['processor']}, {busy['cpus']} processors, load {busy['average']}; {versions}.", ""]
    lines += ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(map(str, row.values())) + " |" for row in rows]
    (out / "million.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--shards", type=int, nargs="*", default=SHARDS, help="That grow, for a look at all of them.")
    parser.add_argument("--only", nargs="*", default=[], help="What to measure, of the words above.")
    parser.add_argument("--base", type=Path, help="A checkout of the version to compare with.")
    parser.add_argument("--out", type=Path, help="Write million.csv and million.md there.")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        base = chosen.base and chosen.base.resolve()
        for runs in chosen.runs:
            rows = measure(Path(work), runs, base, chosen.only)
            if chosen.out is not None and rows:
                write(rows, chosen.out)
        for shards in chosen.shards:
            rows = [measure_look(Path(work), shards)]
            print(rows[0], flush=True)
            if chosen.out is not None:
                write(rows, chosen.out)


if __name__ == "__main__":
    main()
