"""A static site of many result folders: suites, methods and datasets, without network and without a server.

``PUBLIC/index.html`` lists the suites and methods; ``suites/NAME/`` holds the page of a suite with tables to download,
``methods/`` and ``datasets/`` a page each with all results. Folders that hold the same suite, as copies of several
people do, are one suite of the site: their records are read together, and of two records of a run the usual rule
counts. All links are relative, so the site opens from a disk as well as from any host.
"""

from __future__ import annotations

import fnmatch
import inspect
import math
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dazoo.bench.analysis.table import Row
from dazoo.bench.plan.beside import SCATTER, SUITE
from dazoo.bench.plan.suite import Suite
from dazoo.bench.published.ledger import Line
from dazoo.bench.records.store import FOLDER
from dazoo.bench.report import curves, label_curves, tables
from dazoo.bench.report import scatter as features
from dazoo.bench.report.latex import latex
from dazoo.bench.report.markdown import markdown
from dazoo.bench.report.model import Report, load_report
from dazoo.bench.report.page import page
from dazoo.bench.report.sections import sections_of
from dazoo.bench.report.text import csv_text, number
from dazoo.core.errors import DazooError
from dazoo.core.files import write_text
from dazoo.data.names import dataset_of

REPRODUCED, INFERRED, MISSED, ELSEWHERE, UNPROVEN = (
    "reproduced", "inferred", "not reproduced", "reproduced elsewhere", "unproven",
)  # fmt: skip
MEANING = {
    REPRODUCED: "a published average is met by these very runs, with hyper-parameters that do not come from it",
    INFERRED: "a published average is met, but a hyper-parameter was chosen to meet it",
    MISSED: "a published average is not met by these runs",
    ELSEWHERE: "another suite of this site reproduces a published average of the method",
    UNPROVEN: "no published average is compared with the method",
}
RESULTS = ("suite", "dataset", "method", "label", "family", "metric", *tables.OVERALL[2:6], "evidence")


@dataclass(frozen=True)
class Result:
    """A row of a suite; ``place`` counts from 1 among the ``of`` rows with the same view of target labels.

    ``dataset`` is empty for the row as a whole; of a suite with several datasets there is one on each of them, too.
    """

    suite: Part
    row: Row
    place: int
    of: int
    evidence: str
    dataset: str = ""


@dataclass
class Part:
    """A suite of the site: ``slug`` is its folder, ``datasets`` their names in the registry, ``results`` its rows, best
    first."""

    slug: str
    made: Report
    datasets: list[str]
    sources: list[str]
    results: list[Result] = field(default_factory=list)

    @property
    def dataset(self) -> str:
        return ", ".join(self.datasets)

    def tasks(self, dataset: str) -> list[str]:
        """The tasks of one of the datasets."""
        return [t for t in self.made.board.tasks if self.made.sets[dataset_of(t)] == dataset]

    def on(self, dataset: str) -> list[Result]:
        """The rows on one of the datasets, best first: with its average alone where there are several."""
        board = self.made.board
        if not board.several:
            return self.results
        at = [i for i, label in enumerate(board.datasets) if self.made.sets[label] == dataset]
        found = []
        for r in self.results:
            mean = float(np.mean([r.row.averages[i] for i in at]))
            problem = (r.row.problem or "incomplete") if math.isnan(mean) else ""
            row = replace(r.row, mean=mean, low=math.nan, high=math.nan, rank=math.nan, problem=problem)
            found.append(replace(r, row=row, dataset=dataset))
        sign = -1 if board.higher_is_better else 1
        found.sort(key=lambda r: (math.isnan(r.row.mean), sign * r.row.mean, r.row.label))
        return [replace(r, place=p, of=n) for r, (p, n) in zip(found, _places([r.row for r in found]))]


def _places(rows: Sequence[Row]) -> list[tuple[int, int]]:
    """Place of each of the sorted rows among those with the same view of target labels, and their number."""
    peers = [[r for r in rows if r.mark == row.mark and not math.isnan(r.mean)] for row in rows]
    return [(of.index(row) + 1 if row in of else 0, len(of)) for row, of in zip(rows, peers)]


