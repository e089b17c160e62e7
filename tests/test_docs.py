"""The documentation: the site builds without warnings, links resolve, tutorials run, formulas are set as written."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from dazoo.methods.base import METHODS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "generator"))

from site_boards import board_table, boards_page, gallery_page, pictures  # noqa: E402
from site_formula import formula, prose, typeset  # noqa: E402
from site_pages import Results, entries, method_page, percent  # noqa: E402

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
