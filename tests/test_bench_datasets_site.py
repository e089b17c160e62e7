"""Suites of several datasets beyond their own page: the site, what to cite, the ledger."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from dazoo.bench.analysis.read import read_runs
from dazoo.bench.published.ledger import Results, ledger
from dazoo.bench.published.tables import Declared, Source
from dazoo.bench.records.store import Writer
from dazoo.bench.report.cite import data_of, fragment, papers_of, protocol_of
from dazoo.bench.report.model import load_report
from dazoo.bench.report.site import site
from dazoo.core.errors import DazooError
from tests.bench_tools import accuracies, write_run

TASKS = {
    "surf/amazon->dslr": "office_caltech10",
    "deep/amazon->dslr": "office_caltech10",
    "digits/upright->noisy": "digits",
}
VALUES = {"coral": (0.5, 0.9, 0.6), "sa": (0.4, 0.8, 0.9), "source_only": (0.3, 0.5, None)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One dataset under two representations, and a second on which ``source_only`` was not run."""
    writer = Writer(tmp_path / "three")
    for label, of in VALUES.items():
        for (task, name), value in zip(TASKS.items(), of):
            if value is None:
                continue
            backbone = "resnet50" if task.startswith("deep") else "none"
            protocol = {"dataset": name, "backbone": backbone, "frozen": True, "classifier": {"name": "1nn"}}
            spec = {
                "label": label, "method": label, "family": "subspace", "task": task, "setting": "unsupervised",
                "seed": 0, "trial": 0, "protocol": protocol,
            }  # fmt: skip
            write_run(writer, label, task, target=accuracies(value), variant=task, more={"spec": spec})
    writer.close()
    return tmp_path / "three"


def test_a_site_has_a_page_per_dataset_of_the_registry(folder: Path, tmp_path: Path) -> None:
    site([folder], tmp_path / "public")
    pages = {p.stem: p.read_text() for p in (tmp_path / "public" / "datasets").glob("*.html")}
    assert set(pages) == {"office_caltech10", "digits"}
    assert "One of 3 datasets of the suite" in pages["digits"] and "1 task: upright-&gt;noisy" in pages["digits"]
    assert pages["digits"].index("90.00") < pages["digits"].index("60.00") and "not run on digits" in pages["digits"]
    assert "70.00" in pages["office_caltech10"], "of two representations the mean counts"
    with (tmp_path / "public" / "results.csv").open() as file:
        rows = {(r["method"], r["dataset"]): r["mean"] for r in csv.DictReader(file)}
    assert float(rows["coral", "digits, office_caltech10"]) == pytest.approx(2 / 3, abs=1e-6)
    assert float(rows["coral", "office_caltech10"]) == pytest.approx(0.7) and float(rows["sa", "digits"]) == 0.9
    assert rows["source_only", "digits, office_caltech10"] == "not run on digits"
    text = (tmp_path / "public" / "methods" / "sa.html").read_text()
    assert text.count("../suites/three/index.html") >= 3 and "../datasets/digits.html" in text
    for page in (tmp_path / "public").rglob("*.html"):
        assert ">nan" not in page.read_text()


def test_what_to_cite_is_of_every_dataset(folder: Path) -> None:
    made = load_report(folder)
    assert made.sets == {"deep": "office_caltech10", "digits": "digits", "surf": "office_caltech10"}
    assert {n.rpartition("-")[0] or n for n in data_of(made)} >= {"digits"}
    text = fragment(made, papers_of(made)[0], protocol_of(made))
    assert "on 3 tasks of office\\_caltech10 and digits" in text
    assert (
        "On deep: All methods share frozen features of resnet50" in text and "On digits: All methods share the" in text
    )
    assert "averaged over seeds, tasks and then datasets" in text


def line_of(runs: Source, results: dict[str, Results], dataset: str = "digits") -> float | None:
    row = Declared(dataset=dataset, representation="raw", method="CORAL", runs=(runs,), within=1.0, average=60.0)
    return ledger([row], {}, results)[0].ours


def test_the_ledger_compares_one_dataset_of_a_suite(folder: Path) -> None:
    specs: dict[str, Any] = {}
    runs = read_runs(folder, lambda r: specs.__setitem__(r["key"], r["spec"])).runs
    results = {"three": Results(runs, specs)}
    assert line_of(Source(suite="three", label="coral"), results) == pytest.approx(60)
    assert line_of(Source(suite="three", label="coral", dataset="deep"), results) == pytest.approx(90)
    with pytest.raises(DazooError, match="the suite 'three' has no dataset 'office_caltech10'"):
        line_of(Source(suite="three", label="coral"), results, "office_caltech10")
