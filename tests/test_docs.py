"""The documentation: the site builds without warnings, links resolve, tutorials run, formulas are set as written."""

from __future__ import annotations

import html
import itertools
import os
import re
import subprocess
import sys
import types
import warnings
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import numpy as np
import pytest
from PIL import Image

from dazoo.core.questions import QUESTIONS
from dazoo.core.setting import PRESETS
from dazoo.methods.base import METHODS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "generator"))

from site_boards import board_table, boards_page, gallery_page, pictures  # noqa: E402
from site_formula import formula, prose, typeset  # noqa: E402
from site_pages import Results, entries, method_page, percent  # noqa: E402
from site_settings import setting_page, settings_index  # noqa: E402

FENCE = re.compile(r"^```python\n(.*?)^```", re.S | re.M)


# -- tutorials ----------------------------------------------------------------------------------------------------


def blocks(name: str) -> list[str]:
    return FENCE.findall((DOCS / name).read_text(encoding="utf-8"))


def test_the_tutorial_runs_and_its_claims_hold() -> None:
    """Every block, in order, in one namespace; the blocks assert what the text says."""
    names: dict[str, object] = {}
    found = blocks("tutorial.en.md")
    assert len(found) >= 12 and all("assert " in b for b in found)
    for i, block in enumerate(found):
        exec(compile(block, f"tutorial block {i}", "exec"), names)


def test_the_page_of_settings_runs_and_every_setting_has_a_page() -> None:
    scope: dict[str, object] = {}
    for block in blocks("settings.md"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(block, scope)
    every, results = entries(), Results.read()
    for name in PRESETS:
        made = setting_page(name, every, results)
        assert QUESTIONS[name] in made and "<svg" in made and "## Metrics" in made
        assert f">{name}</code>" in settings_index()
    hidden = setting_page("source_free", every, results)
    assert "Without a value" in hidden and "`source_validation`" in hidden.split("Without a value")[1]


def test_the_chinese_tutorial_has_the_same_code() -> None:
    def bare(block: str) -> str:
        return re.sub(r"[ ]*#.*", "", block)

    english, chinese = blocks("tutorial.en.md"), blocks("tutorial.zh.md")
    assert [bare(b) for b in english] == [bare(b) for b in chinese]
    text = FENCE.sub("", (DOCS / "tutorial.zh.md").read_text(encoding="utf-8"))
    assert len(re.findall(r"[\u4e00-\u9fff]", text)) > 2000
    heads = [len(re.findall(r"^#+ ", FENCE.sub("", (DOCS / f"tutorial.{k}.md").read_text(encoding="utf-8")), re.M))
             for k in ("en", "zh")]  # fmt: skip
    assert heads[0] == heads[1]


def _stage(folder: Path) -> dict[str, object]:
    """What the README's blocks take for granted: arrays, a folder of pictures and a table."""
    rng = np.random.default_rng(0)
    names = {"x_source": rng.normal(size=(60, 4)), "y_source": np.repeat(["cat", "dog"], 30)}
    names["x_source"][30:] += 2
    names["x_target"] = names["x_source"] + 0.3
    for domain, kind, i in itertools.product(("photos", "sketches"), ("cat", "dog"), range(2)):
        place = folder / "root" / domain / kind
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(place / f"{i}.jpg")
    rows = [
        f"{rng.normal()},{rng.normal()},{y},{s}" for s in ("hospital_a", "hospital_b") for y in (0, 1) for _ in "123"
    ]
    (folder / "patients.csv").write_text("\n".join(["a,b,label,site", *rows]) + "\n", encoding="utf-8")
    return names


def test_the_blocks_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order and in one namespace, on arrays and files as the text describes them; the method is registered apart."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(METHODS, "_items", dict(METHODS.items()))
    module = types.ModuleType("match_means")  # a method is called like its file
    monkeypatch.setitem(sys.modules, "match_means", module)
    names = vars(module)
    names.update(_stage(tmp_path))
    found = FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(found) >= 3
    for i, block in enumerate(found):
        exec(compile(block, f"README block {i}", "exec", dont_inherit=True), names)
    assert set(names["names"]) <= {"cat", "dog"} and (tmp_path / "model.safetensors").is_file()
    assert METHODS.get("match_means") is names["MatchMeans"]


def test_the_chinese_readme_says_the_same() -> None:
    """The same blocks but for comments, as many headings, and the same links."""
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md")]
    fence = re.compile(r"^```\w*\n(.*?)^```", re.S | re.M)
    english, chinese = ([re.sub(r"[ ]*#.*", "", b) for b in fence.findall(p)] for p in pages)
    assert english == chinese
    english_links, chinese_links = (sorted(set(re.findall(r"\]\(([^)]+)\)", p))) for p in pages)
    assert [x for x in english_links if "README" not in x] == [x for x in chinese_links if "README" not in x]
    assert "README.zh.md" in english_links and "README.md" in chinese_links
    heads = [len(re.findall(r"^#+ ", fence.sub("", p), re.M)) for p in pages]
    assert heads[0] == heads[1] and len(re.findall(r"[\u4e00-\u9fff]", pages[1])) > 800


# -- formulas -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x_s,i + n_s", "<i>x</i><sub><i>s</i>,<i>i</i></sub> + <i>n</i><sub><i>s</i></sub>"),
        ("||f||^2 <= 1", "‖<i>f</i>‖<sup>2</sup> ≤ 1"),
        ("g_i (x) f_i", "<i>g</i><sub><i>i</i></sub> ⊗ <i>f</i><sub><i>i</i></sub>"),
        ("trade_off * A'", '<span class="hp">trade_off</span> · <i>A</i>′'),
        ("sum_i theta_i", '<span class="big">∑</span><sub><i>i</i></sub> <i>θ</i><sub><i>i</i></sub>'),
        ("F(x) < 3", "<i>F</i>(<i>x</i>) &lt; 3"),
    ],
)
def test_typeset(text: str, expected: str) -> None:
    assert typeset(text, {"trade_off"}) == expected


