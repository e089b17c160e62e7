"""The record of all measurements, and what is made of it: a page and a figure."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from benchmarks.scaling.measure import Result

AIM_N, AIM_SECONDS, AIM_GIB = 50_000, 60.0, 4.0


@dataclass(frozen=True)
class Row:
    """A measurement with all it depends on."""

    case: str
    classifier: str
    n: int
    d: int
    threads: int
    machine: str
    versions: str
    result: Result

    @property
    def key(self) -> tuple[str | int, ...]:
        """Rows of one key stand for one another."""
        return (self.case, self.classifier, self.n, self.d, self.threads, self.machine, self.versions)


KEYS = ("case", "classifier", "n", "d", "threads", "machine", "versions")
NUMBERS = ("seconds", "cpu_seconds", "peak_gib", "accuracy")
HEADER = (*KEYS[:5], *(f.name for f in fields(Result)), *KEYS[5:])


def read(path: Path) -> list[Row]:
    """All rows of the CSV, none where there is no file."""
    if not path.exists():
        return []
    rows = []
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            found = {f.name: line[f.name] for f in fields(Result)}
            result = Result(**{k: float(v or "nan") if k in NUMBERS else v for k, v in found.items()})  # type: ignore[arg-type]
            rows.append(
                Row(**{k: int(line[k]) if k in ("n", "d", "threads") else line[k] for k in KEYS}, result=result)
            )  # type: ignore[arg-type]
    return rows


def write(path: Path, rows: Iterable[Row]) -> None:
    """Replace the CSV; a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            values = {k: "" if v != v else f"{v:.4g}" if k in NUMBERS else v for k, v in asdict(row.result).items()}
            writer.writerow({**{k: getattr(row, k) for k in KEYS}, **values})
    part.replace(path)


def page(rows: list[Row], about: str) -> str:
    """A Markdown table of seconds and peak memory per case and n, and what misses the aim."""
    sizes = sorted({r.n for r in rows})
    lines = []
    for classifier in dict.fromkeys(r.classifier for r in rows):
        mine = [r for r in rows if r.classifier == classifier]
        lines += [f"## Classifier: {classifier}", "", f"| method | {' | '.join(f'{n:,}' for n in sizes)} |"]
        lines.append("|---" * (len(sizes) + 1) + "|")
        for case in dict.fromkeys(r.case for r in mine):
            at = {r.n: r.result for r in mine if r.case == case}
            lines.append(f"| {case} | {' | '.join(_cell(at.get(n)) for n in sizes)} |")
        lines += ["", _verdict(mine), ""]
    notes = dict.fromkeys(
        f"- {r.case}, n = {r.n:,}: {r.result.status}: {r.result.message}" for r in rows if r.result.message
    )
    places = dict.fromkeys(f"{r.machine}. Versions: {r.versions}." for r in rows)
    return "\n".join(
        ["# Time and memory as the number of samples grows", "", about, "", *lines, "## Not finished", "",
         *(notes or ["Everything finished."]), "", *(f"Machine: {p}" for p in places), "",
         "Made by `python -m benchmarks.scaling`.", ""]
    )  # fmt: skip


def _cell(r: Result | None) -> str:
    if r is None:
        return ""
    return f"{_short(r.seconds)} s, {r.peak_gib:.1f} GiB" if r.status == "ok" else r.status


def _short(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.2f}"


def _verdict(rows: list[Row]) -> str:
    """Which cases meet the aim at its size, in one sentence each way."""
    at = {r.case: r.result for r in rows if r.n == AIM_N}
    if not at:
        return f"Nothing was measured at n = {AIM_N:,}."
    met = [c for c, r in at.items() if r.status == "ok" and r.seconds < AIM_SECONDS and r.peak_gib < AIM_GIB]
    missed = [f"{c} ({_cell(r)})" for c, r in at.items() if c not in met]
    text = (
        f"At {AIM_N:,} samples per domain in under {AIM_SECONDS:g} s and {AIM_GIB:g} GiB: {', '.join(met) or 'none'}."
    )
    return text + (f" Not: {'; '.join(missed)}." if missed else "")


def figure(rows: list[Row], folder: Path) -> list[Path]:
    """Time and memory over n, both axes logarithmic, as PNG and PDF; the aim is dotted. First classifier only."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [r for r in rows if r.classifier == rows[0].classifier and r.result.status == "ok"]
    drawn, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    styles = ["o-", "s--", "^:", "d-."]
    for i, case in enumerate(dict.fromkeys(r.case for r in rows)):
        mine = sorted((r for r in rows if r.case == case), key=lambda r: r.n)
        for axis, name in zip(axes, ("seconds", "peak_gib")):
            values = [getattr(r.result, name) for r in mine]
            axis.plot([r.n for r in mine], values, styles[i % 4], color=f"C{i % 10}", label=case, markersize=4)
    for axis, label, aim in zip(axes, ("wall-clock seconds", "peak memory, GiB"), (AIM_SECONDS, AIM_GIB)):
        axis.set(xscale="log", yscale="log", xlabel="samples per domain", ylabel=label)
        axis.plot([AIM_N], [aim], "k*", markersize=10)
        axis.axhline(aim, color="k", linestyle=":", linewidth=0.8)
        axis.grid(alpha=0.3)
    axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    paths = [folder / f"scaling.{kind}" for kind in ("png", "pdf")]
    for path in paths:
        drawn.savefig(path, dpi=130, metadata={"CreationDate": None} if path.suffix == ".pdf" else {"Software": None})
    pyplot.close(drawn)
    return paths
