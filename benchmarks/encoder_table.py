"""What the encoder of tables costs: ``python -m benchmarks.encoder_table --out results/encoders``.

Made-up tables of 13 columns of all kinds (numbers with gaps, levels, dates, truth values), each size in a process of
its own: CPU seconds to fit (two thirds of the rows as source) and to encode all rows, and the largest memory of it,
Python and the table included. Nothing is kept on disk: encoding anew is cheaper than reading.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import resource
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from dazoo.data.raw import Table
from dazoo.encoders.base import create_encoder

SIZES = (1_000, 10_000, 100_000, 1_000_000)


def table(n: int) -> pd.DataFrame:
    """``n`` rows: seven numbers, two of them with gaps, three columns of levels, two of truth values, one of dates."""
    rng = np.random.default_rng(0)
    numbers = {f"number{i}": rng.normal(size=n) for i in range(7)}
    for name in ("number5", "number6"):
        numbers[name] = np.where(rng.random(n) < 0.3, np.nan, numbers[name])
    levels = {f"level{i}": rng.choice([f"value {k}" for k in range(4**i)], n) for i in (1, 2, 3)}
    truth = {"smokes": rng.choice(["yes", "no"], n), "retired": rng.random(n) < 0.5}
    dates = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 1500, n), unit="D")
    return pd.DataFrame({**numbers, **levels, **truth, "since": dates.astype(str)})


def measure(n: int) -> dict[str, float | int]:
    """One row of the result."""
    warnings.simplefilter("ignore")
    create_encoder("table").fit(Table(table(50)), Table(table(50)))  # what is imported late
    rows = Table(table(n))
    began = time.process_time()
    fitted = create_encoder("table").fit(rows[: 2 * n // 3], rows[2 * n // 3 :])
    middle = time.process_time()
    made = fitted(rows)
    ended = time.process_time()
    return {
        "rows": n,
        "columns": rows.shape[1],
        "numbers": made.shape[1],
        "fit_cpu_seconds": round(middle - began, 2),
        "encode_cpu_seconds": round(ended - middle, 2),
        "numbers_mb": round(made.numel() * made.element_size() / 1e6, 1),
        "most_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    given = parser.parse_args()
    rows = []
    for n in given.sizes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows += pool.map(measure, [n])
        print(rows[-1], flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