def site(folders: Sequence[str | Path], out: str | Path, ledger: Sequence[Line] = ()) -> list[Path]:
    """Write a site of result folders, or of folders of such, and return the paths written.

    Args:
        ledger: published averages beside ours; rows get a badge where there are any.

    Raises:
        DazooError: a folder holds no records, or ``out`` is a result folder.
    """
    out = Path(out)
    if (out / FOLDER).exists():
        raise DazooError(f"{out} is a result folder; name another folder for the site")
    found = [f for folder in folders for f in _results(Path(folder))]
    written: list[Path] = []

    def put(name: str, text: str) -> None:
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
        written.append(path)

    parts: list[Part] = []
    pages = _Pages(parts, list(ledger))
    for members in same_suite(dict.fromkeys(f.resolve() for f in found)):
        with tempfile.TemporaryDirectory() as place:
            folder = members[0] if len(members) == 1 else merged(members, Path(place))
            made = load_report(folder)
            part = Part(_free(made.name, {p.slug for p in parts}), made, _datasets(made), [m.name for m in members])
            parts.append(part)
            part.results += results_of(part, pages.ledger)
            for name, text in _texts(made).items():
                put(f"suites/{part.slug}/{name}", text)
            part.made.derived["page"] = _drawn(made)
    _elsewhere(parts)
    for part in parts:
        draw = part.made.derived.pop("page")
        evidence = {r.row.label: r.evidence for r in part.results} if ledger else {}
        put(f"suites/{part.slug}/index.html", draw(evidence))
    for name, text in pages.texts().items():
        put(name, text)
    return written


def _results(folder: Path) -> list[Path]:
    inner = [folder] if (folder / FOLDER).is_dir() else sorted(p.parent for p in folder.glob(f"*/{FOLDER}"))
    if not inner:
        raise DazooError(f"{folder} holds no result folder; 'dazoo run SUITE --out {folder}' makes one")
    return inner


def same_suite(folders: Sequence[Path] | dict[Path, None]) -> list[list[Path]]:
    """Folders in groups of one suite: everything but methods, seeds and disk space must agree."""
    groups: dict[str, list[Path]] = {}
    for folder in folders:
        copy = folder / SUITE
        try:
            suite = Suite.load(copy)
        except DazooError:
            groups[str(folder)] = [folder]
            continue
        own = {"methods", "seeds", "keep", "description"}
        said = {k: v for k, v in vars(suite).items() if k not in own}
        groups.setdefault(repr(sorted(said.items(), key=lambda kv: kv[0])), []).append(folder)
    return list(groups.values())


def merged(folders: Sequence[Path], place: Path) -> Path:
    """A folder with the records and later scores of several, for reading only."""
    for kind in (FOLDER, "scores"):
        (place / kind).mkdir()
        for i, folder in enumerate(folders):
            for path in sorted(p for p in (folder / kind).glob("*") if p.suffix in (".jsonl", ".parquet")):
                # the name of a part is its checksum; two shards of one name may differ
                name = path.name if path.suffix == ".parquet" else f"{path.stem}-{i}{path.suffix}"
                shutil.copyfile(path, place / kind / name)
    for name in (SUITE, SCATTER):
        source = next((f / name for f in folders if (f / name).is_file()), None)
        if source is not None:
            (place / name).write_bytes(source.read_bytes())
    return place


def _texts(made: Report) -> dict[str, str]:
    sections = sections_of(made)
    return {
        "leaderboard.csv": tables.leaderboard_csv(made),
        "per_task.csv": tables.per_task_csv(made),
        "seconds.csv": tables.seconds_csv(made),
        "validators.csv": sections.validators_csv(),
        "leaderboard.md": markdown(made, sections),
        "leaderboard.tex": latex(made),
        **({"label_curves.csv": label_curves.csv(made)} if label_curves.label_curves(made) else {}),
    }


def _drawn(made: Report) -> Callable[[dict[str, str]], str]:
    """The page of a suite, to be finished by the evidence of its rows, which other suites decide too."""
    sections, learned, points = sections_of(made), curves.curves_of(made), features.scatter(made)
    return lambda evidence: page(made, sections, learned, points, home="../../index.html", evidence=evidence)


def _datasets(made: Report) -> list[str]:
    return sorted({made.sets[d] for d in made.board.datasets})


def results_of(part: Part, ledger: Sequence[Line]) -> list[Result]:
    """The rows of a suite with what the ledger says about these very runs."""
    rows = part.made.board.rows
    proofs = [evidence_of(part.made.name, row.label, ledger) for row in rows]
    return [Result(part, row, *place, proof) for row, place, proof in zip(rows, _places(rows), proofs)]


