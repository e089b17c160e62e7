"""The pages on tables and on what lies at the margin: their blocks run, and assert what the text says."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

DOCS = Path(__file__).parent.parent / "docs"
FENCE = re.compile(r"^```python\n(.*?)^```", re.S | re.M)


def patients(place: Path, n: int = 80) -> None:
    rng = np.random.default_rng(0)
    age = rng.normal(60, 9, n).round()
    columns = {
        "age": np.where(rng.random(n) < 0.1, np.nan, age),
        "pressure": rng.normal(130, 15, n).round(1),
        "smokes": rng.choice(["yes", "No"], n),
        "ward": rng.integers(1, 4, n),
        "note": [f"patient came on day {i} and feels {'ill' if a > 60 else 'well'}" for i, a in enumerate(age)],
        "clinic": ["north", "south"] * (n // 2),
        "state": np.where(age + rng.normal(0, 4, n) > 60, "ill", "well"),
    }
    pd.DataFrame(columns).to_csv(place, index=False)


@pytest.mark.parametrize(("page", "least"), [("tables.md", 4), ("margin.md", 4)])
def test_the_blocks_of_a_page_run(page, least, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    patients(tmp_path / "patients.csv")
    found = FENCE.findall((DOCS / page).read_text(encoding="utf-8"))
    assert len(found) >= least
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, block in enumerate(found):
            exec(compile(block, f"{page} block {i}", "exec", dont_inherit=True), names)
    if page == "tables.md":
        assert "columns are read as 3 numbers (age, pressure, ward), 1 boolean (smokes)" in capsys.readouterr().out
        assert len(found[0].strip().splitlines()) <= 7
