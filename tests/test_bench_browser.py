"""The page in a real headless browser: sorting, filtering, the runs behind numbers, keys, phones, light and dark.

Chromium is driven over its debugging pipe (``browser_tools``), so that keys are real and narrow screens narrow.
"""

from __future__ import annotations

import base64
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dazoo.bench.plan.beside import SCATTER, SCATTER_FORMAT
from dazoo.bench.records.store import Writer
from dazoo.bench.report.build import report
from dazoo.bench.report.model import load_report
from dazoo.bench.report.scatter import choose
from tests.bench_tools import accuracies, write_run
from tests.browser_tools import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed; apt install chromium")

NAMES = '[...document.querySelectorAll("#board tbody tr")].filter((r) => !r.hidden).map((r) => r.dataset.name)'
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
PANEL = 'document.getElementById("panel").open'
FOCUS = 'document.activeElement.getAttribute("aria-label") || document.activeElement.id'


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    writer = Writer(folder)
    methods = {"source_only": 0.5, "coral": 0.6, "deep_coral": 0.7, "target_oracle": 0.9, "broken": 0.1}
    families = {"coral": "moment", "deep_coral": "moment", "source_only": "baseline"}
    for label, value in methods.items():
        for task in (f"toy/{a}->{b}" for a in "abcd" for b in "abcd" if a != b):
            for seed in range(3):
                points = accuracies(value - 0.1 + seed / 90, value + seed / 100)
                scores = [{"info_max": 0.1, "entropy": 0.3}, {"info_max": 0.2, "entropy": 0.1}]
                status = "failed" if label == "broken" and seed else "ok"
                setting = "oracle" if label == "target_oracle" else "unsupervised"
                family = families.get(label, "other")
                collapsed = [{"target": 1.2, "source": 10.0}] * 2 if label == "coral" and task == "toy/a->b" else None
                curves = {"cls": [(s, 1 / (s + 1)) for s in range(60)]} if "deep" in label else None
                write_run(
                    writer, label, task, seed, 0, scores, points, status=status, setting=setting, family=family,
                    curves=curves, predicted=collapsed,
                )  # fmt: skip
    panel = {"source": [[0, 0], [9, 9]], "target": [[500, 1000]], "source_class": [0, 1], "target_class": [1]}
    panels = {w.name("pca"): {**panel, "of": [20, 10]} for w in choose(load_report(folder))}
    (folder / SCATTER).write_text(json.dumps({"format": SCATTER_FORMAT, "panels": panels}))
    report(folder)
    return folder / "leaderboard.html"


class _Counting(http.server.SimpleHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args: Any) -> None:
        """Stays quiet."""


@pytest.fixture(scope="module")
def served(page: Path) -> Iterator[str]:
    """Where the page is served, by a server that counts what is asked of it."""
    handler = type("Handler", (_Counting,), {"asked": []})

    def make(*args: Any) -> _Counting:
        return handler(*args, directory=str(page.parent))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), make)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/leaderboard.html"
    server.shutdown()
    assert set(handler.asked) == {"/leaderboard.html"}, "the page asked for something of its own"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def press(browser: Browser, column: int) -> None:
    browser.run(f'document.querySelectorAll("#board thead th")[{column}].querySelector("button").click()')


