"""The page in a real headless browser: sorting, filtering, no errors on the console, no requests, narrow and wide.

The page is opened with a probe appended to it that uses it as a reader would and leaves what it saw in the document.
"""

from __future__ import annotations

import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dazoo.bench.report import report
from dazoo.bench.store import Writer
from tests.bench_tools import accuracies, write_run

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed; apt install chromium")

EARS = """
<script>
window.trouble = [];
addEventListener("error", (e) => trouble.push(String(e.message || e.target.outerHTML)), true);
addEventListener("unhandledrejection", (e) => trouble.push(String(e.reason)));
addEventListener("securitypolicyviolation", (e) => trouble.push(e.blockedURI));
for (const kind of ["error", "warn"]) { const old = console[kind];
  console[kind] = (...all) => { trouble.push(all.join(" ")); old(...all); }; }
</script>
"""
PROBE = """
<script>
(() => {
  const seen = {};
  const names = () => [...document.querySelectorAll("#board tbody tr")].filter((r) => !r.hidden)
    .map((r) => r.dataset.name);
  const heads = [...document.querySelectorAll("#board thead th")];
  const press = (i) => heads[i].querySelector("button").click();
  seen.start = names();
  press(1); seen.best = names(); seen.sort = heads[1].getAttribute("aria-sort");
  press(1); seen.worst = names();
  press(0); seen.alphabet = names();
  const set = (id, value) => { const box = document.getElementById(id); box.value = value;
    box.dispatchEvent(new Event("input")); };
  set("f-name", "CORAL"); seen.named = names(); seen.count = document.getElementById("count").textContent;
  set("f-name", ""); set("f-family", "moment"); seen.family = names(); set("f-family", "");
  const mark = document.getElementById("f-mark"); mark.checked = false; mark.dispatchEvent(new Event("input"));
  seen.unmarked = names();
  mark.checked = true; mark.dispatchEvent(new Event("input"));
  for (const d of document.querySelectorAll("details")) d.open = true;
  seen.rules = [...document.querySelectorAll("#rules thead th.oracle")].map((h) => h.textContent);
  seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  seen.width = innerWidth;
  seen.requests = performance.getEntriesByType("resource").map((e) => e.name);
  seen.trouble = window.trouble;
  const out = document.createElement("pre"); out.id = "seen"; out.textContent = JSON.stringify(seen);
  document.body.append(out);
})();
</script>
"""


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
                write_run(writer, label, task, seed, 0, scores, points, status=status, setting=setting, family=family)
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
    """Where the probed page is served, by a server that counts what is asked of it."""
    text = page.read_text(encoding="utf-8")
    probed = text.replace("<head>", "<head>" + EARS, 1).replace("</body>", PROBE + "</body>", 1)
    assert probed.count("<script>") == text.count("<script>") + 2
    (page.parent / "probed.html").write_text(probed, encoding="utf-8")
    handler = type("Handler", (_Counting,), {"asked": []})

    def make(*args: Any) -> _Counting:
        return handler(*args, directory=str(page.parent))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), make)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/probed.html"
    server.shutdown()
    assert set(handler.asked) <= {"/probed.html", "/favicon.ico"}, "the page asked for something of its own"


def chromium(url: str, width: int, profile: Path, *more: str) -> str:
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", f"--user-data-dir={profile}", f"--window-size={width},900",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", *more, url,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout


@pytest.mark.parametrize("width", [500, 1400])
def test_the_page_works_in_a_browser(served: str, tmp_path: Path, width: int) -> None:
    dom = chromium(served, width, tmp_path / "profile", "--dump-dom")
    match = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.S)
    assert match is not None, "the probe did not run to its end"
    seen = json.loads(match[1].replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))
    assert seen["trouble"] == [] and seen["requests"] == []
    assert seen["start"] == ["target_oracle", "deep_coral", "coral", "source_only", "broken"]
    assert seen["best"] == seen["start"] and seen["sort"] == "descending"
    assert seen["worst"] == ["source_only", "coral", "deep_coral", "target_oracle", "broken"]
    assert seen["alphabet"] == sorted(seen["start"])
    assert seen["named"] == ["coral", "deep_coral"] and seen["count"] == "2 of 5 methods"
    assert seen["family"] == ["coral", "deep_coral"]
    assert seen["unmarked"] == ["broken", "coral", "deep_coral", "source_only"]
    assert seen["rules"] == ["oracle (target labels)"]
    assert seen["width"] == width and seen["overflow"] == 0, "wide tables scroll in a box of their own"


@pytest.mark.parametrize("width", [500, 1400])
def test_the_page_is_painted(page: Path, tmp_path: Path, width: int) -> None:
    from PIL import Image

    shot = tmp_path / "shot.png"
    chromium(page.as_uri(), width, tmp_path / "profile", f"--screenshot={shot}")
    with Image.open(shot) as image:
        assert image.width == width and len(image.convert("RGB").getcolors(1 << 20) or []) > 20
