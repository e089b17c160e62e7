"""One nasty name through every output: it is text everywhere, and markup, command or formula nowhere."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from dazoo.bench.records.store import Writer
from dazoo.bench.report.build import report
from dazoo.bench.report.text import md_table
from dazoo.cli.report import show
from tests.bench_tools import accuracies, write_run

NASTY = "=1+1[red]</script><b>&amp;|`x`*y*_z_ \\input{/etc/passwd} %$#{}^~ 'q' \"r\""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nasty")
    writer = Writer(folder)
    for label, value in ((NASTY, 0.5), ("plain", 0.25)):
        write_run(writer, label, "toy/a->b", target=accuracies(value), more={"warnings": [NASTY]})
    flags = [{"kind": "collapse", "subject": "x", "text": NASTY}]
    write_run(writer, "flagged", "toy/a->b", target=accuracies(0.1), family=NASTY, flags=flags)
    write_run(writer, "broken", "toy/a->b", status="failed", more={"error": {"type": "E", "message": NASTY}})
    writer.close()
    report(folder)
    return folder


def test_page(folder: Path) -> None:
    page = (folder / "leaderboard.html").read_text()
    assert "<b>&" not in page and "</script><b" not in page
    assert page.count("<script") == page.count("</script>")


def test_latex(folder: Path) -> None:
    text = (folder / "leaderboard.tex").read_text()
    assert "\\input" not in text
    row = next(line for line in text.splitlines() if "passwd" in line)
    assert not re.search(r"(?<!\\)[%$#]", row.removesuffix("%"))


def test_tables(folder: Path) -> None:
    for name in ("leaderboard.csv", "per_task.csv", "seconds.csv"):
        with (folder / name).open(newline="") as file:
            labels = [row["method"] for row in csv.DictReader(file)]
        assert f"'{NASTY}" in labels and NASTY not in labels
    text = (folder / "leaderboard.md").read_text()
    assert "<b>" not in text and "</script>" not in text and "[red]" not in text.replace("\\[red\\]", "")


def test_ledger_cells() -> None:
    line = md_table([NASTY, "plain"], [])[0]
    assert len(re.findall(r"(?<!\\)\|", line)) == 3 and "<b>" not in line and "`x`" not in line.replace("\\`x\\`", "")


def test_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(report(folder))
    assert "=1+1[red]</script><b>" in capsys.readouterr().out


def test_environment_is_text(folder: Path) -> None:
    (folder / "environment.json").write_text(json.dumps({NASTY: NASTY}))
    report(folder)
    page = (folder / "leaderboard.html").read_text()
    assert "</script><b" not in page
