"""The page of gains and costs says what the tables say."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from string import Formatter

import pytest
import torch

from benchmarks import causes, frontier, frontier_tables, frontier_why, throughput
from dazoo.data.domain import Domain
from dazoo.data.task import Task
from dazoo.engine.recipe import Recipe

SCORES = {
    "source_only": (0.90, 0.80), "dann": (0.95, 0.85), "dann+gh": (0.951, 0.851), "dann+mic": (0.97, 0.87),
    "gh": (0.90, 0.80), "m_pot": (0.91, 0.79), "target_oracle": (0.99, 0.99),
}  # fmt: skip
SECONDS = {
    "source_only": 1.0,
    "dann": 2.0,
    "dann+gh": 4.0,
    "dann+mic": 5.0,
    "gh": 3.0,
    "m_pot": 6.0,
    "target_oracle": 1.0,
}


def written(folder: Path) -> Path:
    tasks = (("a", "b"), ("b", "a"))
    rows = ["method,source,target,metric,mean,std,n_seeds,selected_by"]
    rows += [f"{n},{s},{t},accuracy,{v},,1,last" for n, vs in SCORES.items() for (s, t), v in zip(tasks, vs)]
    rows.append("half,a,b,accuracy,1.0,,1,last")
    (folder / "per_task.csv").write_text("\n".join(rows))
    rows = ["method,source,target,seconds,cpu_seconds,device_seconds,n_runs"]
    rows += [f"{n},{s},{t},9,{v},,1" for n, v in SECONDS.items() for s, t in tasks]
    (folder / "seconds.csv").write_text("\n".join(rows))
    return folder


def test_gains_costs_and_compositions(tmp_path: Path) -> None:
    frontier.main(["--folder", str(written(tmp_path))])
    text = (tmp_path / "gains.md").read_text()
    assert "| dann * | +5.00 | 2 | 0 | 2.00 | 2.0 |" in text and "| dann+mic * | +7.00 | 2 | 0 | 5.00 | 5.0 |" in text
    assert "| m_pot | +0.00 | 1 | 1 | 6.00 | 6.0 |" in text and "| half" not in text
    assert "| target_oracle | +14.00" in text
    assert (
        "| dann+mic | 92.00 | +2.00 | - | gains |" in text and "| dann+gh | 90.10 | +0.10 | +5.10 | nothing |" in text
    )
    quiet = text.split("## What does nothing here, or loses")[1]
    assert "- dann+gh: +0.10 over dann\n" in quiet and "- m_pot" in quiet and "dann+mic" not in quiet
    assert "6 methods that see no target label over 2 tasks" in text and "recipes" not in text


def test_reasons_are_what_was_measured(tmp_path: Path) -> None:
    names = {field for text in frontier.WHY.values() for _, field, _, _ in Formatter().parse(text) if field}
    measured = dict.fromkeys((n.removeprefix("less_") for n in names - {"base", "start"}), 12.0)
    figures = dict.fromkeys([*frontier.WHY, "source_only", "dann", "mcc", "m_pot less"], measured)
    (written(tmp_path) / "why.json").write_text(json.dumps({"figures": figures}))
    frontier.main(["--folder", str(tmp_path)])
    quiet = (tmp_path / "gains.md").read_text().split("## What does nothing here, or loses")[1]
    assert "- dann+gh: at 12 % of the steps the gradients" in quiet and "{" not in quiet and "- gh: with" in quiet
    assert set(frontier.reasons(tmp_path)) == set(frontier.WHY)


def test_ranks_against_no_adaptation() -> None:
    tasks = [str(i) for i in range(8)]
    scores = {
        name: {t: 80.0 + gain + 0.01 * i * gain for i, t in enumerate(tasks)}
        for name, gain in (("source_only", 0.0), ("good", 3.0), ("bad", -2.0), ("fair", 1.0))
    }
    text = "\n".join(frontier_tables.critical(scores))
    assert "| good | 1.00 | apart | 0.023 better | - |" in text and "| bad | 4.00 | - | 0.023 worse | apart |" in text
    lines = frontier_tables.recipes(
        {
            "source_only (x)": {"a": 80.0}, "m (x)": {"a": 83.0}, "source_only (y)": {"a": 70.0}, "m (y)": {"a": 69.0},
        }
    )  # fmt: skip
    assert lines[-1] == "| m | +3.00 | -1.00 | +1.00 | -1.00 |" and lines[0] == "| method | x | y | mean | least |"


def test_how_much_of_a_loss_is_closed() -> None:
    found = {"source_only": [90.0], "jan": [86.0], "wdgrl": [89.0], "a": [89.2], "jan+b": [88.0], "c": [92.0]}
    text = "\n".join(causes.closed(found, ["jan", "wdgrl"]))
    assert "jan loses 4.00 points." in text and "| a | 80 | 20 | no |" in text
    assert "| jan+b | 50 | - | yes |" in text and "| c | 150 | 300 | yes |" in text
    assert "loses nothing" in "\n".join(causes.closed({"source_only": [90.0], "jan": [91.0], "a": [89.0]}, ["jan"]))


@pytest.fixture
def runs() -> frontier_why.Runs:
    gen = torch.Generator().manual_seed(0)
    centres = 2 * torch.randn(3, 8, generator=gen)
    y = torch.arange(60) % 3
    one, two = (
        Domain(name, centres[y] + torch.randn(60, 8, generator=gen) + shift, y, ("p", "q", "r"))
        for name, shift in (("a", 0.0), ("b", 0.7))
    )
    recipe = dataclasses.replace(Recipe.named("frozen"), steps=3, batch=12)
    return frontier_why.Runs([Task("made/a->b", (one,), two, source_holdout=0.2)], recipe)


def test_watched_runs(runs: frontier_why.Runs) -> None:
    found = frontier_why.plans(runs, 0.6)
    assert found["mass"] == 60.0
    assert 0 <= found["other_class"] <= 100 and 50 < found["in_common"] <= 100
    steps = frontier_why.gradients(runs, "dann+gh")
    assert -1 <= steps["cosine"] <= 1 and (steps["changed"] > 0) == (steps["opposed"] > 0)
    assert frontier_why.common(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 1])) == 0.5


def test_throughput_says_what_late_stages_cost_and_reach() -> None:
    speeds = {"dazoo": [20.0], "plain loop": [10.0], "dazoo, images_late_stages": [50.0]}
    reached = [("images", 90.0, 2), ("images_late_stages", 88.5, 2)]
    machine = throughput.Machine()
    text = throughput.page(speeds, [], machine, "what", 33.0, reached)
    assert (
        "images_late_stages does 2.5 times those of dazoo." in text and "Making what is cached: 33.0 images/s" in text
    )
    assert "| images_late_stages | 88.5 | 2 |" in text
    assert "Making" not in throughput.page(speeds, [], machine, "what")