def evidence_of(suite: str, label: str, ledger: Sequence[Line]) -> str:
    """What the ledger shows about a row, by the best of its lines."""
    verdicts = [line.verdict for line in lines_of(suite, label, ledger) if line.ours is not None]
    for start, word in (("within", REPRODUCED), ("inferred", INFERRED), ("not reproduced", MISSED)):
        if any(v.startswith(start) for v in verdicts):
            return word
    return UNPROVEN


def lines_of(suite: str, label: str, ledger: Sequence[Line]) -> list[Line]:
    """The lines of the ledger that a row of a suite stands for."""
    return [
        line
        for line in ledger
        if any(s.suite == suite and fnmatch.fnmatchcase(label, s.label) for s in line.declared.runs)
    ]


def _elsewhere(parts: Sequence[Part]) -> None:
    proven = {r.row.method for p in parts for r in p.results if r.evidence == REPRODUCED}
    for part in parts:
        part.results = [
            replace(r, evidence=ELSEWHERE) if r.evidence == UNPROVEN and r.row.method in proven else r
            for r in part.results
        ]


def _free(name: str, taken: set[str]) -> str:
    """``name`` as the name of a file, with a number where it is taken (case does not tell files apart)."""
    slug = re.sub(r"[^A-Za-z0-9_.+-]", "_", name).strip(".") or "unnamed"
    low, found, i = {t.lower() for t in taken}, slug, 2
    while found.lower() in low:
        found, i = f"{slug}_{i}", i + 1
    return found


@dataclass
class _Pages:
    """The pages besides those of suites."""

    parts: list[Part]
    ledger: list[Line]

    def texts(self) -> dict[str, str]:
        methods: dict[str, list[Result]] = {}
        datasets: dict[str, list[Part]] = {}
        for part in self.parts:
            for name in part.datasets:
                datasets.setdefault(name, []).append(part)
            for r in _all_results(part):
                methods.setdefault(r.row.method, []).append(r)
        slugs: dict[str, str] = {}
        for name in sorted(methods):
            slugs[name] = _free(name, set(slugs.values()))
        places: dict[str, str] = {}
        for name in sorted(datasets):
            places[name] = _free(name, set(places.values()))
        common = {"parts": self.parts, "slugs": slugs, "places": places, "ledger": self.ledger, "meaning": MEANING}
        found = {"index.html": _render("index", methods=methods, top="", **common), "results.csv": self._csv()}
        for name, results in methods.items():
            rows = {(r.suite.made.name, r.row.label) for r in results}
            published = [x for x in self.ledger if any(x in lines_of(s, label, self.ledger) for s, label in rows)]
            about = _about(name)
            text = _render("method", name=name, results=results, published=published, about=about, top="../", **common)
            found[f"methods/{slugs[name]}.html"] = text
        for name, parts in datasets.items():
            found[f"datasets/{places[name]}.html"] = _render("dataset", name=name, of=parts, top="../", **common)
        return found

    def _csv(self) -> str:
        rows = []
        for part in self.parts:
            for r in _all_results(part):
                row = r.row
                where = [
                    part.made.name,
                    r.dataset or part.dataset,
                    row.method,
                    row.label,
                    row.family,
                    part.made.board.metric,
                ]
                numbers = [row.problem or number(row.mean), number(row.low), number(row.high), number(row.rank, 3)]
                rows.append([*where, *numbers, r.evidence if self.ledger else ""])
        return csv_text(RESULTS, rows)


def _all_results(part: Part) -> list[Result]:
    """The rows of a suite and, of several datasets, those on each."""
    return [*part.results, *(r for name in part.datasets for r in part.on(name) if r.dataset)]


def _about(name: str) -> dict[str, Any]:
    """Paper and docstring of a method of this installation; empty for others."""
    from dazoo.methods.base import METHODS

    if name not in METHODS:
        return {}
    cls = METHODS.get(name)
    doc = inspect.cleandoc(sys.modules[cls.__module__].__doc__ or cls.__doc__ or "")
    blocks = [(block[:1].isspace(), block) for block in re.split(r"\n\s*\n", doc) if block.strip()]
    return {"paper": cls.paper, "family": cls.family, "blocks": blocks}


def _render(kind: str, **values: Any) -> str:
    from dazoo.bench.report.page import environment

    return environment().get_template(f"site_{kind}.html").render(isnan=math.isnan, **values)
