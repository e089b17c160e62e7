"""The static site of several result folders: its links, merges, badges, and that it needs no network."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from typer.testing import CliRunner

from dazoo.bench.published.ledger import Line
from dazoo.bench.published.tables import Declared, Published, Source
from dazoo.bench.records.compact import compact
from dazoo.bench.records.store import Writer
from dazoo.bench.report.site import ELSEWHERE, INFERRED, REPRODUCED, UNPROVEN, site
from dazoo.cli.commands import app
from dazoo.core.errors import DazooError
from tests.bench_tools import SMALL, accuracies, write_run


class Links(HTMLParser):
    def __init__(self, path: Path):
        super().__init__()
        self.found: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [v for k, v in attrs if k in ("href", "src") and v]


def fill(folder: Path, suite: dict, values: dict[str, float]) -> Path:
    folder.mkdir(parents=True)
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    writer = Writer(folder)
    for label, value in values.items():
        for task in ("digits/upright->rotated", "digits/upright->noisy"):
            for seed in range(2):
                write_run(writer, label, task, seed, target=accuracies(value + seed / 50))
    writer.close()
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    suite = {**SMALL, "select_by": "last"}
    fill(tmp_path / "all" / "mine", suite, {"coral": 0.6, "source_only": 0.5})
    fill(tmp_path / "all" / "yours", {**suite, "methods": ["sa"], "seeds": 3}, {"sa": 0.7, "<odd/../name>": 0.4})
    fill(tmp_path / "all" / "other", {**suite, "name": "other", "classifier": "svm"}, {"coral": 0.8})
    return tmp_path / "all"


def test_every_link_leads_somewhere_and_none_leaves_the_site(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "public"
    written = site([folders], out)
    assert len(written) == len(set(written)) and all(p.is_file() and out in p.parents for p in written)
    for path in out.rglob("*.html"):
        for link in Links(path).found:
            if not re.match(r"https?:|data:|#", link):
                assert (path.parent / unquote(link.partition("#")[0])).is_file(), f"{path.name}: {link}"
        text = path.read_text()
        assert "<odd" not in text and not re.search(r"@import|url\(|<link [^>]*stylesheet|<script src", text)
    papers = [x for x in Links(out / "methods" / "coral.html").found if x.startswith("http")]
    assert len(papers) == 1


def test_folders_of_one_suite_are_merged_and_others_are_not(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "public"
    compact(folders / "yours")
    site([folders / "mine", folders / "yours", folders / "other"], out)
    assert sorted(p.name for p in (out / "suites").iterdir()) == ["other", "small"]
    with (out / "suites" / "small" / "leaderboard.csv").open(newline="") as file:
        assert [r["method"] for r in csv.DictReader(file)] == ["sa", "coral", "source_only", "<odd/../name>"]
    with (out / "results.csv").open(newline="") as file:
        rows = [(r["suite"], r["label"]) for r in csv.DictReader(file)]
    assert len(rows) == 5 and ("other", "coral") in rows
    assert "Records of 2 folders are read together" in (out / "datasets" / "digits.html").read_text()
    method = (out / "methods" / "coral.html").read_text()
    assert "2 of 4" in method and "1 of 1" in method and 'class="formula"' in method
    assert "../suites/small/index.html#method=coral" in method


def test_badges_say_what_the_ledger_shows_of_a_row(folders: Path, tmp_path: Path) -> None:
    def line(label: str, verdict: str) -> Line:
        runs = (Source(suite="small", label=label),)
        row = Declared(dataset="digits", representation="raw", method=label, runs=runs, within=1.0)
        return Line(row, Published(60.0, {}), 60.5, None, verdict)

    out = tmp_path / "public"
    site([folders], out, [line("coral", "within 1.0"), line("sa", "inferred, within 1.0")])
    with (out / "results.csv").open(newline="") as file:
        found = {(r["suite"], r["label"]): r["evidence"] for r in csv.DictReader(file)}
    assert found["small", "coral"] == REPRODUCED and found["other", "coral"] == ELSEWHERE
    assert found["small", "sa"] == INFERRED and found["small", "source_only"] == UNPROVEN
    assert 'class="badge inferred"' in (out / "suites" / "small" / "index.html").read_text()
    assert "60.50" in (out / "methods" / "coral.html").read_text()


def test_mistakes_are_told(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(DazooError, match="is a result folder; name another folder"):
        site([folders], folders / "mine")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DazooError, match="holds no result folder"):
        site([tmp_path / "empty"], tmp_path / "public")


def test_the_command_writes_a_site(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAZOO_DATA", str(tmp_path / "nothing"))
    done = CliRunner().invoke(app, ["site", str(folders), "--out", str(tmp_path / "public")])
    assert done.exit_code == 0 and "no row carries a badge" in done.output
    assert (tmp_path / "public" / "index.html").is_file()
