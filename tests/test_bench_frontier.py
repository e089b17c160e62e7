"""The page of gains and costs says what the tables say."""

from __future__ import annotations

from pathlib import Path

from benchmarks import frontier, throughput

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
    assert "- dann+gh: +0.10 over dann; most likely, " in quiet and "- m_pot" in quiet and "dann+mic" not in quiet


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