def test_prose_leaves_paths_and_names_alone() -> None:
    text = "see tests/test_a.py and source_only, x_s is ``a_b`` & c"
    assert prose(text) == (
        "see tests/test_a.py and source_only, "
        '<span class="math"><i>x</i><sub><i>s</i></sub></span> is <code>a_b</code> &amp; c'
    )


def test_prose_sets_norms_products_and_hyper_parameters() -> None:
    assert prose("y^_t, D_c(x), A^(1/2) and (a b)^2") == (
        '<span class="math"><i>ŷ</i><sub><i>t</i></sub></span>, '
        '<span class="math"><i>D</i><sub><i>c</i></sub></span>(x), '
        '<span class="math"><i>A</i><sup>1/2</sup></span> and (a b)<span class="math"><sup>2</sup></span>'
    )
    text = "||e||^2 with e = 1/n_s; g (x) f, scaled by trade_off * r(t); paths like a/b_c.py stay"
    assert prose(text, {"trade_off"}) == (
        '<span class="math">‖</span>e<span class="math">‖<sup>2</sup></span> with e = '
        '1/<span class="math"><i>n</i><sub><i>s</i></sub></span>; g<span class="math"> ⊗ </span>f, scaled by '
        "<code>trade_off</code> · r(t); paths like a/b_c.py stay"
    )


def test_two_lines_of_brackets_are_a_matrix() -> None:
    out = formula("    L = 1/2 [ a      b - c ]\n            [ d      e     ]")
    assert out.count("<tr>") == 2 and out.count("<td>") == 4


def test_every_method_has_a_page_with_all_it_must_say() -> None:
    """Formula, ranges, paper, deviations and evidence; numbers are those of the committed results."""
    results, every = Results.read(), entries()
    assert {e.name for e in every} == {n for n, c in METHODS.items() if c.__module__.startswith("dazoo.methods.")}
    for entry in every:
        page = method_page(entry, every, results)
        assert 'class="formula"' in page, entry.name
        assert html.escape(entry.cls.paper.url) in page and entry.evidence, entry.name
        for head in ("## Hyper-parameters", "## Deviations from the paper", "## Evidence", "## Results", "## Use"):
            assert head in page, (entry.name, head)
    assert any(results.published_of(e.name) for e in every)
    row = next(r for r in results.published if r["ours"] == "tca")
    page = method_page(next(e for e in every if e.name == "tca"), every, results)
    assert all(html.escape(row[k]) in page for k in ("published", "ours (%)", "difference", "verdict"))


def test_boards_hold_every_row_of_the_results_and_mark_who_sees_labels() -> None:
    results, named = Results.read(), {e.name: e for e in entries()}
    page = boards_page(results, list(named.values()))
    for suite, rows in results.boards.items():
        table = board_table(results, named, suite)
        assert table.count("<tr>") == len(rows) + 1 and f'id="{suite}"' not in table
        assert f"## {suite} {{ #{suite} }}" in page
        for row in rows:
            assert html.escape(row["method"]) in table and f"<td>{percent(row['mean'])}</td>" in table
    first = board_table(results, named, "digits", first=3)
    assert first.count("<tr>") == 4
    assert first.count("†") == sum(r["method"] in ("target_oracle", "fine_tune") for r in results.boards["digits"][:3])


def test_the_gallery_shows_the_committed_figures_with_words_for_those_who_cannot_see_them() -> None:
    shown = pictures()
    page = gallery_page(shown)
    assert len({p.place for p in shown}) == len(shown)
    assert page.count("<img ") == len(shown) == page.count("<figcaption>") == page.count(" alt=")
    assert all(p.file.is_file() and f'src="../{p.place}"' in page for p in shown)


# -- the site -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="mkdocs-material is not installed; pip install -e '.[docs]'")
    out = tmp_path_factory.mktemp("site")
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stdout + done.stderr
    return out


class _Page(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {k: v or "" for k, v in attrs}
        self.ids |= {found[k] for k in ("id", "name") if k in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in ("script", "img", "iframe", "source") and "src" in found:
            self.loaded.append(found["src"])
        if tag == "link" and found.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.loaded.append(found["href"])


def test_links_resolve_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = {p: _Page(p.read_text(encoding="utf-8")) for p in site.rglob("*.html") if p.name != "404.html"}
    assert len(pages) > len(METHODS.names()) and (site / "methods" / "dann" / "index.html") in pages
    wrong = []
    for path, page in pages.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded or parts.scheme not in ("https", "mailto"):
                    wrong.append((str(path.relative_to(site)), link))
                continue
            place, anchor = urldefrag(link)
            there = (path.parent / unquote(urlsplit(place).path)).resolve() if place else path
            there = there / "index.html" if there.is_dir() else there
            if not there.is_file() or (anchor and there in pages and unquote(anchor) not in pages[there].ids):
                wrong.append((str(path.relative_to(site)), link))
    assert wrong == []


def test_generated_pages_are_not_committed() -> None:
    assert not (DOCS / "methods").exists()
    assert (ROOT / "docs" / "architecture.md").is_file()
