"""The card of an adaptation: rows as a person knows them, nothing that loads or runs, and no overflow at any width."""

from __future__ import annotations

import dataclasses
import html
import json
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import dazoo
from dazoo.adaptation import _rows, run
from dazoo.adaptation.card import _next
from dazoo.adaptation.portfolio import Choice
from dazoo.data.raw import Ragged, Table, Texts
from tests.browser_tools import CHROMIUM, Browser
from tests.test_accessibility import AXE, GRAVE, OVERFLOW
from tests.test_adapt import frame, hasty

NASTY = "</td><script>alert(1)</script> & 'q' \"r\" " + "x" * 90
N = 60
PLAN = [Choice("source_only", "none"), Choice("source_only", "by domain")]
RNG = np.random.default_rng(0)


def table(folder: Path) -> tuple[object, object]:
    source, target = (frame(60, m, s).rename(columns={"a": NASTY}) for m, s in ((0, 0), (3, 1)))
    source["colour"] = source["colour"].replace("red", NASTY)
    target["colour"] = target["colour"].replace("red", NASTY)
    return source.replace("low", NASTY), target.drop(columns="y")


def texts(folder: Path) -> tuple[object, object]:
    words = {"sport": "the team won the match with a late goal", "food": "cook the rice and stir in some butter"}
    rows = [(f"{' '.join(RNG.permutation(w.split())[:5])} {NASTY}", c) for c, w in words.items() for _ in range(N // 2)]
    source = pd.DataFrame(rows, columns=["text", "y"])
    return source, pd.DataFrame({"text": [f"cook match {t} now {i}" for i, (t, _) in enumerate(rows)]})


def pictures(folder: Path) -> tuple[object, object]:
    y = np.arange(N) % 2
    noise = RNG.integers(0, 60, (2, N, 8, 8, 3))
    source, target = (noise + np.array([40, move])[y][:, None, None, None] for move in (150, 90))
    return (source[0].astype(np.uint8), np.array(["dark", "light"])[y]), target[1].astype(np.uint8)


KINDS = {"table": table, "texts": texts, "pictures": pictures}


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, run.Adaptation]:
    made = {}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(run, "portfolio", lambda found, setting: PLAN)
        patch.setattr(run, "diagnose", hasty)
        for kind, data in KINDS.items():
            folder = tmp_path_factory.mktemp(kind)
            source, target = data(folder)
            label = None if kind == "pictures" else "y"
            made[kind] = dazoo.adapt(source, target, label=label, out=folder / "m", say=None)
    return made


@pytest.fixture(scope="module")
def cards(adapted: dict[str, run.Adaptation]) -> dict[str, Path]:
    return {kind: made.folder / "card.html" for kind, made in adapted.items() if made.folder}


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_is_text_and_loads_nothing(cards: dict[str, Path], kind: str) -> None:
    page = cards[kind].read_text(encoding="utf-8")
    assert "<script" not in page and not re.search(r"(?:src|href)=\"(?!data:)", page) and "url(" not in page
    assert kind == "pictures" or "&lt;script&gt;" in page
    for words in ("What to expect", "between", "Why this model", "without a temperature", "What to label next"):
        assert words in page, words
    for words in ("The domains", "What differs most", "Some rows", "What was tried", "What to know", "--abstain"):
        assert words in page, words


@pytest.mark.parametrize("kind", KINDS)
def test_rows_to_label_are_shown_as_a_person_knows_them(adapted: dict[str, run.Adaptation], kind: str) -> None:
    made = adapted[kind]
    every = dataclasses.replace(made, to_label=[(r, 0.5, {0: 1, 1: 1}) for r in (7, 3)])
    part = _next(every, None)
    assert "<th scope=row>8</th><td>" in part and "<th scope=row>4</th><td>" in part
    assert "<th scope=row>d.wav</th>" in _next(every, [*"abc", "d.wav", *"efgh"])
    if kind == "pictures":
        assert part.count('src="data:image/png;base64,') == 2
    else:
        x = made.task.target.x
        value = x.values[7] if kind == "texts" else f"{x.frame['b'].iloc[7]:.4g}"
        assert html.escape(value)[:200] in part
    assert "agree on every row" in _next(dataclasses.replace(made, to_label=[(0, 0.0, {0: 2})]), None)


def test_cells_of_every_kind_of_row() -> None:
    long = Table(pd.DataFrame({f"c{i}": [1.23456, None] for i in range(10)}))
    head, rows = _rows.shown(long, [1, 0])
    assert head == [*(f"c{i}" for i in range(8)), "... 2 more"]
    assert rows[0][:8] == ["–"] * 8 and rows[1][:8] == ["1.235"] * 8
    assert _rows.shown(Texts.of(["a\n b", "c" * 400]), [0])[1] == [["a b"]]
    assert len(_rows.shown(Texts.of(["c" * 400]), [0])[1][0][0]) == _rows.LETTERS
    sound = Ragged.of([np.zeros(8000), np.zeros(400)], "audio", 8000)
    assert _rows.shown(sound, [1]) == (["length"], [["0.05 s"]])
    assert _rows.shown(torch.tensor([[1.5, 2.0]]), [0], ("height",)) == (["height", "feature 1"], [["1.5", "2"]])
    for channels in (1, 3):
        assert "data:image/png" in _rows.thumbnail(torch.zeros(8, 8, channels, dtype=torch.uint8), "black")
    assert "data:image/jpeg" in _rows.thumbnail(torch.zeros(300, 200, 3, dtype=torch.uint8), "black")


def test_the_columns_that_differ_most_come_first() -> None:
    n = 200
    a = pd.DataFrame({"same": RNG.normal(size=n), "gone": RNG.normal(size=n), "moved": RNG.normal(size=n)})
    b = a.assign(moved=a.moved + 4, gone=a.gone.where(a.index % 2 == 0))
    a["level"], b["level"] = "u", ["u", "v"] * (n // 2)
    a["name"], b["name"] = [f"n{i}" for i in range(n)], [f"m{i}" for i in range(n)]
    a["empty"], b["empty"] = None, 1.0
    found = _rows.moved(Table(a), Table(b))
    assert [cells[0] for cells in found] == ["moved", "level", "gone", "same"]
    assert found[0][1].startswith(f"{a.moved.mean():.4g} ±") and found[2][2].endswith("50 % missing")
    assert found[1][1:3] == ["u 100 %, v 0 %", "u 50 %, v 50 %"]
    assert _rows.moved(torch.zeros(3, 2), torch.ones(3, 2), ("p", "q"))[0][1:3] == ["0 ± 0", "1 ± 0"]
    assert _rows.moved(torch.zeros(3, 2), torch.ones(3, 2)) == []


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed; apt install chromium")
def test_nothing_overflows_and_nothing_is_amiss_in_a_browser(cards: dict[str, Path], browser: Browser) -> None:
    for page in cards.values():
        for width, dark in ((400, True), (800, False), (1400, True)):
            browser.open(page.as_uri(), width, dark=dark)
            assert browser.run(OVERFLOW) == 0, (page, width)
            shown = os.environ.get("CARD_SHOTS")
            if shown:
                browser.shot(Path(shown) / f"{page.parent.parent.name}-{width}.png", whole=True)
            if AXE.is_file():
                browser.run(AXE.read_text(encoding="utf-8") + ";0")
                found = json.loads(browser.run("axe.run().then((r) => JSON.stringify(r.violations))"))
                assert [(f["id"], f["nodes"][0]["html"]) for f in found if f["impact"] in GRAVE] == []
    assert browser.trouble() == []
