"""The page of a suite of several datasets in a real browser: columns under their dataset, averages, the panel."""

from __future__ import annotations

from pathlib import Path

import pytest

from dazoo.bench.records.store import Writer
from dazoo.bench.report.build import report
from tests.bench_tools import accuracies, write_run
from tests.browser_tools import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed; apt install chromium")

GRID = '[...document.querySelectorAll("#grid tbody tr")].map((r) => r.dataset.name)'
FOCUS = 'document.activeElement.getAttribute("aria-label")'


def test_the_grid_sorts_by_an_average_and_opens_the_right_runs(tmp_path: Path) -> None:
    values = {"even": (0.5, 0.5, 0.9), "odd": (0.9, 0.7, 0.2), "part": (0.6, 0.6, None)}
    writer = Writer(tmp_path / "r")
    for label, of in values.items():
        for task, value in zip(("a/x->y", "a/y->x", "b/u->v"), of):
            if value is not None:
                write_run(writer, label, task, target=accuracies(value))
    writer.close()
    report(tmp_path / "r")
    with Browser(tmp_path / "profile") as browser:
        browser.open((tmp_path / "r" / "leaderboard.html").as_uri(), 420)
        heads = 'document.querySelectorAll("#grid thead tr:last-child th")'
        assert browser.run(f"[...{heads}].map((h) => h.textContent)")[3::2] == ["average", "average"]
        assert browser.run(GRID) == ["even", "odd", "part"]
        browser.run(f'{heads}[3].querySelector("button").click()')
        assert browser.run(GRID) == ["odd", "part", "even"]
        # what was not run stays last
        browser.run(f'{heads}[5].querySelector("button").click()')
        assert browser.run(GRID) == ["even", "odd", "part"]
        # arrow keys pass over averages, and numbers know their task
        browser.run('document.querySelector("#grid tbody button").focus()')
        for _ in range(2):
            browser.key("ArrowRight")
        assert browser.run(FOCUS) == "90.0: runs of even on b/u->v"
        browser.key("Enter")
        assert browser.run('document.getElementById("panel-title").textContent') == "even on b/u->v"
        assert "--tasks 'b/u->v'" in browser.run('document.getElementById("panel-body").textContent')
        browser.key("Escape")
        browser.run('document.querySelector("#board tbody button").click()')
        told = browser.run('document.getElementById("panel-body").textContent')
        assert "70.00 accuracy (%), mean over the averages of 2 of 2 datasets, 3 tasks, 3 runs" in told
        assert browser.run("document.documentElement.scrollWidth - innerWidth") == 0 and browser.trouble() == []