def enter(browser: Browser, name: str, value: str) -> None:
    box = f'document.getElementById("{name}")'
    browser.run(f'{box}.value = "{value}"; {box}.dispatchEvent(new Event("input", {{bubbles: true}}))')


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_the_page_works_in_a_browser(served: str, browser: Browser, width: int, dark: bool) -> None:
    browser.open(served, width, dark=dark)
    start = browser.run(NAMES)
    assert start == ["target_oracle", "deep_coral", "coral", "source_only", "broken"]
    press(browser, 1)
    assert browser.run(NAMES) == start
    assert browser.run('document.querySelectorAll("#board thead th")[1].ariaSort') == "descending"
    press(browser, 1)
    assert browser.run(NAMES) == ["source_only", "coral", "deep_coral", "target_oracle", "broken"]
    press(browser, 0)
    assert browser.run(NAMES) == sorted(start)
    enter(browser, "f-name", "CORAL")
    assert browser.run(NAMES) == ["coral", "deep_coral"]
    assert browser.run('document.getElementById("count").textContent') == "2 of 5 methods"
    enter(browser, "f-name", "")
    enter(browser, "f-family", "moment")
    assert browser.run(NAMES) == ["coral", "deep_coral"]
    enter(browser, "f-family", "")
    browser.run('document.getElementById("f-mark").click()')
    assert browser.run(NAMES) == ["broken", "coral", "deep_coral", "source_only"]
    assert browser.run('document.querySelector("#rules thead th.oracle").textContent') == "oracle (target labels)"
    browser.run('for (const d of document.querySelectorAll("details")) d.open = true')
    assert browser.run("innerWidth") == width and browser.run(OVERFLOW) == 0, "wide tables scroll in their own box"
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(17, 22, 28)" if dark else "rgb(255, 255, 255)")
    assert browser.trouble() == [] and browser.requests() == [served]


@pytest.mark.parametrize("width", [390, 1280])
def test_keys_open_the_runs_behind_a_number_and_focus_returns(served: str, browser: Browser, width: int) -> None:
    browser.open(served, width)
    browser.run('document.querySelector("#grid tbody button").focus()')
    browser.key("ArrowDown")
    browser.key("ArrowRight")
    assert browser.run(FOCUS) == "71.0: runs of deep_coral on a->c"
    browser.key("Enter")
    assert browser.run(PANEL) and browser.run(FOCUS) == "panel-title"
    text = browser.run('document.getElementById("panel-body").textContent')
    for part in (
        "71.00 ± 1.00", "mean over 3 seeds", "chosen by: info_max", "checkpoint2 of 2, step 2 of 2", "seed 2, trial 0",
        "info_max 0.2, entropy 0.1", "accuracy 0.72", "started2024-01-01T00:00:00", "run key",
        "dazoo run SUITE.yaml --methods deep_coral --tasks 'a->c' --seeds 3",
    ):  # fmt: skip
        assert part in text, part
    assert browser.run('document.getElementById("panel").getBoundingClientRect().right') <= width
    assert browser.run(OVERFLOW) == 0
    browser.key("Escape")
    assert not browser.run(PANEL) and browser.run(FOCUS) == "71.0: runs of deep_coral on a->c"
    browser.key("Tab")  # the table is one stop, so Tab leaves it
    assert not browser.run('document.activeElement.matches("#grid button")')
    assert browser.trouble() == []


def test_every_number_opens_and_failures_and_findings_are_told(served: str, browser: Browser) -> None:
    browser.open(served, 1280)
    cells = browser.run('document.querySelectorAll("td.open").length')
    assert cells == browser.run('document.querySelectorAll("td.open > button").length') == 5 + 5 * 12
    opened = browser.run("""[...document.querySelectorAll("td.open > button")].map((b) => {
      b.click(); const text = document.getElementById("panel-body").textContent;
      document.getElementById("panel").close();
      return [b.closest("tr").dataset.name, b.parentElement.dataset.t, text]; })""")
    for name, task, text in opened:
        assert f"--methods {name}" in text and "run key" in text
        assert ("There is no number here" in text and "ValueError: it broke" in text) == (name == "broken")
        assert ("⚠ collapse" in text) == (name == "coral" and task in ("-1", "0"))
    flags = "document.querySelector('#board tr[data-name=\"coral\"] .flags.wide').textContent"
    assert "collapse" in browser.run(flags)
    assert browser.trouble() == []


