"""Citations of methods and datasets: all authors with given names, and entries that BibTeX reads."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dazoo.bench.report.cite import bibtex, keys
from dazoo.core.bibtex import bibtex_entry
from dazoo.core.paper import Paper
from dazoo.data.registry import DATASETS
from dazoo.methods.base import METHODS

# Authors who publish under one name only, with the reason; nobody so far.
ONE_NAME: dict[str, str] = {}


def papers() -> dict[str, Paper]:
    found = {name: METHODS.get(name).paper for name in [*METHODS.names(), "cdan+mcc"]}
    for name in DATASETS.names():
        found |= {f"{name}-{i}": paper for i, paper in enumerate(DATASETS.get(name).papers)}
    return found


def test_all_authors_have_given_names() -> None:
    short = {
        name: who
        for name, paper in papers().items()
        for who in paper.authors.split(", ")
        if who not in ONE_NAME and not re.fullmatch(r"[^\W\d_a-z][\w.'’-]*( [\w.'’-]+)*( [\w.'’\u00a0-]{2,})", who)
    }
    assert not short, f"write 'Given Surname, Given Surname' in Paper.authors: {short}"


def test_one_paper_is_cited_in_one_way() -> None:
    found: dict[str, set[tuple[str, int, str]]] = {}
    for paper in papers().values():
        found.setdefault(paper.title, set()).add((paper.authors, paper.year, paper.url))
    # Deviations differ from method to method; who wrote a paper does not.
    assert not {t: sorted(v) for t, v in found.items() if len({(a, y) for a, y, _ in v}) > 1}


def test_surnames_of_several_words_and_marks_of_venues() -> None:
    paper = Paper("T", "Elad Ben\u00a0Zaken, Hal Daumé\u00a0III, Li Wu", 2007, "u", "Neural Networks (Journal)")
    entry = bibtex_entry(paper, "k")
    assert "author = {Elad {Ben Zaken} and Hal {Daumé III} and Li Wu}" in entry
    assert entry.startswith("@article") and "journal = {Neural Networks}," in entry
    assert paper.where == "Neural Networks"
    book = bibtex_entry(Paper("T", "A B", 1995, "u", "Springer (Book)"), "k")
    assert book.startswith("@book") and "publisher = {Springer}" in book
    assert bibtex_entry(Paper("T", "A B", 1998, "u"), "k").startswith("@misc")
    assert "booktitle = {ICML}" in bibtex_entry(Paper("T", "A B", 1998, "u", "ICML"), "k")


def test_a_combination_cites_the_papers_of_its_methods() -> None:
    both = METHODS.get("cdan+mcc").paper
    found = {"cdan": METHODS.get("cdan").paper, "cdan+mcc": both}
    assert keys(found) == {"cdan": "dazoo:cdan2018", "cdan+mcc": "dazoo:cdan2018,dazoo:mcc2020"}
    text = bibtex(found)
    assert text.count("@") == 2 and "dazoo:mcc2020" in text and "+" not in text
    assert both.authors.count("Mingsheng Long") == 1


@pytest.mark.skipif(shutil.which("bibtex") is None, reason="no bibtex is installed")
def test_bibtex_reads_every_entry_without_a_warning(tmp_path: Path) -> None:
    known = papers()
    (tmp_path / "all.bib").write_text(bibtex(known))
    cited = ",".join(dict.fromkeys(keys(known).values()))
    (tmp_path / "t.aux").write_text(f"\\bibstyle{{plain}}\n\\citation{{{cited}}}\n\\bibdata{{all}}\n")
    done = subprocess.run(["bibtex", "t"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "Warning" not in done.stdout, done.stdout
    assert "{Daum" in (tmp_path / "t.bbl").read_text()
