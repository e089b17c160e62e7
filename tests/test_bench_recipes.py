"""One suite under several recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.bench.suite_run import run_suite
from dazoo.core.errors import DazooError

SHORT = [
    {"name": "adatime", "steps": 4, "batch": 8},
    {"name": "adatime", "as": "two epochs", "epochs": 2, "batch": 64},
    {"name": "digits", "steps": 4, "batch": 8},
]
WHAT = {"dataset": "digits", "tasks": ["upright->rotated"], "methods": ["dann", "coral", "source_only"], "seeds": 1}


def test_gradient_methods_cross_the_recipes_and_shallow_ones_run_once() -> None:
    plan = make_plan(Suite.of({**WHAT, "recipes": SHORT}))
    crossed = [f"{m} ({r})" for m in ("dann", "source_only") for r in ("adatime", "digits", "two epochs")]
    assert sorted(s.label for s in plan.specs) == sorted(["coral", *crossed])
    assert len({s.key for s in plan.specs}) == len({s.variant for s in plan.specs}) == 7
    recipes = {s.label: s.protocol.recipe for s in plan.specs}
    assert recipes["coral"] is None and recipes["dann (two epochs)"]["epochs"] == 2  # type: ignore[index]


def test_a_single_recipe_is_the_run_it_always_was() -> None:
    one = make_plan(Suite.of({**WHAT, "methods": ["dann"], "recipe": SHORT[0]})).specs[0]
    several = make_plan(Suite.of({**WHAT, "methods": ["dann"], "recipes": SHORT})).specs[0]
    assert one.protocol.hash == several.protocol.hash and one.label == "dann" and several.label == "dann (adatime)"


def test_mistakes_are_named_where_they_stand(tmp_path: Path) -> None:
    with pytest.raises(DazooError, match="not both"):
        Suite.of({**WHAT, "recipe": "digits", "recipes": SHORT})
    with pytest.raises(DazooError, match="labelled 'digits'"):
        Suite.of({**WHAT, "recipes": ["digits", "digits"]})
    file = tmp_path / "wrong.yaml"
    file.write_text("dataset: digits\nmethods: [dann]\nrecipes:\n  - digits\n  - name: adatime\n    stepz: 3\n")
    with pytest.raises(DazooError, match=r"line 5: .*no field 'stepz'"):
        make_plan(Suite.load(file))


def test_the_report_shows_a_method_under_its_recipes(tmp_path: Path) -> None:
    found = run_suite({**WHAT, "methods": ["dann", "coral"], "recipes": SHORT[:2], "checkpoints": 1}, out=tmp_path)
    assert sorted(row.label for row in found.board.rows) == ["coral", "dann (adatime)", "dann (two epochs)"]
    assert "dann (two epochs)" in (tmp_path / "leaderboard.md").read_text()
