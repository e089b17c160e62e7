"""What axe-core finds on pages of reports, of the site and of the documentation: nothing serious, small or large.

axe-core is not committed: ``npm install --no-save axe-core`` in the repository, or ``AXE_CORE=path/to/axe.min.js``.
"""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dazoo.bench.records.store import Writer
from dazoo.bench.report.site import site as write_site
from tests.bench_tools import accuracies, write_run
from tests.browser_tools import CHROMIUM, Browser
from tests.test_docs import site as docs_site

ROOT = Path(__file__).parent.parent
AXE = Path(os.environ.get("AXE_CORE") or ROOT / "node_modules" / "axe-core" / "axe.min.js")
GRAVE = ("serious", "critical")
VIEWS = [(420, False), (1400, True)]
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed; apt install chromium"),
    pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not here; npm install --no-save axe-core"),
]
documentation = docs_site  # the fixture that builds the documentation


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "of_a_suite"
    writer = Writer(folder)
    values = {"source_only": 0.5, "spherical_kmeans": 0.7, "coral": 0.6, "dann": 0.65, "target_oracle": 0.9}
    for label, value in values.items():
        for task in (f"digits/{a}->{b}" for a in ("upright", "rotated", "noisy") for b in ("blurred", "scaled")):
            for seed in range(2):
                setting = "oracle" if label == "target_oracle" else "unsupervised"
                write_run(writer, label, task, seed, target=accuracies(value + seed / 50), setting=setting)
    writer.close()
    out = tmp_path_factory.mktemp("public")
    write_site([folder], out)
    return out


def found(browser: Browser, url: str, width: int, dark: bool) -> list[dict[str, Any]]:
    """Grave findings on a page, opened as by a new visitor."""
    browser.open("about:blank", width, dark=dark)  # or a new fragment would not load the page anew
    browser.open(url, width, dark=dark)
    if url.startswith("http"):
        browser.run("localStorage.clear()")
        browser.open(url, width, dark=dark)
    assert browser.run(OVERFLOW) == 0, "wide tables scroll in their own box"
    browser.run(AXE.read_text(encoding="utf-8") + ";0")
    told = "(v) => ({id: v.id, impact: v.impact, nodes: v.nodes.map((n) => [n.target, n.any[0]?.message])})"
    results = json.loads(browser.run(f"axe.run().then((r) => JSON.stringify(r.violations.map({told})))"))
    return [r for r in results if r["impact"] in GRAVE]


@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_the_site_of_results_has_no_serious_finding(public: Path, browser: Browser, width: int, dark: bool) -> None:
    pages = [public / "index.html", public / "methods" / "spherical_kmeans.html", public / "datasets" / "digits.html"]
    for page in [*pages, *sorted(public.glob("suites/*/index.html"))]:
        assert found(browser, page.as_uri(), width, dark) == [], page


def test_the_panel_behind_a_number_has_no_serious_finding(public: Path, browser: Browser) -> None:
    page = next(public.glob("suites/*/index.html"))
    assert found(browser, f"{page.as_uri()}#method=dann", 420, False) == []
    assert browser.run('document.getElementById("panel").open')


@pytest.mark.parametrize(("width", "dark"), VIEWS)
def test_the_documentation_has_no_serious_finding(
    documentation: Path, browser: Browser, width: int, dark: bool
) -> None:
    def serve(*args: Any) -> _Quiet:
        return _Quiet(*args, directory=str(documentation))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for page in ("", "methods/dann/", "leaderboards/", "results/"):
        assert found(browser, f"http://127.0.0.1:{server.server_port}/{page}", width, dark) == [], page
    server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Stays quiet."""
