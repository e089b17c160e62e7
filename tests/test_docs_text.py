"""The pages on texts and on images: their blocks run on tiny files as the pages describe them."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dazoo.engine.recipe import RECIPES, Recipe

DOCS = Path(__file__).parent.parent / "docs"
FENCE = re.compile(r"^```python\n(.*?)^```", re.S | re.M)


def stage(folder: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for shop, thing in (("books", "book"), ("films", "film")):
        for stars, words in (("good", ("lovely", "fine", "warm")), ("bad", ("dull", "cold", "boring"))):
            for i in range(8):
                text = f"what a {rng.choice(words)} and {rng.choice(words)} {thing}, it was so {rng.choice(words)}"
                place = folder / "my_reviews" / shop / (stars if shop == "books" else "") / f"{stars}{i}.txt"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text, encoding="utf-8")
                rows.append({"review": text, "stars": stars, "shop": shop})
    pd.DataFrame(rows).to_json(folder / "reviews.jsonl", orient="records", lines=True)
    for look, kind, i in ((a, b, i) for a in ("photos", "sketches") for b in ("cat", "dog") for i in range(6)):
        place = folder / "my_images" / look / (kind if look == "photos" else "") / f"{kind}{i}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        shade = (60 if kind == "cat" else 190) + (20 if look == "photos" else 0)
        Image.fromarray(rng.normal(shade, 10, (8, 8, 3)).clip(0, 255).astype(np.uint8)).save(place)
    (folder / "lists").mkdir()
    for domain, which in (("day", (0, 1, 2)), ("night", (3, 4, 5))):
        lines = [f"{kind}/{kind}{i}.jpg {kind}" for kind in ("cat", "dog") for i in which]
        (folder / "lists" / f"{domain}.txt").write_text("\n".join(lines), encoding="utf-8")
    table = [f"p{i},{i % 2},{i // 2 % 2}" for i in range(8)]
    (folder / "hospital").mkdir()
    (folder / "hospital" / "metadata.csv").write_text("\n".join(["name,tumor,center", *table]), encoding="utf-8")
    for i in range(8):
        Image.new("RGB", (8, 8), (30 * i, 0, 0)).save(folder / "hospital" / f"p{i}.png")


@pytest.mark.parametrize(("page", "least"), [("text.md", 3), ("images.md", 2)])
def test_the_blocks_of_a_page_run(page: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(RECIPES, "digits", Recipe.named("digits", steps=40))  # 600 would take long
    stage(tmp_path)
    found = FENCE.findall((DOCS / page).read_text(encoding="utf-8"))
    assert len(found) >= least and len(found[0].strip().splitlines()) <= 7
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, block in enumerate(found):
            exec(compile(block, f"{page} block {i}", "exec", dont_inherit=True), names)
            if page == "text.md" and i == 0:
                assert names["names"].tolist() == ["good", "bad"]
            if page == "images.md" and i == 0:
                assert names["names"].tolist() == ["cat"] * 6 + ["dog"] * 6
    assert (tmp_path / "model").exists() or (tmp_path / "model.safetensors").exists()