def test_curves_and_scatter_are_drawn(served: str, browser: Browser) -> None:
    browser.open(served, 390)
    heads = '[...document.querySelectorAll("#curves figcaption")].map((f) => f.textContent)'
    assert browser.run(heads) == [
        "loss: cls", "validator: info_max (chooses)", "validator: entropy", "accuracy (oracle: target labels)",
    ]  # fmt: skip
    assert browser.run('document.querySelector("#curves path").getAttribute("d").split("L").length') == 40
    assert browser.run('document.getElementById("c-run").options.length') == 36
    enter(browser, "c-beside", "deep_coral")
    assert "Dashed" in browser.run('document.getElementById("curves").textContent')
    titles = browser.run('[...document.querySelectorAll("#scatter figcaption")].map((f) => f.textContent)')
    assert titles == ["before adaptation: source_only, seed 0", "best: deep_coral, seed 0", "worst: coral, seed 0"]
    assert browser.run('document.querySelectorAll("#scatter path.source").length') == 6
    assert browser.run('document.querySelector("#scatter path.target").classList.contains("c1")')
    browser.run('document.querySelector("#s-legend button").click()')
    assert browser.run('document.querySelectorAll("#scatter path.dim").length') == 6
    assert browser.trouble() == []


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_painted(page: Path, browser: Browser, tmp_path: Path, width: int) -> None:
    from PIL import Image

    browser.open(page.as_uri(), width)
    browser.shot(tmp_path / "shot.png")
    with Image.open(tmp_path / "shot.png") as image:
        assert image.width == width and len(image.convert("RGB").getcolors(1 << 20) or []) > 20


def test_paper_gets_light_colours_whole_tables_and_no_controls(page: Path, browser: Browser) -> None:
    browser.open(page.as_uri(), 1030, dark=True)  # the width of a sheet in landscape
    browser("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("getComputedStyle(document.body).color") == "rgb(22, 32, 44)"
    assert browser.run('getComputedStyle(document.querySelector(".filters")).display') == "none"
    wide = '[...document.querySelectorAll("#board, #grid")].map((t) => t.scrollWidth - document.body.clientWidth)'
    assert max(browser.run(wide)) <= 1
    # a button would not be drawn where the heads are repeated on the next page
    assert browser.run('getComputedStyle(document.querySelector("#grid thead button")).display') == "contents"
    pages = base64.b64decode(browser("Page.printToPDF", paperWidth=11.7, paperHeight=8.3)["data"])
    browser("Emulation.setEmulatedMedia", media="screen")
    assert pages.startswith(b"%PDF-")


def test_the_address_names_a_view_and_a_method(page: Path, browser: Browser) -> None:
    browser.open("about:blank", 1280)
    browser.open(f"{page.as_uri()}#name=coral&sort=1.ascending&method=coral&task=a-%3Eb", 1280)
    assert browser.run(PANEL) and browser.run('document.getElementById("panel-title").textContent') == "coral on a->b"
    assert browser.run(NAMES) == ["coral", "deep_coral"]
    browser.key("Escape")
    assert browser.run("location.hash") == "#name=coral&sort=1.ascending"
    enter(browser, "f-name", "")
    browser.run('document.getElementById("f-mark").click(); document.getElementById("f-group").click()')
    assert browser.run("location.hash") == "#mark=no&group=yes&sort=1.ascending"
    rows = 'document.querySelectorAll("#board tbody tr:not([hidden])")'
    shown = f"[...{rows}].map((r) => r.dataset.name || r.textContent.trim())"
    assert browser.run(shown) == [
        "baseline (1)", "source_only", "moment (2)", "coral", "deep_coral", "other (1)", "broken",
    ]  # fmt: skip
    assert browser.run('document.querySelectorAll("#board tr:not([hidden]) .range").length') == 3
    assert browser.trouble() == []


def test_large_data_is_unpacked_by_the_browser(page: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    from dazoo.bench.report import embedded

    plain = page.read_text()
    monkeypatch.setattr(embedded.script, "__defaults__", (100,))
    report(page.parent)
    assert page.read_text().count('data-packed="gzip"') == 3
    browser.open("about:blank", 1280)
    browser.open(page.as_uri(), 1280)
    browser.run("Promise.all(Object.values(unpacked)).then(() => new Promise((done) => setTimeout(done)))")
    browser.run('document.querySelector("#grid tbody tr td.open > button").click()')
    text = browser.run('document.getElementById("panel-body").textContent')
    monkeypatch.undo()
    page.write_text(plain)
    browser.open(page.as_uri(), 1280)
    browser.run('document.querySelector("#grid tbody tr td.open > button").click()')
    whole = browser.run('document.getElementById("panel-body").textContent')
    short, found = re.subn(r"(run key\s*[0-9a-f]{12})[0-9a-f]{20}", r"\1", whole)
    assert short == text and found
